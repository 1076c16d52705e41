"""The tiles of an image too large to be held: they enter the engine by rows, as far as they are asked for.

Whoever composes the image asks for tiles from top to bottom; the engine has those rows under way and a few more, so
that the device is never without work while the caller is busy. What was taken is dropped by the caller, so an image
takes the memory of some rows of its tiles, whatever its height. Other images share the batches as ever.
"""

import math
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

from torch import Tensor

from tss_ray.engine.state import DenoisedImage, ImageRequest, ImageState
from tss_ray.errors import EngineError
from tss_ray.imaging.tiles import TileGrid

_LOOK_S = 1.0
_BATCHES_AHEAD = 2


def rows_ahead(grid: TileGrid, max_batch: int) -> int:
    """Return how many rows of tiles enter beyond the one that is asked for: two batches of tiles, at least one row."""
    return max(1, math.ceil(_BATCHES_AHEAD * max_batch / len(grid.lefts)))


class TileStream:
    """Between the engine's thread, which puts tiles in any order, and one caller, who takes them by rows."""

    def __init__(
        self,
        request: ImageRequest,
        grid: TileGrid,
        future: "Future[DenoisedImage]",
        ask: Callable[["TileStream", int], None],
    ) -> None:
        """`future` resolves, without tiles, when the last one has left the engine; `ask` lets a row of tiles enter.

        `ask` is called once more when the stream is given up.
        """
        self.request, self.grid, self.future = request, grid, future
        self.cancelled = False
        self.image: ImageState | None = None
        """The engine's own, which no other thread touches."""
        self._ask, self._asked = ask, -1
        self._there: dict[int, Tensor] = {}
        self._dropped = 0
        self._changed = threading.Condition()
        future.add_done_callback(self._wake)

    @property
    def num_held(self) -> int:
        """How many tiles lie here."""
        return len(self._there)

    def put(self, index: int, tile: Tensor) -> None:
        """Take a tile from the engine."""
        with self._changed:
            if not self.cancelled:
                self._there[index] = tile
                self._changed.notify_all()

    def tile(self, index: int, stopping: Callable[[], bool] = lambda: False) -> Tensor:
        """Return a tile (3, tile·scale, tile·scale) float32, once the engine has it; asked again, the same.

        Rows of tiles are asked for from top to bottom; one that was dropped never comes again. Raises CancelledError
        where `stopping` becomes true, EngineError for a dropped tile, and what the engine died of.
        """
        row = index // len(self.grid.lefts)
        if row > self._asked:
            self._asked = row
            self._ask(self, row)
        with self._changed:
            while index not in self._there:
                self._check(index)
                if stopping():
                    raise CancelledError
                self._changed.wait(_LOOK_S)
            return self._there[index]

    def drop(self, row: int) -> None:
        """Forget the tiles of rows of tiles above `row`."""
        with self._changed:
            first = row * len(self.grid.lefts)
            for index in range(self._dropped, first):
                self._there.pop(index, None)
            self._dropped = max(self._dropped, first)

    def give_up(self) -> None:
        """Let the engine begin no further tile of this image; those that run are thrown away."""
        with self._changed:
            self.cancelled = True
            self._there.clear()
        self.future.cancel()
        self._ask(self, self._asked)

    def _check(self, index: int) -> None:
        if index < self._dropped:
            raise EngineError(f"tile {index} was dropped already; this is a bug of the engine, please report it")
        if self.cancelled or self.future.cancelled():
            raise CancelledError
        error: BaseException | None = self.future.exception() if self.future.done() else None
        if error is not None:
            raise error

    def _wake(self, future: "Future[DenoisedImage]") -> None:
        with self._changed:
            self._changed.notify_all()
