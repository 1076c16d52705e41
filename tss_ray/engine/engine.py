"""The engine: images in, denoised tiles out, one step at a time; continuous batching over whatever is there."""

import time
from concurrent.futures import Future

import torch
from torch import Tensor

from tss_ray.diffusion.noise import position_noise
from tss_ray.diffusion.sampler import NUM_COEFFICIENTS, ddim_coefficients
from tss_ray.engine.batcher import Batcher
from tss_ray.engine.runner import Runner
from tss_ray.engine.state import DenoisedImage, ImageRequest, ImageState, TileState
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.tiles import pad_to_tile, tile_grid
from tss_ray.models.base import SuperResolutionModel


class Engine:
    """One model on one device. Not thread-safe: one thread owns it (see `engine.thread`)."""

    def __init__(
        self, model: SuperResolutionModel, device: torch.device, max_batch: int, tile_px: int, overlap_px: int
    ) -> None:
        """Raise SpecError if the model cannot take tiles of `tile_px`."""
        model.card.check_tile(tile_px)
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
        coefficients = ddim_coefficients(
            self._model.alphas_cumprod, request.plan, request.eta, self._model.card.prediction_type
        ).float()
        num_tiles = grid.num_tiles if request.plan else 0
        image = ImageState(request, grid, padded, coefficients, future, [None] * num_tiles)
        self._batcher.add(TileState(image, i, *box) for i, box in enumerate(grid.boxes()) if num_tiles)
        if not num_tiles and image.start():
            _hand_over(image)

    def step(self) -> None:
        """Admit, run one forward, hand on what is finished."""
        started = time.perf_counter()
        self._admit()
        running = self._batcher.running()
        if not running:
            return
        timesteps, coefficients = [0] * self._max_batch, torch.zeros(self._max_batch, NUM_COEFFICIENTS)
        for slot, tile in running:
            timesteps[slot], coefficients[slot] = tile.timestep, tile.image.coefficients[tile.step]
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
        image, px = tile.image, self._tile_px
        lr = to_planes(image.padded[tile.top : tile.top + px, tile.left : tile.left + px]) * 2 - 1
        self._runner.load(slot, self._noise(tile, draw=0), lr)

    def _noise(self, tile: TileState, draw: int) -> Tensor:
        channels, height, width = self._latent_shape
        per_px = height // self._tile_px
        request = tile.image.request
        top, left = tile.top * per_px, tile.left * per_px
        return position_noise(request.image_key, request.seed, draw, top, left, channels, height, width)

    def _step_noise(self, running: list[tuple[int, TileState]]) -> Tensor | None:
        """Return the noise that this step re-injects, or None if no tile asks for any."""
        noisy = [(slot, tile) for slot, tile in running if tile.image.request.eta > 0]
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
