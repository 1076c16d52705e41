"""Tiles of one size: they share batches with each other and with no others."""

from tss_ray.engine.batcher import Batcher, split
from tss_ray.engine.runner import Runner
from tss_ray.engine.sizes import agreeing_sizes
from tss_ray.engine.state import TileState


class Pool:
    """Waiting and running tiles of `tile_px`, and the batch sizes that they may run in."""

    def __init__(self, tile_px: int, max_batch: int) -> None:
        """Begin empty and untried."""
        self.tile_px = tile_px
        self.batcher: Batcher[TileState] = Batcher(max_batch)
        self.passed_over = 0
        """How often another pool went first since this one last ran."""
        self._max_batch = max_batch
        self._sizes: tuple[int, ...] | None = None

    def warm_up(self, runner: Runner, num_levels: int) -> bool:
        """Find out which batch sizes may be used; return whether that was still to do. May run out of memory."""
        if self._sizes is not None:
            return False
        self._sizes = agreeing_sizes(runner, self._max_batch, self.tile_px, num_levels)
        return True

    def next_batch(self, num_left: int) -> int:
        """Return the size of the next batch for `num_left` tiles."""
        assert self._sizes is not None, "warm_up comes first"
        return split(num_left, self._sizes)[0]

    def shrink(self, max_batch: int) -> None:
        """Run in batches of at most `max_batch` from now on.

        Sizes that are known to agree stay; if none is small enough, last bits may change with this one.
        """
        self._max_batch = max_batch
        self.batcher.shrink(max_batch)
        if self._sizes is not None:
            self._sizes = tuple(size for size in self._sizes if size <= max_batch) or (max_batch,)
