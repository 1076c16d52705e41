"""The DDIM update with coefficients per sample or per position, computed in float64 and cast once.

Song et al., "Denoising Diffusion Implicit Models" (arXiv 2010.02502), eq. 12 and 16. With a = alphas_cumprod[t] and
a' = alphas_cumprod[t_next] (1 after the last step):

    x_next = sqrt(a')·denoised + sqrt(1 - a' - σ²)·eps + σ·noise,   σ = η·sqrt((1-a')/(1-a))·sqrt(1 - a/a')

`eps` and `denoised` are linear in x_t and the prediction, so one step is two weighted sums: five numbers a step.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tss_ray.diffusion.noise_schedule import with_clean_end
from tss_ray.diffusion.prediction import PredictionType

NUM_COEFFICIENTS = 5
"""denoised = c[0]·x + c[1]·prediction;  x_next = c[2]·x + c[3]·denoised + c[4]·noise."""


def ddim_coefficients(
    alphas_cumprod: Tensor, plan: ArrayLike, eta: ArrayLike, prediction_type: PredictionType, final: float = 1.0
) -> Tensor:
    """Return (num_steps, 5) float64 for a plan (num_steps,), or (num_steps, L, 5) for L plans side by side.

    plan: integers. eta: one for all, or (L,). `alphas_cumprod` is (T,) float64. final: a' of the last step; below 1
    where a family stops short of clean (`set_alpha_to_one` of `diffusers`).
    """
    timesteps = torch.from_numpy(np.array(plan, np.int64))
    clean = torch.full_like(timesteps[:1], -1)
    table = with_clean_end(alphas_cumprod.double(), final)
    a, a_next = table[timesteps], table[torch.cat([timesteps[1:], clean])]
    signal, noise = a.sqrt(), (1 - a).sqrt()
    share = torch.from_numpy(np.array(eta, np.float64))
    sigma = share * ((1 - a_next) / (1 - a)).sqrt() * (1 - a / a_next).clamp_min(0).sqrt()
    direction = (1 - a_next - sigma**2).clamp_min(0).sqrt() / noise
    match prediction_type:
        case "v":
            from_x, from_prediction = signal, -noise
        case "eps":
            from_x, from_prediction = 1 / signal, -noise / signal
        case "x0":
            from_x, from_prediction = torch.zeros_like(a), torch.ones_like(a)
    return torch.stack([from_x, from_prediction, direction, a_next.sqrt() - direction * signal, sigma], -1)


def ddim_step(x: Tensor, prediction: Tensor, noise: Tensor | None, c: Tensor) -> Tensor:
    """Advance x (B,C,h,w) by one step; c is (5, B,1,1,1) or (5, B,1,h,w). `noise` None means σ is zero throughout.

    The two sums are folded into one: two passes over the latents instead of six.
    """
    x_next = (c[2] + c[3] * c[0]) * x
    x_next.addcmul_(c[3] * c[1], prediction)
    return x_next if noise is None else x_next.addcmul_(c[4], noise)
