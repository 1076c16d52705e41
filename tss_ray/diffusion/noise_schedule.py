"""Tables of alphas_cumprod: how much of the clean signal is left at each timestep."""

import math

import torch
from torch import Tensor

from tss_ray.errors import SpecError


def cosine_alphas_cumprod(num_timesteps: int, max_beta: float = 0.999, shift: float = 0.0) -> Tensor:
    """Return the cosine table (T,) float64, strictly descending in (0, 1).

    Nichol & Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (arXiv 2102.09672), eq. 17, with the
    betas clipped at `max_beta` as they advise; `diffusers` calls it `squaredcos_cap_v2`. float64, because
    1 - alphas_cumprod loses everything near the clean end in lower precision. `shift` is added to the log of the
    signal-to-noise ratio at every timestep (Hoogeboom et al., "simple diffusion", arXiv 2301.11093): below 0 more of
    the timesteps are noisy, above 0 more are nearly clean.

    Raises SpecError if `num_timesteps` < 2.
    """
    if num_timesteps < 2:
        raise SpecError(f"num_timesteps={num_timesteps}: a schedule needs at least 2; raise num_timesteps")

    def signal(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [
        min(1 - signal((i + 1) / num_timesteps) / signal(i / num_timesteps), max_beta) for i in range(num_timesteps)
    ]
    table = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), dim=0)
    return torch.sigmoid(torch.logit(table) + shift) if shift else table


def beta_alphas_cumprod(num_timesteps: int, start: float, end: float, scaled: bool) -> Tensor:
    """Return the table (T,) float64 of betas that rise linearly from `start` to `end`; scaled: their square roots do.

    Linear is Ho et al., "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239); the roots are those of Rombach
    et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (arXiv 2112.10752), `scaled_linear` in
    `diffusers`. Raises SpecError unless 0 < start <= end < 1.
    """
    if num_timesteps < 2 or not 0 < start <= end < 1:
        raise SpecError(f"betas from {start:g} to {end:g} over {num_timesteps} timesteps; need 0 < start <= end < 1")
    if scaled:
        betas = torch.linspace(start**0.5, end**0.5, num_timesteps, dtype=torch.float64) ** 2
    else:
        betas = torch.linspace(start, end, num_timesteps, dtype=torch.float64)
    return torch.cumprod(1 - betas, dim=0)


def with_pure_noise_end(alphas_cumprod: Tensor) -> Tensor:
    """Return the table with its roots shifted and scaled so that the last timestep holds no signal; the first stays.

    Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (arXiv 2305.08891), algorithm 1;
    `rescale_betas_zero_snr` in `diffusers`. Networks that predict eps cannot tell the signal there.
    """
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])).square()


def with_clean_end(alphas_cumprod: Tensor, end: float = 1.0) -> Tensor:
    """Append the clean state: (T,) -> (T+1,), so that index T (and so -1) reads exactly `end`."""
    return torch.cat([alphas_cumprod, torch.full((1,), end, dtype=alphas_cumprod.dtype)])
