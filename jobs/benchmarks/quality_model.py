"""The upscaler that the quality benchmark measures: the embedded network, a crop at a time, in float32.

SWAP HERE: this file is the one place to change once the engine is there. What the benchmark needs of it is
`load(weights).upscale(lr, num_steps, family, seed)` and `enlarge(lr)`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod, with_clean_end
from tss_ray.diffusion.prediction import to_denoised
from tss_ray.errors import ModelError
from tss_ray.imaging.resample import upsample
from tss_ray.models.residual_unet import build_unet, residual_pixels
from tss_ray.training.recipe import Recipe

Family = Literal["uniform", "tds"]
Pixels = NDArray[np.uint8]

TDS_A, TDS_N = 0.5, 2.0
EMBEDDED: Path | None = None
"""The weights inside the package; None until they are there."""


@dataclass(frozen=True)
class Upscaler:
    """A network with its recipe, on the CPU in float32."""

    network: nn.Module
    recipe: Recipe
    alphas_cumprod: Tensor

    @torch.inference_mode()
    def upscale(self, lr: Pixels, num_steps: int, family: Family, seed: int) -> Pixels:
        """Enlarge (h,w,3) uint8 to (h·4,w·4,3) uint8 as one tile, by deterministic DDIM (arXiv 2010.02502, eq. 12)."""
        scale = self.recipe.scale
        condition = _to_tensor(lr)
        shape = (1, 3 * scale**2, *lr.shape[:2])
        z = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        timesteps = plan(num_steps, self.recipe.num_timesteps, family)
        for t, t_next in zip(timesteps, [*timesteps[1:], self.recipe.num_timesteps], strict=True):
            a, a_next = self.alphas_cumprod[t], self.alphas_cumprod[t_next]
            prediction = self.network(torch.cat([z, condition], 1), torch.tensor([t])).sample
            denoised = to_denoised(prediction, z, a.float(), "v")
            eps = (z - a.sqrt().float() * denoised) / (1 - a).sqrt().float()
            z = a_next.sqrt().float() * denoised + (1 - a_next).sqrt().float() * eps
        return _to_pixels(upsample(condition, scale) + residual_pixels(z, scale, self.recipe.residual_scale))


def plan(num_steps: int, num_timesteps: int, family: Family) -> list[int]:
    """Return descending timesteps round(T·f(i/num_steps)) - 1 for i = num_steps … 1, f as in DESIGN 4."""

    def tds(u: float) -> float:
        a, n = TDS_A, TDS_N
        return a * (u / a) ** n if u <= a else 1 - (1 - a) * ((1 - u) / (1 - a)) ** n

    warp: Callable[[float], float] = tds if family == "tds" else lambda u: u
    steps = [round(num_timesteps * warp(i / num_steps)) - 1 for i in range(num_steps, 0, -1)]
    if steps[-1] < 0 or any(later >= earlier for earlier, later in pairwise(steps)):
        raise ModelError(f"{num_steps} {family} steps do not fit {num_timesteps} timesteps; lower the number of steps")
    return steps


def enlarge(lr: Pixels) -> Pixels:
    """Return the bicubic enlargement of (h,w,3) uint8, the baseline."""
    return _to_pixels(upsample(_to_tensor(lr), Recipe().scale))


def load(weights: Path | None) -> Upscaler:
    """Return the upscaler with weights of the default recipe. Raises ModelError if they are missing or do not fit."""
    path = weights or EMBEDDED
    if path is None:
        raise ModelError("no weights are embedded yet; give --weights model.safetensors, made by jobs/train_x4.py")
    recipe = Recipe()
    shape = recipe.unet
    network = build_unet(recipe.scale, shape.block_out_channels, shape.layers_per_block, shape.norm_num_groups)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{path} does not fit the default recipe: {error}; train it with jobs/train_x4.py") from error
    network = network.float().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Upscaler(network, recipe, with_clean_end(cosine_alphas_cumprod(recipe.num_timesteps)))


def _to_tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def _to_pixels(image: Tensor) -> Pixels:
    return ((image[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
