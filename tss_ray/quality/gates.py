"""Is this output a picture of its input at all? What no device fault, no bad checkpoint and no bug may upload.

A gate compares the output, reduced again, with the input by regions, so that one black tile of a large image is seen.
It must never refuse what a working model makes of a photograph: the thresholds lie far above what was measured (see
`MAX_SHIFT`).
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

REGION_PX = 8
"""Side of a region, in px of the input."""
MAX_SHIFT = 0.2
"""Of a region's mean colour, in any channel, of a range of 1. On crops of 175 photographs, 256×256 px reduced by 4,
with noise of std 0.05 and without, the largest was 0.018 among 1,050 outputs of tss-x4-small at 1, 4 and 15 steps
(jobs/benchmarks/gates.py): none is refused, and eleven times that is still let through."""
BLACK = 8 / 255
"""Regions no brighter than this are black: neighbours bleed into the rim of a black tile when it is reduced."""
FLAT_STD = 0.5 / 255
"""Pixels that spread less than this are one colour."""
TEXTURED_STD = 4 / 255
"""An input that spreads more than this is not: its output may not be one colour."""


def refusal(tiles: Iterable[Tensor], added: Tensor, reduced: Tensor, lr: Tensor) -> str | None:
    """Return why an output must not be kept, or None.

    tiles: what the model made, any shape, float. added: all of it, reduced to the input's size; reduced: the output,
    reduced likewise; lr: the input; these (3,h,w) float, of a range of 1.

    "output_nan": a value is not finite. "output_constant": one colour, of an input that is not. "output_black",
    "output_off_colour": the mean colour of a region is MAX_SHIFT away from the input's.
    """
    if not all(map(is_finite, tiles)):
        return "output_nan"
    return off_colour(added, lr) or constant(min(lr.shape[1:]), _spread(reduced), _spread(lr))


def is_finite(tile: Tensor) -> bool:
    """Tell whether every value is; else their sum is not either, which takes a fraction of the time to find."""
    return math.isfinite(float(tile.sum()))


def off_colour(added: Tensor, lr: Tensor) -> str | None:
    """Return "output_black" or "output_off_colour" where a region's mean colour is MAX_SHIFT away, or None."""
    before, after = _regions(lr), _regions((lr + added).clamp(0, 1))
    shift = (after - before).abs().amax(0)
    if bool((shift > MAX_SHIFT).any()):
        return "output_black" if float(after.amax(0)[shift > MAX_SHIFT].max()) <= BLACK else "output_off_colour"
    return None


def constant(shorter_px: int, spread: float, input_spread: float) -> str | None:
    """Return "output_constant" for one colour of an input that has several, or None; see `refusal`.

    The spreads are the largest standard deviation of a channel, over the reduced output and over the input.
    """
    is_small = shorter_px < REGION_PX  # reducing blurs what is left of it
    return "output_constant" if not is_small and spread < FLAT_STD and input_spread > TEXTURED_STD else None


def worst_shift(added: Tensor, lr: Tensor) -> float:
    """Return the largest shift of a region's mean colour, in [0,1]: what MAX_SHIFT is compared with."""
    return float((_regions((lr + added).clamp(0, 1)) - _regions(lr)).abs().max())


def _regions(planes: Tensor) -> Tensor:
    """Return the mean colours (3,rows,columns) of squares; the last of a row lies at the edge, over its neighbour.

    None is narrower than REGION_PX in an image that is not: means of slivers follow the resampling's overshoot.
    """
    return _means(_means(planes, REGION_PX, 1), REGION_PX, 2)


def _means(values: Tensor, side: int, dim: int) -> Tensor:
    values = values.movedim(dim, -1)
    size = values.shape[-1]
    side = min(side, size)
    whole = values[..., : size // side * side].reshape(*values.shape[:-1], -1, side).mean(-1)
    return torch.cat([whole, values[..., size - side :].mean(-1, keepdim=True)], -1).movedim(-1, dim)


def _spread(planes: Tensor) -> float:
    """Return the largest standard deviation of a channel."""
    return float(planes.std(dim=(1, 2), correction=0).max())
