"""The bicubic resampling that everything is measured against, in both directions.

One definition for training, inference and quality, so that "the resampled image" means the same everywhere: Keys'
cubic with a = -0.5 and antialiasing, which is what Pillow's BICUBIC computes.
"""

from torch import Tensor
from torch.nn import functional


def upsample(lr: Tensor, scale: int) -> Tensor:
    """Enlarge (B,C,h,w) float to (B,C,h·scale,w·scale); the range may overshoot by ringing."""
    h, w = lr.shape[-2:]
    return functional.interpolate(lr, size=(h * scale, w * scale), mode="bicubic", antialias=True)


def downsample(hr: Tensor, scale: int) -> Tensor:
    """Reduce (B,C,H,W) float to (B,C,H//scale,W//scale); H and W must be multiples of `scale`."""
    h, w = hr.shape[-2:]
    return functional.interpolate(hr, size=(h // scale, w // scale), mode="bicubic", antialias=True)
