"""Transparency, enlarged by plain bicubic, is kept from bleeding the colours hidden under it.

A transparent pixel still stores a colour, often black, which no one was meant to see. A filter that mixes it with its
visible neighbours draws a fringe along the edge; mixing premultiplied colours does not.
"""

import torch
from torch import Tensor


def premultiply(colour: Tensor, alpha: Tensor) -> Tensor:
    """Scale colour (…,C,h,w) float in [0,1] by alpha (…,1,h,w) or (h,w) float in [0,1]."""
    return colour * alpha


def unpremultiply(colour: Tensor, alpha: Tensor) -> Tensor:
    """Invert `premultiply`, clipped to [0,1]; black where alpha is 0, since no colour is left there to recover."""
    # The denominator is replaced only where the result is thrown away, so that no division by zero takes place.
    straight = (colour / torch.where(alpha > 0, alpha, 1.0)).clamp(0, 1)
    return torch.where(alpha > 0, straight, 0.0)
