"""Two models on one device that act as one engine: images of a single step go to the model made for that."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import fields

import torch

from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.engine.stats import EngineStats
from tss_ray.engine.stream import TileStream
from tss_ray.imaging.tiles import TileGrid
from tss_ray.models.base import SuperResolutionModel


class EnginePair:
    """`main` and `one_step`, which cut images alike. Not thread-safe, as `Engine`; what it says is what both did."""

    def __init__(self, main: Engine, one_step: Engine) -> None:
        """Take both, of one device."""
        self._main, self._one_step = main, one_step

    def submit(self, request: ImageRequest, future: "Future[DenoisedImage]") -> None:
        """Queue an image's tiles; see `Engine.submit`."""
        self._of(request).submit(request, future)

    def grid(self, height: int, width: int) -> TileGrid:
        """Return how an image is cut, whichever model runs it."""
        return self._main.grid(height, width)

    def extend(self, stream: TileStream, row: int) -> None:
        """Let a streamed image's tiles enter; see `Engine.extend`."""
        self._of(stream.request).extend(stream, row)

    def step(self) -> None:
        """Let both models' tiles advance by one step."""
        for engine in (self._main, self._one_step):
            if not engine.idle:
                engine.step()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to step."""
        return self._main.idle and self._one_step.idle

    @property
    def stats(self) -> EngineStats:
        """What both did so far."""
        main, one_step = self._main.stats, self._one_step.stats
        return EngineStats(*(getattr(main, each.name) + getattr(one_step, each.name) for each in fields(EngineStats)))

    @property
    def occupancy(self) -> float:
        """Useful slots / slots run so far, in [0,1]."""
        return self.stats.occupancy

    @property
    def max_batch(self) -> int:
        """Tiles per forward at most, of the smaller of both."""
        return min(self._main.max_batch, self._one_step.max_batch)

    @property
    def device(self) -> torch.device:
        """What both run on."""
        return self._main.device

    def _of(self, request: ImageRequest) -> Engine:
        return self._one_step if request.num_steps == 1 else self._main


def engine_of(
    models: Sequence[SuperResolutionModel],
    device: torch.device,
    max_batch: int,
    tile_px: int,
    overlap_px: int,
    num_levels: int = 1,
    sides_px: tuple[int, ...] = (),
) -> Engine | EnginePair:
    """Return the engine of one model, or of two, the second for images of a single step; see `Engine`.

    Smaller tiles are those that every model takes, so that an image is cut the same on any rung.
    """
    sides = tuple(side for side in sides_px if all(model.card.takes_tile(side) for model in models))
    engines = [Engine(model, device, max_batch, tile_px, overlap_px, num_levels, sides) for model in models]
    return engines[0] if len(engines) == 1 else EnginePair(*engines)
