"""Has the colour of a picture drifted? The output reduced again, against the input, as a distance that eyes feel."""

import numpy as np
from torch import Tensor
from torch.nn import functional

_MAX_SIDE_PX = 64
"""Colour is a matter of low frequencies, and the formula costs more than a microsecond a pixel."""


def colour_delta_e(reduced: Tensor, lr: Tensor) -> float:
    """Return the mean CIEDE2000 between two images (3,h,w) in [0,1], taken for sRGB; about 1 is just noticeable.

    Both are averaged over boxes to at most 64 px a side first, so that differences in detail, which lr_consistency
    judges, do not count as colour. The formula is Sharma, Wu, Dalal (Color Res. Appl. 30, 2005), by scikit-image.
    """
    size = boxes(lr.shape[1], lr.shape[2])
    return boxed_delta_e(*(functional.adaptive_avg_pool2d(planes.clamp(0, 1), size) for planes in (reduced, lr)))


def boxes(height: int, width: int) -> tuple[int, int]:
    """Return how many boxes an image is averaged over, down and across."""
    return min(height, _MAX_SIDE_PX), min(width, _MAX_SIDE_PX)


def boxed_delta_e(one: Tensor, other: Tensor) -> float:
    """Return the mean CIEDE2000 between two images (3,n,m) in [0,1] that are averaged over boxes already."""
    from skimage.color import deltaE_ciede2000, rgb2lab  # here: a job that only reads rows does not need it

    labs = [rgb2lab(planes.permute(1, 2, 0).contiguous().numpy()) for planes in (one, other)]
    return float(np.mean(deltaE_ciede2000(*labs)))
