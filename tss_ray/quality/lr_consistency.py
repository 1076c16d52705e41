"""Does the output still say what the input said? The output reduced again, against the input.

Needs no original, so every image of a job can be judged by it. A bicubic enlargement scores high without adding
anything; a low value means that the model invented or shifted content.
"""

from torch import Tensor

from tss_ray.errors import EngineError
from tss_ray.imaging.resample import downsample
from tss_ray.quality.psnr import psnr


def lr_consistency_psnr(sr: Tensor, lr: Tensor, scale: int) -> float:
    """Return the PSNR in dB (at most 100) of sr (3,H,W) in [0,1], reduced by `scale`, against lr (3,h,w) in [0,1].

    The reduction is `imaging.resample.downsample` in float, clamped to [0,1]; RGB, not luma, so that colour
    shifts count.
    Raises EngineError unless H = h·scale and W = w·scale.
    """
    if sr.shape[-2:] != (lr.shape[-2] * scale, lr.shape[-1] * scale):
        raise EngineError(
            f"{tuple(sr.shape)} is not {scale} times {tuple(lr.shape)}: need the output of this very input; "
            "reduce neither before the call"
        )
    reduced = downsample(sr[None].float(), scale)[0].clamp(0, 1)
    return psnr(reduced, lr.float())
