"""The bicubic resampling that everything is measured against, in both directions.

One definition for training, inference and quality, so that "the resampled image" means the same everywhere: Keys'
cubic with a = -0.5 and antialiasing, which is what Pillow's BICUBIC computes.
"""

import torch
from torch import Tensor
from torch.nn import functional

_REACH = 3
"""Rows on either side that a row enlarged by a whole factor, or one reduced by it, may look at, on the smaller grid."""


def upsample(lr: Tensor, scale: int) -> Tensor:
    """Enlarge (B,C,h,w) float to (B,C,h·scale,w·scale); the range may overshoot by ringing."""
    h, w = lr.shape[-2:]
    return functional.interpolate(lr, size=(h * scale, w * scale), mode="bicubic", antialias=True)


def downsample(hr: Tensor, scale: int) -> Tensor:
    """Reduce (B,C,H,W) float to (B,C,H//scale,W//scale); H and W must be multiples of `scale`."""
    h, w = hr.shape[-2:]
    return functional.interpolate(hr, size=(h // scale, w // scale), mode="bicubic", antialias=True)


def upsample_rows(lr: Tensor, scale: int, first: int, last: int) -> Tensor:
    """Return rows [first, last) of `upsample` of (C,h,w): (C, last - first, w·scale), to float rounding."""
    top, bottom = rows_under(first, last, scale, lr.shape[1])
    return upsample_part(lr[:, top:bottom], top, scale, first, last)


def rows_under(first: int, last: int, scale: int, height: int) -> tuple[int, int]:
    """Return which rows of an image of `height` the rows [first, last) of its enlargement follow from."""
    return max(0, first // scale - _REACH), min(height, -(-last // scale) + _REACH)


def upsample_part(part: Tensor, top: int, scale: int, first: int, last: int) -> Tensor:
    """Return rows [first, last) of an enlargement from `part`, the rows from `top` on that `rows_under` names."""
    return upsample(part[None], scale)[0][:, first - top * scale : last - top * scale]


def reach(first: int, last: int, height: int) -> tuple[int, int]:
    """Return which rows of the smaller grid, `height` high, a reduction must see for its rows [first, last)."""
    return max(0, first - _REACH), min(height, last + _REACH)


def axis_weights(length: int, to_length: int, first: int, last: int) -> tuple[int, Tensor]:
    """Return where the inputs of outputs [first, last) begin along one axis, and (last - first, n) float32 weights.

    For factors that are no whole number, one band at a time: the same cubic, widened by the factor where it reduces,
    its weights normalised at the borders (as Pillow and torch's antialias do).
    """
    factor = length / to_length
    wide = max(factor, 1.0)
    centres = (torch.arange(first, last, dtype=torch.float64) + 0.5) * factor
    begin = max(0, int((centres[0] - 2 * wide).floor()))
    end = min(length, int((centres[-1] + 2 * wide).ceil()) + 1)
    positions = torch.arange(begin, end, dtype=torch.float64) + 0.5
    weights = _cubic((positions[None] - centres[:, None]) / wide)
    return begin, (weights / weights.sum(1, keepdim=True)).float()


def _cubic(x: Tensor) -> Tensor:
    """Return Keys' kernel (IEEE TASSP 29, 1981, equation 4 with a = -0.5)."""
    x = x.abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
