"""From the channels that a file has to the three that a model wants, and back.

The model sees three channels of 8 bits; what is enlarged beside it is float, at the depth of the file, so that 16 bits
stay 16 bits: what the model adds is float anyway.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tss_ray.imaging.alpha import premultiply, unpremultiply
from tss_ray.imaging.pixels import Pixels
from tss_ray.imaging.planes import to_deep_pixels, to_pixels, to_planes


def to_model_rgb(pixels: Pixels, linear: bool = False) -> NDArray[np.uint8]:
    """Return (h,w,3) uint8 of (h,w,c), as `model_planes` but rounded."""
    if pixels.shape[2] == 3 and pixels.dtype == np.uint8 and not linear:
        return np.ascontiguousarray(pixels.view(np.uint8))
    return to_pixels(model_planes(pixels, linear))


def model_planes(pixels: Pixels, linear: bool = False) -> Tensor:
    """Return (3,h,w) float in [0,1] of (h,w,c): grey in three channels, colour under alpha premultiplied.

    `linear` values, proportional to light, get the curve of sRGB first: models have learnt from pictures as shown.
    """
    channels = pixels.shape[2]
    planes = to_planes(pixels)
    colour = planes[: 3 if channels >= 3 else 1]
    if linear:
        colour = shown_from_linear(colour)
    if channels in (2, 4):
        colour = premultiply(colour, planes[-1:])
    return colour.expand(3, -1, -1)


def from_model_planes(planes: Tensor, alpha: Tensor | None, like: Pixels, linear: bool = False) -> Pixels:
    """Invert `model_planes`: (3,n,m) float to (n,m,c) of the depth and channels of `like`, grey by the mean of three.

    `alpha` is (1,n,m) float, enlarged like the planes, where `like` has an alpha; ringing is clipped.
    """
    channels = like.shape[2]
    colour = planes if channels >= 3 else planes.mean(0, keepdim=True)
    if alpha is not None:
        colour = unpremultiply(colour, alpha)  # its overshoot too: the colour has the same
    if linear:
        colour = linear_from_shown(colour)
    if alpha is not None:
        colour = torch.cat([colour, alpha])
    return to_pixels(colour) if like.dtype == np.uint8 else to_deep_pixels(colour)


def shown_from_linear(planes: Tensor) -> Tensor:
    """Apply the curve of sRGB (IEC 61966-2-1) to light in [0,1]."""
    light = planes.clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def linear_from_shown(planes: Tensor) -> Tensor:
    """Invert `shown_from_linear`."""
    shown = planes.clamp(0, 1)
    return torch.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
