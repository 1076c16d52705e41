"""Peak signal-to-noise ratio, on RGB and on luma; torch only.

`psnry` takes full-range BT.601 luma (0.299 R + 0.587 G + 0.114 B, peak 1), which is what `pyiqa` calls psnry. Papers
that follow MATLAB's `rgb2ycbcr` take the same luma squeezed into [16,235] against a peak of 255: their figure is ours
+ 20·log10(255/219) = ours + 1.322 dB, always, so gains and losses are the same in both. Nothing is cropped at the
border: crop before the call where a protocol wants it.
"""

import math

import torch
from torch import Tensor

from tss_ray.errors import EngineError

MAX_DB = 100.0
"""What identical pictures score, so that averages stay finite; 8-bit pictures that differ stay far below it."""

_BT601 = (0.299, 0.587, 0.114)


def luma(rgb: Tensor) -> Tensor:
    """Return full-range BT.601 luma (...,1,H,W) float64 in [0,1] of (...,3,H,W) in [0,1]."""
    weights = torch.tensor(_BT601, dtype=torch.float64, device=rgb.device)[:, None, None]
    return (rgb.double() * weights).sum(-3, keepdim=True)


def psnr(sr: Tensor, hr: Tensor) -> float:
    """Return the PSNR in dB of two RGB pictures (3,H,W) in [0,1], over all channels; at most MAX_DB.

    Raises EngineError if the two are not of one shape.
    """
    _require_alike(sr, hr)
    return _decibels(sr.double() - hr.double())


def psnr_of(mean_square: float) -> float:
    """Return the PSNR in dB of a mean squared difference of pictures in [0,1]; at most MAX_DB."""
    return min(-10 * math.log10(mean_square), MAX_DB) if mean_square else MAX_DB


def psnry(sr: Tensor, hr: Tensor) -> float:
    """Return the PSNR in dB of the luma of two RGB pictures (3,H,W) in [0,1]; at most MAX_DB.

    Raises EngineError if the two are not of one shape.
    """
    _require_alike(sr, hr)
    return _decibels(luma(sr) - luma(hr))


def _decibels(difference: Tensor) -> float:
    return min(float(-10 * torch.log10(difference.square().mean())), MAX_DB)


def _require_alike(sr: Tensor, hr: Tensor) -> None:
    if sr.shape != hr.shape or sr.dim() != 3 or sr.shape[0] != 3:
        raise EngineError(
            f"PSNR of {tuple(sr.shape)} against {tuple(hr.shape)}: need two (3,H,W) of one size; crop or resample first"
        )
