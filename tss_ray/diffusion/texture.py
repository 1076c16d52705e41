"""How much texture there is to recover: noise-compensated local variance of luma, as a map and as one score.

DESIGN 4 and 6: noise must not buy steps, so the estimated noise variance is taken off before anything is scored.
Nothing here looks at another image: the same pixels have the same map in every batch and on every machine.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

_WINDOW_PX = 7
_SMOOTHING_SIGMA_PX = 3.0
_BLOCK_PX, _BLOCK_STRIDE_PX = 8, 4
_QUIET_QUANTILE = 0.1
_QUIET_CORRECTION = 1.258
"""1 / 0.795: the quantile of blocks of pure white noise, from 32 px to 400 px a side within 1%."""
_NOISE_MARGIN = 1.15
"""This much of the noise variance is taken off: the estimate strays by some per cent, and half of a flat image's map
would lie above it. White noise of std 0.1 then leaves a flat image of 128 px below a score of 0.02 (0.25 without)."""
REFERENCE_STD = 0.06
"""Local std of luma (of a range of 1) that scores 0.5: 45 photographs reduced to inputs of 130 to 530 px score 0.11 to
0.62 (5% and 95%), median 0.45. What the default thresholds of `BudgetSpec` stand on: jobs/benchmarks/thresholds.py."""


def luma(rgb: Tensor) -> Tensor:
    """Return BT.601 luma (B,1,h,w) of (B,3,h,w), in the same range."""
    return (rgb * rgb.new_tensor([0.299, 0.587, 0.114])[None, :, None, None]).sum(1, keepdim=True)


def noise_sigma(y: Tensor) -> float:
    """Estimate the std of white noise in luma (1,1,h,w) of range [0,1]; 0 where the image is too small to tell.

    Immerkær, "Fast Noise Variance Estimation" (CVIU 64(2), 1996): the mean absolute response of a difference of
    Laplacians. Taken per block, and of the blocks a low quantile, because in sharp photographs texture answers too;
    the correction undoes the quantile's bias on pure noise. Blocks overlap, so that a small image has enough of them.
    """
    if min(y.shape[-2:]) < _BLOCK_PX + 2:
        return 0.0
    return _sigma(_responses(y).flatten())


def _responses(y: Tensor) -> Tensor:
    """Return the mean absolute response of every block, (1,1,rows,columns)."""
    mask = y.new_tensor([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])[None, None]
    return functional.avg_pool2d(functional.conv2d(y, mask).abs(), _BLOCK_PX, _BLOCK_STRIDE_PX)


def _sigma(blocks: Tensor) -> float:
    quiet = blocks.kthvalue(max(1, round(_QUIET_QUANTILE * blocks.numel()))).values.item()
    return quiet * math.sqrt(math.pi / 2) / 6 * _QUIET_CORRECTION


def texture_map(y: Tensor, sigma: float, mean: float | None = None) -> Tensor:
    """Return v in [0,1], (1,1,h,w): 0 is smooth, 0.5 a local std of REFERENCE_STD, 1 the limit of strong texture.

    mean: of the whole image's luma, where y is a part of it; it matters to rounding only.
    `sigma` is the std of the noise in luma y (1,1,h,w) of range [0,1]. The noise variance is taken off before the map
    is smoothed, and what is below zero is cut off after: where noise is all there is, its variance strays to both sides
    of the estimate, and only then cancels.
    """
    texture = _smooth(_local_variance(y, mean) - _NOISE_MARGIN * sigma**2).clamp_min(0)
    return texture / (texture + REFERENCE_STD**2)


Luma = Callable[[int, int], Tensor]
"""(first, last) to rows of luma, (1,1,last - first,w)."""


class TextureBands:
    """`noise_sigma` and `texture_map` of an image too large to be float at once, by bands of rows.

    Equal to what the whole image would give, to rounding.
    """

    def __init__(self, rows: Luma, height: int, band_rows: int) -> None:
        """Go down the image once, for its noise and its mean."""
        self._rows, self._height = rows, height
        self._step = max(_BLOCK_STRIDE_PX, band_rows // _BLOCK_STRIDE_PX * _BLOCK_STRIDE_PX)
        total, num, blocks = 0.0, 0, []
        for first, last in self._bands():
            y = rows(first, min(height, last + _BLOCK_PX + 2 - _BLOCK_STRIDE_PX))
            total, num = total + y[:, :, : last - first].double().sum().item(), num + (last - first) * y.shape[3]
            if min(y.shape[2:]) >= _BLOCK_PX + 2:
                blocks.append(_responses(y).flatten())
        self.mean = total / num
        self.sigma = _sigma(torch.cat(blocks)) if blocks else 0.0

    def maps(self) -> Iterator[tuple[int, Tensor]]:
        """Yield (first row, v (1,1,n,w)) of bands from top to bottom."""
        margin = _WINDOW_PX // 2 + math.ceil(3 * _SMOOTHING_SIGMA_PX)
        for first, last in self._bands():
            begin, end = max(0, first - margin), min(self._height, last + margin)
            v = texture_map(self._rows(begin, end), self.sigma, self.mean)
            yield first, v[:, :, first - begin : last - begin]

    def _bands(self) -> Iterator[tuple[int, int]]:
        for first in range(0, self._height, self._step):
            yield first, min(first + self._step, self._height)


def texture_score(v: Tensor) -> float:
    """Return the image's score in [0,1], the mean of its map."""
    return v.mean().item()


def _local_variance(y: Tensor, mean: float | None) -> Tensor:
    """Return the variance in a window around every pixel; at the borders, of what lies inside the image."""
    centred = y - (
        y.mean() if mean is None else mean
    )  # E[y²] - E[y]² loses small variances on bright flat areas in float32
    return _window_mean(centred**2) - _window_mean(centred) ** 2


def _window_mean(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, _WINDOW_PX, stride=1, padding=_WINDOW_PX // 2, count_include_pad=False)


def _smooth(x: Tensor) -> Tensor:
    """Return the Gaussian mean around every pixel; at the borders, of what lies inside the image."""
    reach = math.ceil(3 * _SMOOTHING_SIGMA_PX)
    offsets = torch.arange(-reach, reach + 1, dtype=x.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * _SMOOTHING_SIGMA_PX**2))[None, None]

    def weigh(plane: Tensor) -> Tensor:
        down = functional.conv2d(plane, kernel[..., None], padding=(reach, 0))
        return functional.conv2d(down, kernel[:, :, None], padding=(0, reach))

    return weigh(x) / weigh(torch.ones_like(x))
