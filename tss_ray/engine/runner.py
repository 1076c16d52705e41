"""One forward of constant shape and the update after it; knows slots, not images.

The shape never changes, so a slot's result does not depend on how many others are occupied or by what: with another
shape the backend may choose another kernel, and the last bits with it.
"""

import torch
from torch import Tensor

from tss_ray.diffusion.sampler import NUM_COEFFICIENTS, ddim_step
from tss_ray.models.base import SuperResolutionModel


class Runner:
    """Slots for `max_batch` tiles of tile_px × tile_px on one device."""

    def __init__(self, model: SuperResolutionModel, device: torch.device, max_batch: int, tile_px: int) -> None:
        """Allocate the slots."""
        self._model, self._device = model, device
        self._x = torch.zeros(max_batch, *model.latent_shape(tile_px), device=device)
        lr = torch.zeros(max_batch, 3, tile_px, tile_px, device=device)
        self._condition = model.condition(lr)

    def load(self, slot: int, noise: Tensor, lr: Tensor) -> None:
        """Start a tile: noise (C,h,w) float32, lr (3,tile,tile) float32 in [-1,1]."""
        self._x[slot] = noise.to(self._device, non_blocking=True)
        self._condition[slot] = self._model.condition(lr[None].to(self._device, non_blocking=True))[0]

    def forward(self, timesteps: list[int], coefficients: Tensor, noise: Tensor | None) -> None:
        """Advance every slot by one step.

        timesteps: one per slot. coefficients: (max_batch, 5) float32, zeros for an empty slot. noise: like the latents,
        or None where no slot re-injects any.
        """
        t = torch.tensor(timesteps, device=self._device)
        c = coefficients.to(self._device).T.reshape(NUM_COEFFICIENTS, -1, 1, 1, 1)
        prediction = self._model.predict(self._x, self._condition, t)
        self._x = ddim_step(self._x, prediction, None if noise is None else noise.to(self._device), c)

    def finish(self, slots: list[int]) -> Tensor:
        """Decode slots to (len(slots),3,tile·scale,tile·scale) float32 on the CPU."""
        return self._model.decode(self._x[slots]).cpu()
