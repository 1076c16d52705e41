"""From the channels that a file has to the three that a model wants, and back."""

import numpy as np
import torch
from numpy.typing import NDArray

from tss_ray.imaging.alpha import enlarge_alpha, premultiply, unpremultiply

Pixels = NDArray[np.uint8]


def to_model_rgb(pixels: Pixels) -> Pixels:
    """Return (h,w,3) of (h,w,c): grey in three channels, colour under alpha premultiplied."""
    channels = pixels.shape[2]
    colour = pixels[..., : channels - 1] if channels in (2, 4) else pixels
    if channels in (2, 4):
        colour = _quantised(premultiply(_planes(colour), _planes(pixels[..., -1:])))
    return np.ascontiguousarray(np.broadcast_to(colour, (*pixels.shape[:2], 3)))


def from_model_rgb(sr: Pixels, pixels: Pixels, scale: int) -> Pixels:
    """Return sr (h·scale,w·scale,3) in the channels of the input `pixels` (h,w,c): grey is grey, alpha is back."""
    channels = pixels.shape[2]
    colour = sr if channels >= 3 else np.rint(sr.mean(axis=2, keepdims=True)).astype(np.uint8)
    if channels in (1, 3):
        return colour
    alpha = enlarge_alpha(pixels[..., -1], scale)[..., None]
    straight = _quantised(unpremultiply(_planes(colour), _planes(alpha)))
    return np.concatenate([straight, alpha], axis=2)


def _planes(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255


def _quantised(planes: torch.Tensor) -> Pixels:
    pixels: Pixels = (planes * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return pixels
