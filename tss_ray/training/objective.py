"""What the denoiser is trained on: the error of its estimate, over timesteps drawn evenly."""

import torch
from torch import Tensor, nn

from tss_ray.diffusion.prediction import add_noise, v_target
from tss_ray.models.residual_unet import make_condition, network_input, read_output
from tss_ray.training.recipe import Recipe


def predict(network: nn.Module, recipe: Recipe, x: Tensor, lr: Tensor, timesteps: Tensor, table: Tensor) -> Tensor:
    """Return the prediction for x_t (B,C,h,w) and lr (B,3,h,w) in [-1,1], as the shipped model computes it.

    timesteps: (B,) int64 on the network's device; table: alphas_cumprod (T,) float64 on the CPU.
    """
    a = levels(table, timesteps)
    condition = make_condition(lr, recipe.unet, recipe.residual_scale)
    stacked = network_input(x, condition, a, recipe.unet).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        output = network(stacked, timesteps).sample
    return read_output(output, x, a, recipe.unet)


def levels(table: Tensor, timesteps: Tensor) -> Tensor:
    """Return alphas_cumprod of (B,) timesteps as (B,1,1,1) float32 on their device."""
    return table[timesteps.cpu()].float().to(timesteps.device)[:, None, None, None]


def draw_timesteps(recipe: Recipe, num: int, rng: torch.Generator) -> Tensor:
    """Return (num,) int64 timesteps: a share at the last one, the others one from each of as many equal intervals.

    Stratified, as Kingma et al. (arXiv 2107.00630) draw them, because the loss differs more between timesteps than
    between images.
    """
    last = round(num * recipe.one_step_share)
    spread = num - last
    drawn = (torch.arange(spread) + torch.rand(spread, generator=rng)) / max(spread, 1) * recipe.num_timesteps
    timesteps = torch.cat([drawn.long(), torch.full((last,), recipe.num_timesteps)])
    return timesteps.clamp_max(recipe.num_timesteps - 1)


def denoising_loss(
    network: nn.Module, recipe: Recipe, z0: Tensor, lr: Tensor, table: Tensor, rng: torch.Generator
) -> Tensor:
    """Return the mean squared error of the target, for x0 weighted by the clipped signal-to-noise ratio.

    Truncated below at 1 as in Salimans & Ho (arXiv 2202.00512), so that the one-step end is learned; capped above as in
    Hang et al., "Min-SNR" (arXiv 2303.09556), so that the nearly clean end does not drown the rest.
    """
    timesteps = draw_timesteps(recipe, z0.shape[0], rng).to(z0.device)
    eps = torch.randn(z0.shape, generator=rng).to(z0.device)
    a = levels(table, timesteps)
    prediction = predict(network, recipe, add_noise(z0, eps, a), lr, timesteps, table)
    if recipe.prediction_type == "v":
        return torch.nn.functional.mse_loss(prediction, v_target(z0, eps, a))
    weight = (a / (1 - a)).clamp(1, recipe.snr_weight_cap)
    return (weight * (prediction - z0) ** 2).mean()
