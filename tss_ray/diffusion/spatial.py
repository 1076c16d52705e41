"""Spatial dynamic sampling: each position of an image follows one of a few plans, by how much texture there is.

DESIGN 4. The texture map v in [0,1] is cut into levels, once per image; every level has its own a and n, so its own
plan and its own coefficients. What a position needs at a step is then a table look-up by its level. A tile takes a crop
of the image's levels, so neighbouring tiles agree where they overlap.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def level_map(v: Tensor, num_levels: int) -> NDArray[np.uint8]:
    """Return (h,w) uint8 in [0, num_levels), the nearest level of v (1,1,h,w) in [0,1]; at most 256 levels."""
    levels: NDArray[np.uint8] = (v[0, 0] * (num_levels - 1)).round().to(torch.uint8).numpy()
    return levels


def level_parameters(num_levels: int, ends: tuple[float, float]) -> tuple[float, ...]:
    """Return one value per level: `ends` are those of v = 0 and v = 1, between them linear; of one level, their mean.

    This is n_ij = N_min + (N_max - N_min)·v_ij of the paper (arXiv 2505.12048), and a_ij likewise, at quantised v.
    """
    first, last = ends
    if num_levels == 1:
        return ((first + last) / 2,)
    return tuple(first + (last - first) * level / (num_levels - 1) for level in range(num_levels))


def resample_levels(levels: Tensor, height: int, width: int) -> Tensor:
    """Return levels (B,h,w) int64 at another resolution (B,height,width), each the rounded mean of those it covers.

    A level is linear in v, so this is v resampled and cut again, and the result can still be looked up.
    """
    if levels.shape[1:] == (height, width):
        return levels
    return functional.adaptive_avg_pool2d(levels[:, None].float(), (height, width))[:, 0].round().long()


def look_up(tables: Tensor, levels: Tensor) -> Tensor:
    """Return (B,h,w,K), what each position finds in its sample's table: tables (B,L,K), levels (B,h,w) int64."""
    num_levels = tables.shape[1]
    first_rows = torch.arange(0, tables.shape[0] * num_levels, num_levels, device=levels.device)
    return functional.embedding(levels + first_rows[:, None, None], tables.flatten(0, 1))
