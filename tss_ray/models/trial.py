"""Whether a checkpoint runs, found out by running it: loaded, one step of one small tile at two levels, decoded."""

import time
from dataclasses import dataclass

import torch

from tss_ray.diffusion.sampler import ddim_step
from tss_ray.diffusion.spatial import look_up
from tss_ray.errors import ModelError
from tss_ray.models.base import LoadSettings, SuperResolutionModel
from tss_ray.models.card import ModelCard
from tss_ray.models.registry import check_model, load_model

_LEAST_TILE_PX = 16


@dataclass(frozen=True)
class Trial:
    """What a checkpoint took on this machine's CPU in float32."""

    card: ModelCard
    tile_px: int
    check_s: float
    """Reading the configurations and hashing the weights."""
    load_s: float
    step_s: float
    decode_s: float


def try_model(name: str, settings: LoadSettings) -> Trial:
    """Run a model, an embedded name or a folder. Raises ModelError if it cannot do what its card says."""
    began = time.perf_counter()
    check_model(name, settings)
    checked = time.perf_counter()
    model = load_model(name, torch.device("cpu"), torch.float32, settings=settings)
    loaded = time.perf_counter()
    tile_px = -(-_LEAST_TILE_PX // model.card.size_multiple) * model.card.size_multiple
    latents = _one_step(model, tile_px)
    stepped = time.perf_counter()
    decoded = model.decode(latents)
    wanted = (1, 3, tile_px * model.card.scale, tile_px * model.card.scale)
    if tuple(decoded.shape) != wanted:
        raise ModelError(
            f"{name} decodes a tile to {tuple(decoded.shape)}, a scale of {model.card.scale} makes {wanted}; this is "
            "another model, give one of a family that `tss-ray models list` names"
        )
    if not bool(torch.isfinite(latents).all() and torch.isfinite(decoded).all()):
        raise ModelError(f"{name} answers with what is not finite; fetch the model again")
    ended = time.perf_counter()
    return Trial(model.card, tile_px, checked - began, loaded - checked, stepped - loaded, ended - stepped)


@torch.inference_mode()
def _one_step(model: SuperResolutionModel, tile_px: int) -> torch.Tensor:
    """Return latents after one step from noise, half of the positions at another level than the others."""
    generator, shape = torch.Generator().manual_seed(0), model.latent_shape(tile_px)
    x = torch.randn(1, *shape, generator=generator)
    lr = torch.rand(1, 3, tile_px, tile_px, generator=generator) * 2 - 1
    condition = model.condition(lr, torch.zeros_like(lr)) if model.card.takes_noisy_lr else model.condition(lr)
    last = model.card.num_timesteps - 1
    plans = [[last, last // 2]]
    levels = torch.zeros(1, *shape[1:], dtype=torch.long)
    levels[:, shape[1] // 2 :] = 1
    rule = model.card.transition
    if rule.begins_at_lr:
        x = condition[:, : shape[0]] + rule.first_noise(last).float() * x
    prediction = model.predict(x, condition, torch.tensor(plans), levels)
    coefficients = look_up(rule.coefficients(plans, 0.0).float(), levels).permute(3, 0, 1, 2)[:, :, None]
    return ddim_step(x, prediction, None, coefficients)
