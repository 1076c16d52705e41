"""How much of a picture's low, medium and high frequencies is already what it will be in the end.

Qin et al. (arXiv 2505.12048), section 3.1 and figure 1: the SNR of intermediate results against the final one, by bands
of the Fourier transform. The paper does not say where the bands end; here they are thirds of the radius up to Nyquist,
the corners beyond it with the high band. Of an enlargement by 4 the low band holds all that the input holds.
"""

import numpy as np
from numpy.typing import NDArray

BANDS = ("low", "medium", "high")
MAX_DB = 100.0
"""The SNR of what is the same, so that means stay finite."""


def band_snr(pictures: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (N,3) dB, each of BANDS, of pictures (N,H,W) against one reference (H,W): luma of any range.

    The mean is left out, and a Hann window keeps what the borders' jumps would add out of the high band.
    """
    signal = _band_power(reference[None])
    noise = _band_power(pictures - reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = 10 * np.log10(signal / noise)
    capped: NDArray[np.float64] = np.nan_to_num(snr, nan=MAX_DB).clip(-MAX_DB, MAX_DB)
    return capped


def band_masks(height: int, width: int) -> NDArray[np.bool_]:
    """Return (3,H,W): which frequencies of `fft2` belong to each of BANDS; the mean belongs to none."""
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]) / 0.5
    band = np.minimum((radius * len(BANDS)).astype(int), len(BANDS) - 1)
    masks: NDArray[np.bool_] = band[None] == np.arange(len(BANDS))[:, None, None]
    masks[:, 0, 0] = False
    return masks


def _band_power(pictures: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (N,3), the power of each band of (N,H,W)."""
    height, width = pictures.shape[1:]
    centred = pictures.astype(np.float64) - pictures.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    power = np.abs(np.fft.fft2(centred * window)) ** 2
    return np.stack([power[:, mask].sum(axis=1) for mask in band_masks(height, width)], axis=1)
