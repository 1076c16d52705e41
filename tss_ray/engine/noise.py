"""The noise that tiles get: where it lies in the image decides it, so tiles that overlap agree."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tss_ray.diffusion.noise import position_noise
from tss_ray.engine.state import TileState
from tss_ray.models.base import SuperResolutionModel

_LR_DRAW = -1
"""The draw of noise on low-resolution pixels; 0 starts the sampler, and steps count from 1."""


class TileNoise:
    """Noise for the tiles of a model."""

    def __init__(self, model: SuperResolutionModel) -> None:
        """Take the model, for the shape of its latents."""
        self._model = model

    def first(self, tile: TileState) -> Tensor:
        """Return what sampling starts from, (C,h,w)."""
        return self._latent(tile, 0)

    def on_lr(self, tile: TileState) -> Tensor:
        """Return what is put on a tile's low-resolution pixels, (3,tile,tile)."""
        px, request = tile.image.grid.tile_px, tile.image.request
        return position_noise(request.image_key, request.seed, _LR_DRAW, tile.top, tile.left, 3, px, px)

    def of_step(self, tiles: Sequence[TileState]) -> Tensor | None:
        """Return what the next step of tiles of one size adds, (n,C,h,w), or None if no tile asks for any."""
        noisy = [tile.schedule.adds_noise(tile.step) for tile in tiles]
        if not any(noisy):
            return None
        nothing = torch.zeros(self._model.latent_shape(tiles[0].image.grid.tile_px))
        return torch.stack(
            [self._latent(tile, tile.step + 1) if asks else nothing for tile, asks in zip(tiles, noisy, strict=True)]
        )

    def _latent(self, tile: TileState, draw: int) -> Tensor:
        tile_px, request = tile.image.grid.tile_px, tile.image.request
        channels, height, width = self._model.latent_shape(tile_px)
        # where a latent px is several px, what begins between two of them takes the first one's noise
        top, left = tile.top * height // tile_px, tile.left * width // tile_px
        return position_noise(request.image_key, request.seed, draw, top, left, channels, height, width)
