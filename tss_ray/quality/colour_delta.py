"""Has the colour of a picture drifted? The output reduced again, against the input, as a distance that eyes feel."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_MAX_SIDE_PX = 64
"""Colour is a matter of low frequencies, and the formula costs more than a microsecond a pixel."""


def colour_delta_e(reduced: Tensor, lr: Tensor) -> float:
    """Return the mean CIEDE2000 between two images (3,h,w) in [0,1], taken for sRGB; about 1 is just noticeable.

    Both are averaged over boxes to at most 64 px a side first, so that differences in detail, which lr_consistency
    judges, do not count as colour. The formula is Sharma, Wu, Dalal (Color Res. Appl. 30, 2005), by scikit-image.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab  # here: a job that only reads rows does not need it

    size = min(lr.shape[1], _MAX_SIDE_PX), min(lr.shape[2], _MAX_SIDE_PX)
    labs = [rgb2lab(_averaged(planes, size)) for planes in (reduced, lr)]
    return float(np.mean(deltaE_ciede2000(*labs)))


def _averaged(planes: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    boxes = functional.adaptive_avg_pool2d(planes.clamp(0, 1), size)
    averaged: NDArray[np.float32] = boxes.permute(1, 2, 0).contiguous().numpy()
    return averaged
