"""The two forms of an image: (h,w,c) integers as files have it, (c,h,w) float32 as networks want it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tss_ray.imaging.pixels import Pixels


def to_planes(pixels: Pixels) -> Tensor:
    """Turn (h,w,c) uint8 or uint16 into (c,h,w) float32 in [0,1]; a copy: pixels may be a read-only view of a block."""
    if pixels.dtype == np.uint16:
        return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 65535
    return torch.tensor(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255


def to_pixels(planes: Tensor) -> NDArray[np.uint8]:
    """Turn (c,h,w) float into (h,w,c) uint8; what is outside [0,1] is clipped."""
    pixels: NDArray[np.uint8] = (planes.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return pixels


def to_deep_pixels(planes: Tensor) -> NDArray[np.uint16]:
    """Turn (c,h,w) float into (h,w,c) uint16; what is outside [0,1] is clipped."""
    scaled = (planes.clamp(0, 1) * 65535).round().to(torch.int32).permute(1, 2, 0).contiguous().numpy()
    return scaled.astype(np.uint16)
