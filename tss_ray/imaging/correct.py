"""Giving an enlargement the low-frequency colour of what it was made from.

A denoiser may shift the mean colour of a picture, or of a part of it, by a little. What the input says at low
frequencies is certain, so there the denoiser is to add nothing, and its detail stays. The correction is found on the
input's grid, where it costs a sixteenth of what it would on the output's, and enlarged with the picture.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Correction = Literal["none", "mean", "wavelet"]

_LEVELS = 3
"""At dilations 1, 2 and 4 px of the input: what is wider than about 3 px (one sigma) counts as low frequency."""


def colour_shift(added: Tensor, correction: Correction) -> Tensor | None:
    """Return what to add to the input (3,h,w) before it is enlarged, so that colours stay; None: nothing.

    `added` (3,h,w) is what the denoiser adds, reduced to the input's size. "mean": one shift per channel, (3,1,1).
    "wavelet": the low band of its à trous wavelet, (3,h,w), as StableSR does it on the output's grid (Wang et al.,
    arXiv 2305.07015, repository IceClear/StableSR, S-Lab licence: the idea, none of its code).
    """
    if correction == "none":
        return None
    return -(added.mean(dim=(1, 2), keepdim=True) if correction == "mean" else _low_band(added))


def low_band_reach() -> int:
    """Return how many rows on either side a row of the wavelet's low band looks at."""
    return (1 << _LEVELS) - 1


def _low_band(planes: Tensor) -> Tensor:
    kernel = torch.tensor([0.25, 0.5, 0.25], dtype=planes.dtype)
    low = planes[:, None]
    for level in range(_LEVELS):
        step = 2**level
        for shape, margins in (((1, 1, 3, 1), (0, 0, step, step)), ((1, 1, 1, 3), (step, step, 0, 0))):
            dilation = (step, 1) if shape[2] == 3 else (1, step)
            low = functional.conv2d(functional.pad(low, margins, "replicate"), kernel.reshape(shape), dilation=dilation)
    return low[:, 0]
