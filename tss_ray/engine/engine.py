"""The engine: images in, denoised tiles out, one step at a time; continuous batching over whatever is there."""

import time
from concurrent.futures import Future

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tss_ray.diffusion.noise import position_noise
from tss_ray.diffusion.sampler import NUM_COEFFICIENTS, ddim_coefficients
from tss_ray.diffusion.spatial import resample_levels
from tss_ray.engine.batcher import Batcher
from tss_ray.engine.runner import Runner
from tss_ray.engine.state import DenoisedImage, ImageRequest, ImageState, TileState
from tss_ray.errors import EngineError
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.tiles import pad_to_tile, tile_grid
from tss_ray.models.base import SuperResolutionModel

_ASK = "give the engine the num_levels that images were planned with"


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
    ) -> None:
        """Make an engine for images of at most `num_levels` levels; 1 runs the network's ordinary forward.

        Raises SpecError if the model cannot take tiles of `tile_px`.
        """
        model.card.check_tile(tile_px)
        self._num_levels = num_levels
        self._model = model
        self._tile_px, self._overlap_px, self._max_batch = tile_px, overlap_px, max_batch
        self._latent_shape = model.latent_shape(tile_px)
        self._batcher: Batcher[TileState] = Batcher(max_batch)
        self._runner = Runner(model, device, max_batch, tile_px)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to step."""
        return self._batcher.idle

    @property
    def occupancy(self) -> float:
        """Useful slots / slots run so far, in [0,1]."""
        return self._batcher.occupancy

    def submit(self, request: ImageRequest, future: "Future[DenoisedImage]") -> None:
        """Queue an image's tiles; `future` gets the result. An empty plan is answered at once."""
        height, width = request.lr.shape[:2]
        grid = tile_grid(height, width, self._tile_px, self._overlap_px)
        padded = pad_to_tile(request.lr, self._tile_px)
        levels = pad_to_tile(self._levels_of(request), self._tile_px)
        plans = self._plans_of(request)
        coefficients = ddim_coefficients(
            self._model.alphas_cumprod, plans, request.eta, self._model.card.prediction_type
        ).float()
        num_tiles = grid.num_tiles if request.num_steps else 0
        timesteps = torch.from_numpy(plans)
        image = ImageState(request, grid, padded, levels, timesteps, coefficients, future, [None] * num_tiles)
        self._batcher.add(TileState(image, i, *box) for i, box in enumerate(grid.boxes()) if num_tiles)
        if not num_tiles and image.start():
            _hand_over(image)

    def _plans_of(self, request: ImageRequest) -> NDArray[np.int64]:
        """Return (num_steps, num_levels): an image that has one plan has it at every level."""
        plans = np.array(request.plan, np.int64)
        plans = plans if plans.ndim == 2 else plans[:, None]
        if plans.shape[1] not in (1, self._num_levels):
            raise EngineError(f"{plans.shape[1]} plans for {self._num_levels} levels; {_ASK}")
        return np.repeat(plans, self._num_levels, 1) if plans.shape[1] == 1 else plans

    def _levels_of(self, request: ImageRequest) -> NDArray[np.uint8]:
        """Return (h,w): an image without a map is at level 0 throughout."""
        shape = request.lr.shape[:2]
        if request.levels is None:
            return np.zeros(shape, np.uint8)
        if request.levels.shape != shape or request.levels.max() >= self._num_levels:
            raise EngineError(
                f"a map of {request.levels.shape} up to level {request.levels.max()} for {shape} px and "
                f"{self._num_levels} levels; {_ASK}"
            )
        return request.levels

    def step(self) -> None:
        """Admit, run one forward, hand on what is finished."""
        started = time.perf_counter()
        self._admit()
        running = self._batcher.running()
        if not running:
            return
        timesteps = torch.zeros(self._max_batch, self._num_levels, dtype=torch.long)
        coefficients = torch.zeros(self._max_batch, self._num_levels, NUM_COEFFICIENTS)
        for slot, tile in running:
            timesteps[slot], coefficients[slot] = tile.image.timesteps[tile.step], tile.image.coefficients[tile.step]
        self._runner.forward(timesteps, coefficients, self._step_noise(running))
        self._batcher.ran()
        finished = []
        share_s = (time.perf_counter() - started) / len(running)
        for slot, tile in running:
            tile.image.device_seconds += share_s
            tile.step += 1
            if tile.done:
                self._batcher.release(slot)
                finished.append((slot, tile))
        if finished:
            self._collect(finished)

    def _admit(self) -> None:
        """Fill the slots; the tiles of cancelled images pass through without a forward."""
        while placed := self._batcher.admit():
            for slot, tile in placed:
                if tile.image.start():
                    self._load(slot, tile)
                else:
                    self._batcher.release(slot)

    def _load(self, slot: int, tile: TileState) -> None:
        px = self._tile_px
        inside = slice(tile.top, tile.top + px), slice(tile.left, tile.left + px)
        lr = to_planes(tile.image.padded[inside]) * 2 - 1
        levels = torch.tensor(tile.image.levels[inside], dtype=torch.long)
        self._runner.load(
            slot, self._noise(tile, draw=0), lr, resample_levels(levels[None], *self._latent_shape[1:])[0]
        )

    def _noise(self, tile: TileState, draw: int) -> Tensor:
        channels, height, width = self._latent_shape
        per_px = height // self._tile_px
        request = tile.image.request
        top, left = tile.top * per_px, tile.left * per_px
        return position_noise(request.image_key, request.seed, draw, top, left, channels, height, width)

    def _step_noise(self, running: list[tuple[int, TileState]]) -> Tensor | None:
        """Return the noise that this step re-injects, or None if no tile asks for any."""
        noisy = [(slot, tile) for slot, tile in running if np.any(np.greater(tile.image.request.eta, 0))]
        if not noisy:
            return None
        noise = torch.zeros(self._max_batch, *self._latent_shape)
        for slot, tile in noisy:
            noise[slot] = self._noise(tile, draw=tile.step + 1)
        return noise

    def _collect(self, finished: list[tuple[int, TileState]]) -> None:
        pixels = self._runner.finish([slot for slot, _ in finished])
        for decoded, (_, tile) in zip(pixels, finished, strict=True):
            tile.image.tiles[tile.index] = decoded
            _hand_over(tile.image)


def _hand_over(image: ImageState) -> None:
    """Answer the caller if every tile is back."""
    result = image.finished()
    if result is not None:
        image.future.set_result(result)
