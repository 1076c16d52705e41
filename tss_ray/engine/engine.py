"""The engine: images in, denoised tiles out, one step at a time; continuous batching over whatever is there."""

import logging
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import replace

import torch

from tss_ray.diffusion.spatial import resample_levels
from tss_ray.engine.flight import Flight, Stopwatch
from tss_ray.engine.intake import Intake
from tss_ray.engine.memory import is_out_of_memory, release_cached
from tss_ray.engine.noise import TileNoise
from tss_ray.engine.pool import Pool
from tss_ray.engine.runner import Runner
from tss_ray.engine.state import DenoisedImage, ImageRequest, ImageState, TileState
from tss_ray.engine.stats import EngineStats
from tss_ray.engine.stream import TileStream, rows_ahead
from tss_ray.errors import EngineError
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.tiles import TileGrid
from tss_ray.models.base import SuperResolutionModel

log = logging.getLogger(__name__)

_PATIENCE = 8
"""How often fuller pools may go before one that has work."""


class Engine:
    """One model on one device. Not thread-safe: one thread owns it (see `engine.thread`)."""

    def __init__(
        self,
        model: SuperResolutionModel,
        device: torch.device,
        max_batch: int,
        tile_px: int,
        overlap_px: int,
        num_levels: int = 1,
        sides_px: tuple[int, ...] = (),
    ) -> None:
        """Make an engine for images of at most `num_levels` levels; 1 runs the network's ordinary forward.

        sides_px: smaller tiles that an image may be cut into instead (see `best_tile`); those that the model cannot
        take are left out. Raises SpecError if it cannot take tiles of `tile_px`.
        """
        model.card.check_tile(tile_px)
        self._num_levels = num_levels
        self._model, self._device = model, device
        self._max_batch = max_batch
        self._intake, self._noise = Intake(model.card, tile_px, overlap_px, num_levels, sides_px), TileNoise(model)
        self._pools = {side: Pool(side, max_batch) for side in self._intake.sides}
        self._runner = Runner(model, device)
        self._flights: deque[Flight] = deque()
        self._stats = EngineStats()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to step."""
        return not self._flights and all(pool.batcher.idle for pool in self._pools.values())

    @property
    def stats(self) -> EngineStats:
        """What was done so far."""
        return self._stats

    @property
    def occupancy(self) -> float:
        """Useful slots / slots run so far, in [0,1]."""
        return self._stats.occupancy

    @property
    def max_batch(self) -> int:
        """Tiles per forward at most, at present."""
        return self._max_batch

    @property
    def device(self) -> torch.device:
        """What it runs on."""
        return self._device

    def submit(self, request: ImageRequest, future: "Future[DenoisedImage]") -> None:
        """Queue an image's tiles; `future` gets the result. An empty plan is answered at once."""
        image = self._intake.image(request, future)
        if image.num_out:
            self._count_tiles(image)
            self._enter(image, range(image.grid.num_tiles))
        elif image.start():
            _hand_over(image)

    def grid(self, height: int, width: int) -> TileGrid:
        """Return how an image is cut; any thread may ask."""
        return self._intake.grid(height, width)

    def extend(self, stream: TileStream, row: int) -> None:
        """Let the tiles of a streamed image enter as far as `row` of its rows of tiles, and some rows beyond.

        Each leaves through the stream; its future is told when all have. Rows that are in already, and streams that
        were given up, change nothing. Raises EngineError for a plan without steps, which needs no engine.
        """
        if stream.cancelled:
            return
        if stream.image is None:
            if not stream.request.num_steps:
                raise EngineError("a streamed image of no steps has no tiles; compose it without the engine")
            stream.image = self._intake.image(stream.request, stream.future, stream)
            self._count_tiles(stream.image)
        image = stream.image
        grid, columns = image.grid, len(image.grid.lefts)
        last = max(image.rows_in, min(row + 1 + rows_ahead(grid, self._max_batch), len(grid.tops)))
        begun, image.rows_in = image.rows_in, last
        self._enter(image, range(begun * columns, last * columns))

    def _enter(self, image: ImageState, indices: range) -> None:
        """Let tiles enter; those without a step are answered, which is all where there is no other."""
        grid, columns = image.grid, len(image.grid.lefts)
        waiting: list[TileState] = []
        still: list[TileState] = []
        for i in indices:
            tile = TileState(image, i, grid.tops[i // columns], grid.lefts[i % columns], image.schedules[i])
            (waiting if tile.schedule.num_steps else still).append(tile)
        self._pools[grid.tile_px].batcher.add(waiting)
        if still and image.start():
            side = grid.tile_px * self._model.card.scale
            nothing = torch.zeros(3, side, side)
            for tile in still:
                image.take(tile.index, nothing)
            _hand_over(image)

    def _count_tiles(self, image: ImageState) -> None:
        px_run = image.grid.num_tiles * image.grid.tile_px**2
        self._count(px_run=px_run, px_wanted=px_run / image.grid.padding_ratio(*image.request.lr.shape[:2]))

    def step(self) -> None:
        """Let every running tile of one size advance by one step, and hand on what is finished.

        On a device that works on its own, what a step finished is handed on while the next one runs.
        """
        busy = [pool for pool in self._pools.values() if not pool.batcher.idle]
        if busy:
            self._advance(self._choose(busy))
        lag = 0 if self._device.type == "cpu" or not busy else 1
        while len(self._flights) > lag:
            self._land(self._flights.popleft())

    def _choose(self, busy: list[Pool]) -> Pool:
        """Return the fullest pool, unless one was passed over too often."""
        chosen = max(busy, key=lambda pool: (pool.passed_over >= _PATIENCE, min(1.0, pool.batcher.fill)))
        for pool in busy:
            pool.passed_over = 0 if pool is chosen else pool.passed_over + 1
        return chosen

    def _advance(self, pool: Pool) -> None:
        """Run every tile of a pool once, in as few batches as its sizes allow.

        Out of memory halves what a batch may be, for good. The tiles keep what they were: those that the failed batch
        held run again, those before it have run.
        """
        left: list[TileState] | None = None
        while left is None or left:
            try:
                self._warm_up(pool)
                left = self._admit(pool) if left is None else left
                if left:
                    size = pool.next_batch(len(left))
                    self._flights.append(self._run(left[:size], size))
                    left = left[size:]
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error)
            self._halve(reason)  # outside: the error's traceback holds the failed batch's tensors

    def _halve(self, reason: str) -> None:
        if self._max_batch == 1:
            raise EngineError(f"one tile alone does not fit into memory ({reason}); lower tiles.tile_px")
        self._max_batch //= 2
        for pool in self._pools.values():
            pool.shrink(self._max_batch)
        release_cached(self._device)
        self._count(out_of_memory=1)
        log.warning("out of memory: %d tiles a batch from now on (%s)", self._max_batch, reason)

    def _warm_up(self, pool: Pool) -> None:
        began = time.perf_counter()
        if pool.warm_up(self._runner, self._num_levels):
            self._count(warm_up_s=time.perf_counter() - began)

    def _admit(self, pool: Pool) -> list[TileState]:
        """Fill the pool's free places; the tiles of cancelled images pass through without a forward."""
        while placed := pool.batcher.admit():
            for tile in placed:
                if not tile.image.start():
                    pool.batcher.release(tile)
        running = pool.batcher.running()
        for tile in running:
            if tile.tensors is None:
                self._load(tile)
        return running

    def _load(self, tile: TileState) -> None:
        px = tile.image.grid.tile_px
        inside = slice(tile.top, tile.top + px), slice(tile.left, tile.left + px)
        lr = to_planes(tile.image.padded[inside]) * 2 - 1
        levels = torch.tensor(tile.image.levels[inside], dtype=torch.long)
        size = self._model.latent_shape(px)[1:]
        resampled = resample_levels(levels[None], *size)[0]
        lr_noise = self._noise.on_lr(tile) if self._model.card.takes_noisy_lr else None
        noise, strength = self._noise.first(tile), tile.schedule.first_noise
        if strength is not None:
            noise *= strength[resampled]
        tile.tensors = self._runner.load(noise, lr, resampled, lr_noise)

    def _run(self, tiles: list[TileState], size: int) -> Flight:
        """Run one batch; the tiles that it finishes leave their pool."""
        watch = Stopwatch(self._device)
        tensors = [tile.tensors for tile in tiles if tile.tensors is not None]
        timesteps = torch.stack([tile.schedule.timesteps[tile.step] for tile in tiles])
        coefficients = torch.stack([tile.schedule.coefficients[tile.step] for tile in tiles])
        latents = self._runner.forward(tensors, size, timesteps, coefficients, self._noise.of_step(tiles))
        last = [number for number, tile in enumerate(tiles) if tile.step + 1 == tile.schedule.num_steps]
        pixels = self._runner.finish([latents[number] for number in last])
        watch.stop()
        for tile, held, x in zip(tiles, tensors, latents, strict=True):  # from here on nothing can fail
            tile.step, held.x = tile.step + 1, x
        finished = {tiles[number]: each for number, each in zip(last, pixels, strict=True)}
        for tile in finished:
            tile.tensors = None
            self._pools[tile.image.grid.tile_px].batcher.release(tile)
        self._count(forwards=1, slots_run=size, slots_useful=len(tiles))
        return Flight(tiles, finished, watch)

    def _land(self, flight: Flight) -> None:
        """Share out the seconds of a batch that has run, and hand on the images that it completed."""
        seconds = flight.watch.seconds()
        self._count(device_s=seconds)
        for tile in flight.tiles:
            tile.image.device_seconds += seconds / len(flight.tiles)
        for tile, pixels in flight.finished.items():
            tile.image.take(tile.index, pixels)
            _hand_over(tile.image)

    def _count(self, **more: float) -> None:
        self._stats = replace(self._stats, **{name: getattr(self._stats, name) + value for name, value in more.items()})


def _hand_over(image: ImageState) -> None:
    """Answer the caller if every tile is back."""
    result = image.finished()
    if result is not None:
        image.future.set_result(result)
