"""Which batch sizes may be used: those in which a tile's bits do not depend on the size, found out by trying.

A backend may choose another kernel for another shape, and another kernel adds in another order. Whether it does is a
matter of device, dtype and library, so every size is tried once on made-up tiles, and dropped if one bit differs from
the full batch; what is left out costs speed at the tail, never a bit.

Seen on an AVX-512 CPU with the embedded model: convolutions give the same bits in batches of 1, 2, 4 and 8, matrix
products do not (in float32 below 4 rows, in bfloat16 with 1). Hence `SteadyLinear` in the network, with which all four
sizes agree.
"""

import logging
import time

import torch

from tss_ray.engine.batcher import batch_sizes
from tss_ray.engine.runner import Runner

log = logging.getLogger(__name__)


def agreeing_sizes(runner: Runner, max_batch: int, tile_px: int, num_levels: int) -> tuple[int, ...]:
    """Return the sizes up to `max_batch`, ascending, that give tiles of `tile_px` the bits of the full batch.

    This is the warm-up too: every size that is used later has been run (and compiled) here. A single size is not run.
    """
    began = time.perf_counter()
    sizes = batch_sizes(max_batch)
    if len(sizes) == 1:
        return sizes
    full = runner.try_tiles(range(max_batch), tile_px, num_levels)
    agreeing = tuple(size for size in sizes if torch.equal(_in_parts(runner, size, full, tile_px, num_levels), full))
    log.info("tiles of %d px: batches of %s, warm in %.2f s", tile_px, agreeing, time.perf_counter() - began)
    return agreeing if max_batch in agreeing else (max_batch,)  # that does not repeat itself: all the same


def _in_parts(runner: Runner, size: int, full: torch.Tensor, tile_px: int, num_levels: int) -> torch.Tensor:
    """Return what `full` holds, run in batches of `size`; every tile: rounding may hide a difference in some."""
    starts = [*range(0, len(full) - size, size), len(full) - size]
    parts = [runner.try_tiles(range(start, start + size), tile_px, num_levels) for start in starts]
    found = torch.empty_like(full)
    for start, part in zip(starts, parts, strict=True):
        found[start : start + size] = part
    return found
