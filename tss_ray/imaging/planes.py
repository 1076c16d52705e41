"""The two forms of an image: (h,w,c) uint8 as files have it, (c,h,w) float32 as networks want it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_planes(pixels: NDArray[np.uint8]) -> Tensor:
    """Turn (h,w,c) uint8 into (c,h,w) float32 in [0,1]; a copy, because pixels may be a read-only view of a block."""
    return torch.tensor(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255


def to_pixels(planes: Tensor) -> NDArray[np.uint8]:
    """Turn (c,h,w) float into (h,w,c) uint8; what is outside [0,1] is clipped."""
    pixels: NDArray[np.uint8] = (planes.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return pixels
