"""From the channels that a file has to the three that a model wants, and back."""

import numpy as np
from numpy.typing import NDArray

from tss_ray.imaging.alpha import enlarge_alpha, premultiply, unpremultiply
from tss_ray.imaging.planes import to_pixels, to_planes

Pixels = NDArray[np.uint8]


def to_model_rgb(pixels: Pixels) -> Pixels:
    """Return (h,w,3) of (h,w,c): grey in three channels, colour under alpha premultiplied."""
    channels = pixels.shape[2]
    colour = pixels[..., : channels - 1] if channels in (2, 4) else pixels
    if channels in (2, 4):
        colour = to_pixels(premultiply(to_planes(colour), to_planes(pixels[..., -1:])))
    return np.ascontiguousarray(np.broadcast_to(colour, (*pixels.shape[:2], 3)))


def from_model_rgb(sr: Pixels, pixels: Pixels, scale: int) -> Pixels:
    """Return sr (h·scale,w·scale,3) in the channels of the input `pixels` (h,w,c): grey is grey, alpha is back."""
    channels = pixels.shape[2]
    colour = sr if channels >= 3 else np.rint(sr.mean(axis=2, keepdims=True)).astype(np.uint8)
    if channels in (1, 3):
        return colour
    alpha = enlarge_alpha(pixels[..., -1], scale)[..., None]
    straight = to_pixels(unpremultiply(to_planes(colour), to_planes(alpha)))
    return np.concatenate([straight, alpha], axis=2)
