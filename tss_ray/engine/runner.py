"""One forward of a batch and the update after it; knows tiles' tensors, not images.

What a tile holds between forwards lies with the tile, so a forward may take any tiles in any order, and one that fails
has changed nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tss_ray.diffusion.sampler import NUM_COEFFICIENTS, ddim_step
from tss_ray.diffusion.spatial import look_up
from tss_ray.models.base import SuperResolutionModel


@dataclass(slots=True, eq=False)
class TileTensors:
    """A tile on the device: x (1,C,h,w) float32, condition (1,…) as the model made it, levels (1,h,w) int64."""

    x: Tensor
    condition: Tensor
    levels: Tensor


class Runner:
    """A model on a device."""

    def __init__(self, model: SuperResolutionModel, device: torch.device) -> None:
        """Take the model; it must be on `device`."""
        self._model, self._device = model, device
        self._begins_at_lr = model.card.transition.begins_at_lr

    @torch.inference_mode()
    def load(self, noise: Tensor, lr: Tensor, levels: Tensor, lr_noise: Tensor | None = None) -> TileTensors:
        """Start a tile: noise (C,h,w) float32, lr (3,tile,tile) float32 in [-1,1], levels (h,w) int64, on the CPU.

        noise: as strong as at the first timestep. lr_noise: as lr, for a model that takes it. Latents are kept channels
        last, as networks here compute: nothing is turned around in a step.
        """
        x = self._move(noise[None].contiguous(memory_format=torch.channels_last))
        moved = self._move(lr[None])
        if lr_noise is None:
            condition = self._model.condition(moved)
        else:
            condition = self._model.condition(moved, self._move(lr_noise[None]))
        if self._begins_at_lr:
            x += condition[:, : x.shape[1]]
        return TileTensors(x, condition, self._move(levels[None]))

    @torch.inference_mode()
    def forward(
        self, tiles: Sequence[TileTensors], size: int, timesteps: Tensor, coefficients: Tensor, noise: Tensor | None
    ) -> list[Tensor]:
        """Return the next latents (1,C,h,w) of tiles, run in a batch of `size` slots; empty ones repeat the first tile.

        timesteps: (n, L) int64. coefficients: (n, L, 5) float32. Both of every level. noise: (n,C,h,w) float32, or None
        where no tile re-injects any. All three are on the CPU. Nothing is changed, and nothing waits for the device.
        """
        order = [*range(len(tiles)), *[0] * (size - len(tiles))]
        x, condition, levels = (
            torch.cat([getattr(tiles[i], name) for i in order]) for name in ("x", "condition", "levels")
        )
        t = self._move(timesteps[order])
        if t.shape[1] == 1:  # so for the whole job: what the network runs never depends on who shares the batch
            prediction = self._model.predict(x, condition, t[:, 0])
        else:
            prediction = self._model.predict(x, condition, t, levels)
        c = look_up(self._move(coefficients[order]), levels).permute(3, 0, 1, 2)[:, :, None]
        stepped = ddim_step(x, prediction, None if noise is None else self._move(noise[order]), c)
        return [stepped[i : i + 1] for i in range(len(tiles))]

    @torch.no_grad()
    def finish(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """Decode clean latents (1,C,h,w) to (3,tile·scale,tile·scale) float32 on the CPU.

        One at a time, so that their number changes no bit. From CUDA they are there only once the device is.
        """
        decoded = [self._model.decode(x)[0].contiguous() for x in latents]
        if self._device.type == "cpu":
            return decoded
        landings = [torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True) for pixels in decoded]
        return [to.copy_(pixels, non_blocking=True) for to, pixels in zip(landings, decoded, strict=True)]

    @torch.inference_mode()
    def try_tiles(self, numbers: range, tile_px: int, num_levels: int) -> Tensor:
        """Run one step of made-up tiles, each drawn from its number, as one batch; return their latents (n,C,h,w)."""
        tiles = [self._made_up(number, tile_px, num_levels) for number in numbers]
        own = torch.tensor(numbers)[:, None]
        timesteps = (37 * own + torch.arange(num_levels)) % self._model.card.num_timesteps
        coefficients = torch.linspace(0.1, 1, NUM_COEFFICIENTS).expand(len(tiles), num_levels, -1)
        return torch.cat(self.forward(tiles, len(tiles), timesteps, coefficients, None))

    def _made_up(self, number: int, tile_px: int, num_levels: int) -> TileTensors:
        shape, generator = self._model.latent_shape(tile_px), torch.Generator().manual_seed(number)
        noise, lr = torch.randn(shape, generator=generator), torch.rand(3, tile_px, tile_px, generator=generator)
        levels = torch.randint(num_levels, shape[1:], generator=generator)
        return self.load(noise, lr * 2 - 1, levels, torch.zeros_like(lr) if self._model.card.takes_noisy_lr else None)

    def _move(self, tensor: Tensor) -> Tensor:
        """Bring a CPU tensor to the device, without waiting for it where the device works on its own."""
        if self._device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)
