"""Transparency: enlarged by plain bicubic, and kept from bleeding the colours hidden under it.

A transparent pixel still stores a colour, often black, which no one was meant to see. A filter that mixes it with its
visible neighbours draws a fringe along the edge; mixing premultiplied colours does not.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tss_ray.imaging.resample import upsample


def enlarge_alpha(alpha: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Enlarge (h,w) to (h·scale, w·scale) by the package's bicubic, its ringing clipped to 0…255."""
    plane = torch.from_numpy(alpha.astype(np.float32))[None, None]
    enlarged: NDArray[np.uint8] = upsample(plane, scale)[0, 0].clamp(0, 255).round().to(torch.uint8).numpy()
    return enlarged


def premultiply(colour: Tensor, alpha: Tensor) -> Tensor:
    """Scale colour (…,C,h,w) float in [0,1] by alpha (…,1,h,w) or (h,w) float in [0,1]."""
    return colour * alpha


def unpremultiply(colour: Tensor, alpha: Tensor) -> Tensor:
    """Invert `premultiply`, clipped to [0,1]; black where alpha is 0, since no colour is left there to recover."""
    # The denominator is replaced only where the result is thrown away, so that no division by zero takes place.
    straight = (colour / torch.where(alpha > 0, alpha, 1.0)).clamp(0, 1)
    return torch.where(alpha > 0, straight, 0.0)
