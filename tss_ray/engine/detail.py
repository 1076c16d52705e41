"""More or less of the detail that a tile has and its input has not."""

from torch import Tensor

from tss_ray.imaging.resample import downsample, upsample


def amplified(tile: Tensor, gain: float, scale: int) -> Tensor:
    """Return (3,H,W) with that part of it times `gain` which vanishes when it is reduced by `scale`.

    The denoiser answers with means of what may be there, which are softer than any of it; a gain above 1 gives back the
    contrast and not the truth. What is left when the tile is reduced stays: it makes good for the enlargement's own
    error, so the result still agrees with its input.
    """
    if gain == 1:
        return tile
    return tile + (gain - 1) * (tile - upsample(downsample(tile[None], scale), scale)[0])
