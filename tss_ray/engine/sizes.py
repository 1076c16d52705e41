"""Which batch sizes may be used: those in which a tile's bits do not depend on the size, found out by trying.

A backend may choose another kernel for another shape, and another kernel adds in another order. Whether it does is a
matter of device, dtype and library: with the embedded model on an AVX-512 CPU bfloat16 gives the same bits in batches
of 1, 2, 4 and 8, float32 only in batches of 4 and 8. So each size is run once on made-up tiles and dropped if one bit
differs from the full batch; what is left out costs speed at the tail, never a bit.
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
    everything = range(max_batch)
    full = runner.try_tiles(everything, tile_px, num_levels)
    agreeing = tuple(  # the last tiles: they change their place in the batch too
        size for size in sizes if torch.equal(runner.try_tiles(everything[-size:], tile_px, num_levels), full[-size:])
    )
    log.info("tiles of %d px: batches of %s, warm in %.2f s", tile_px, agreeing, time.perf_counter() - began)
    return agreeing if max_batch in agreeing else (max_batch,)  # that does not repeat itself: all the same
