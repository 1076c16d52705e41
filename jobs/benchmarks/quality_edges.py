"""How crisp an enlargement's edges are beside the original's, and how much of what is flat there is grain here."""

import torch
from torch import Tensor
from torch.nn import functional

from tss_ray.quality.psnr import luma

_STEEPEST, _FLATTEST = 0.03, 0.30
"""Shares of the original's positions that count as edges and as flat."""
_NEAR_PX = 5
_LEAST_SLOPE = 0.2
"""Levels of 255 per px that a flat original counts as having: below one level of rounding there is none to measure."""


def edge_contrast(picture: Tensor, original: Tensor) -> float:
    """Return how steep the picture's edges are, of 1 for the original's; both (3,H,W) float in [0,1].

    The median, over the steepest 3% of the original's positions, of the steepest slope of luma within 2 px, by the
    original's there: an edge that is a pixel beside its place counts as one, a soft one does not. It is not blind to
    noise and overshoot, so it stands beside `grain` and fidelity.
    """
    ours, theirs = _slope(picture), _slope(original)
    edges = theirs >= torch.quantile(theirs, 1 - _STEEPEST)
    return float((_steepest_near(ours)[edges] / _steepest_near(theirs)[edges]).median())


def grain(picture: Tensor, original: Tensor) -> float:
    """Return the mean slope where the original's is in its lowest 30%, by the original's; both (3,H,W) in [0,1]."""
    ours, theirs = _slope(picture), _slope(original)
    flat = theirs <= torch.quantile(theirs, _FLATTEST)
    return float(ours[flat].mean() / theirs[flat].mean().clamp_min(_LEAST_SLOPE))


def _slope(picture: Tensor) -> Tensor:
    """Return Sobel's slope of luma inside the border, (H-2,W-2) float64 in levels of 255 per px."""
    y = luma(picture) * 255
    across = y.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    slopes = functional.conv2d(y[None], torch.stack([across, across.T])[:, None])[0]
    return slopes.square().sum(0).sqrt()


def _steepest_near(slope: Tensor) -> Tensor:
    return functional.max_pool2d(slope[None], _NEAR_PX, 1, _NEAR_PX // 2)[0]
