"""The sampler watched step by step: what each step takes the picture to be, and how near to the end its bands are.

Qin et al. (arXiv 2505.12048), section 3: 100 uniform steps, each estimate of the clean picture against the last one, in
patches of 128 px that are sorted by their variance into smooth, middle and textured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from band_snr import MAX_DB, band_snr
from numpy.typing import NDArray
from quality_crops import SCALE, Crop
from quality_values import BINS
from torch import Tensor

from tss_ray.diffusion.noise import position_noise
from tss_ray.diffusion.sampler import ddim_step
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.resample import upsample
from tss_ray.models.base import SuperResolutionModel
from tss_ray.quality.psnr import luma

PATCH_PX = 128
WINDOWS: dict[str, tuple[float, float]] = {"early": (1.0, 0.7), "middle": (0.7, 0.4), "late": (0.4, 0.0)}
"""The paper's stages, as shares of the timesteps: 1000 to 700, 700 to 400, 400 to 0."""


@dataclass(frozen=True)
class BandRow:
    """The SNR in dB of one patch at one step of the watched plan, against the patch at the end.

    texture: standard deviation of the original's luma, of a range of 1. time: the timestep's share of all timesteps.
    """

    source: str
    photo: str
    top: int
    left: int
    patch: int
    texture: float
    step: int
    time: float
    low: float
    medium: float
    high: float


@dataclass(frozen=True)
class ReachRow:
    """The SNR in dB of a whole crop after a plan of its own, against the end of the watched plan."""

    source: str
    photo: str
    top: int
    left: int
    method: str
    low: float
    medium: float
    high: float


@torch.inference_mode()
def estimates(
    model: SuperResolutionModel, device: torch.device, crop: Crop, key: str, plan: Sequence[int]
) -> NDArray[np.float32]:
    """Return (len(plan), H, W), the luma of what each step of DDIM takes the crop to be; the last is the output.

    The crop is one tile; its noise is that of the engine. Nothing is rounded or cut to the range.
    """
    lr = (to_planes(crop.lr)[None] * 2 - 1).to(device)
    condition = model.condition(lr)
    channels, latent_px, _ = model.latent_shape(PATCH_PX)
    height, width = (side * latent_px // PATCH_PX for side in lr.shape[2:])
    x = position_noise(key, 0, 0, 0, 0, channels, height, width)[None].to(device)
    base = upsample(lr, SCALE)
    coefficients = model.card.transition.coefficients(list(plan), 0.0).float()
    found = []
    for timestep, c in zip(plan, coefficients.to(device), strict=True):
        prediction = model.predict(x, condition, torch.full((1,), timestep, device=device))
        denoised = c[0] * x + c[1] * prediction
        x = ddim_step(x, prediction, None, c[:, None, None, None, None])
        found.append(_luma(base + model.decode(denoised)))
    return np.stack(found)


def watch(crop: Crop, seen: NDArray[np.float32], plan: Sequence[int], num_timesteps: int) -> list[BandRow]:
    """Return a row for every whole patch and every step but the last, which is what the others are compared with."""
    original = _luma(to_planes(crop.hr)[None] * 2 - 1)
    height, width = (side // PATCH_PX for side in original.shape)
    rows = []
    for patch in range(height * width):
        top, left = (part * PATCH_PX for part in divmod(patch, width))
        inside = slice(top, top + PATCH_PX), slice(left, left + PATCH_PX)
        snr = band_snr(seen[:-1, *inside], seen[-1][inside])
        texture = float(original[inside].std())
        rows += [
            BandRow(
                crop.source,
                crop.photo,
                crop.top,
                crop.left,
                patch,
                texture,
                step,
                (t + 1) / num_timesteps,
                *map(float, s),
            )
            for step, (t, s) in enumerate(zip(plan, snr, strict=False))
        ]
    return rows


def reach(crop: Crop, method: str, output: NDArray[np.float32], reference: NDArray[np.float32]) -> ReachRow:
    """Return how near the luma (H,W) of a short plan's output is to that of the watched plan."""
    low, medium, high = map(float, band_snr(output[None], reference)[0])
    return ReachRow(crop.source, crop.photo, crop.top, crop.left, method, low, medium, high)


@dataclass(frozen=True)
class PatchCurve:
    """One patch's SNR over time: `time` (steps,) falls from 1, `snr` (steps,3) in dB, each of BANDS."""

    photo: str
    texture: float
    time: NDArray[np.float64]
    snr: NDArray[np.float64]

    def rate(self, window: str, band: int) -> float:
        """Return the gain in dB per tenth of the timesteps within one of WINDOWS."""
        begin, end = WINDOWS[window]
        end = max(end, float(self.time[-1]))  # at the end itself the SNR is infinite
        at = np.interp([begin, end], self.time[::-1], self.snr[::-1, band])
        return float(at[1] - at[0]) / max(10 * (begin - end), 1e-9)

    def half_way(self, band: int) -> float:
        """Return the time at which the SNR has for the first time come half of its way in dB: late is near 0."""
        snr = self.snr[:, band]
        return float(self.time[np.argmax(snr >= (snr[0] + snr[-1]) / 2)])

    def concentration(self, band: int) -> float:
        """Return the share in [0,1] of all gains in dB that falls into the early and the late window; 0 of no gain."""
        gains = np.diff(self.snr[:, band]).clip(0)
        begin, end = WINDOWS["middle"]
        outside = (self.time[1:] >= begin) | (self.time[1:] < end)
        return float(gains[outside].sum() / gains.sum()) if gains.sum() > 0 else 0.0


def patch_curves(rows: Sequence[BandRow]) -> list[PatchCurve]:
    """Collect rows into curves; a patch that never differs from its end says nothing and is left out."""
    grouped: dict[tuple[str, str, int, int, int], list[BandRow]] = {}
    for row in rows:
        grouped.setdefault((row.source, row.photo, row.top, row.left, row.patch), []).append(row)
    curves = []
    for found in grouped.values():
        ordered = sorted(found, key=lambda row: row.step)
        snr = np.array([(row.low, row.medium, row.high) for row in ordered])
        if (snr < MAX_DB).all():
            curves.append(PatchCurve(found[0].photo, found[0].texture, np.array([row.time for row in ordered]), snr))
    return curves


def by_texture(curves: Sequence[PatchCurve]) -> dict[str, list[PatchCurve]]:
    """Sort the patches into thirds by the original's standard deviation, under the names of BINS."""
    ordered = sorted(curves, key=lambda curve: curve.texture)
    bounds = [round(len(ordered) * part / len(BINS)) for part in range(len(BINS) + 1)]
    return {name: ordered[bounds[k] : bounds[k + 1]] for k, name in enumerate(BINS)}


def _luma(rgb: Tensor) -> NDArray[np.float32]:
    """Return (H,W) of (1,3,H,W) in [-1,1], of a range of 1."""
    plane: NDArray[np.float32] = luma(rgb[0].cpu() / 2 + 0.5)[0].float().numpy()
    return plane
