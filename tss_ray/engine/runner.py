"""One forward of constant shape and the update after it; knows slots, not images.

The shape never changes, so a slot's result does not depend on how many others are occupied or by what: with another
shape the backend may choose another kernel, and the last bits with it.
"""

import torch
from torch import Tensor

from tss_ray.diffusion.sampler import ddim_step
from tss_ray.diffusion.spatial import look_up
from tss_ray.models.base import SuperResolutionModel


class Runner:
    """Slots for `max_batch` tiles of tile_px × tile_px on one device."""

    def __init__(self, model: SuperResolutionModel, device: torch.device, max_batch: int, tile_px: int) -> None:
        """Allocate the slots."""
        self._model, self._device = model, device
        self._x = torch.zeros(max_batch, *model.latent_shape(tile_px), device=device)
        self._levels = torch.zeros(max_batch, *self._x.shape[2:], dtype=torch.long, device=device)
        lr = torch.zeros(max_batch, 3, tile_px, tile_px, device=device)
        self._condition = model.condition(lr)

    def load(self, slot: int, noise: Tensor, lr: Tensor, levels: Tensor) -> None:
        """Start a tile: noise (C,h,w) float32, lr (3,tile,tile) float32 in [-1,1], levels (h,w) int64."""
        self._x[slot] = noise.to(self._device, non_blocking=True)
        self._levels[slot] = levels.to(self._device, non_blocking=True)
        self._condition[slot] = self._model.condition(lr[None].to(self._device, non_blocking=True))[0]

    def forward(self, timesteps: Tensor, coefficients: Tensor, noise: Tensor | None) -> None:
        """Advance every slot by one step.

        timesteps: (max_batch, L) int64. coefficients: (max_batch, L, 5) float32. Both of every level; zeros in an empty
        slot. noise: like the latents, or None where no slot re-injects any.
        """
        t = timesteps.to(self._device)
        if t.shape[1] == 1:  # so for the whole job: what the network runs never depends on who shares the batch
            prediction = self._model.predict(self._x, self._condition, t[:, 0])
        else:
            prediction = self._model.predict(self._x, self._condition, t, self._levels)
        c = look_up(coefficients.to(self._device), self._levels).permute(3, 0, 1, 2)[:, :, None]
        self._x = ddim_step(self._x, prediction, None if noise is None else noise.to(self._device), c)

    def finish(self, slots: list[int]) -> Tensor:
        """Decode slots to (len(slots),3,tile·scale,tile·scale) float32 on the CPU."""
        return self._model.decode(self._x[slots]).cpu()
