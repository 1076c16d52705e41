"""The form of an image as files have it: (h,w,c) integers of 8 or 16 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""uint8 or uint16; numpy's static types cannot follow a depth that is chosen by the file."""


def num_bits(pixels: Pixels) -> int:
    """Return 8 or 16."""
    return 8 * pixels.dtype.itemsize


def to_8_bit(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the pixels with 8 bits, rounded; what has 8 comes back as it is."""
    if pixels.dtype == np.uint8:
        return pixels.view(np.uint8)
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
