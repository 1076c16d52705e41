"""How a family gets from a timestep to the next: what the sampler and the engine know of a model's noise."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tss_ray.diffusion.noise_schedule import with_clean_end
from tss_ray.diffusion.prediction import PredictionType
from tss_ray.diffusion.sampler import ddim_coefficients


class Transition(Protocol):
    """A rule whose every step is a weighted sum of x, the prediction and noise; see `diffusion.sampler`."""

    @property
    def takes_eta(self) -> bool:
        """Whether the share of noise that is put back may be chosen."""

    @property
    def begins_at_lr(self) -> bool:
        """Whether the first x is noise on the leading channels of the condition, in the place of noise alone."""

    def coefficients(self, plan: ArrayLike, eta: ArrayLike) -> Tensor:
        """Return (num_steps, 5) float64 for a plan (num_steps,), or (num_steps, L, 5) for L plans side by side.

        plan: integers, descending. eta: in [0,1], one for all or (L,).
        """

    def first_noise(self, timesteps: ArrayLike) -> Tensor:
        """Return the standard deviation, float64, of the noise in the first x, for its timesteps."""


@dataclass(frozen=True, eq=False)
class Ddim:
    """The rule of models that turn noise into an image; see `diffusion.sampler`. alphas_cumprod: (T,) float64."""

    alphas_cumprod: Tensor
    prediction_type: PredictionType
    final: float = 1.0
    takes_eta: bool = True
    begins_at_lr: bool = False

    def coefficients(self, plan: ArrayLike, eta: ArrayLike) -> Tensor:
        """Return `ddim_coefficients`."""
        return ddim_coefficients(self.alphas_cumprod, plan, eta, self.prediction_type, self.final)

    def first_noise(self, timesteps: ArrayLike) -> Tensor:
        """Return ones."""
        return torch.ones(np.shape(timesteps), dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class ResidualShift:
    """The rule of models that turn a low-resolution latent y into x0, by a share e of the way: ResShift.

    Yue et al. (arXiv 2307.12348), "Model Design", with e = etas[t] and k = kappa:

        x_t = x0 + e·(y - x0) + k·sqrt(e)·noise

    so that from t to any s before it (e' = etas[s], or 0 after the last step), given what the network says of x0,

        x_s = e'/e·x_t + (1 - e'/e)·x0 + k·sqrt(e'·(1 - e'/e))·noise

    For s = t-1 that is the paper's; for others it follows from the same two Gaussians. etas: (T,) float64, ascending.
    """

    etas: Tensor
    kappa: float
    takes_eta: bool = False
    begins_at_lr: bool = True

    def coefficients(self, plan: ArrayLike, eta: ArrayLike) -> Tensor:
        """Return the rule of each step. Its noise is part of it: `eta` changes nothing."""
        timesteps = torch.from_numpy(np.array(plan, np.int64))
        table = with_clean_end(self.etas, 0.0)
        now, then = table[timesteps], table[torch.cat([timesteps[1:], torch.full_like(timesteps[:1], -1)])]
        kept = then / now
        sigma = self.kappa * (then * (1 - kept)).clamp_min(0).sqrt()
        nothing, all_of_it = torch.zeros_like(kept), torch.ones_like(kept)
        return torch.stack([nothing, all_of_it, kept, 1 - kept, sigma], -1)

    def first_noise(self, timesteps: ArrayLike) -> Tensor:
        """Return k·sqrt(e): how far y is from the first x."""
        return self.kappa * self.etas[torch.from_numpy(np.array(timesteps, np.int64))].sqrt()

    def spread(self) -> Tensor:
        """Return (T,) float64, about the standard deviation of x at each timestep, for x0 and y of about 1."""
        return (self.kappa**2 * self.etas + 1).sqrt()


def exponential_etas(num_timesteps: int, power: float, least_noise: float, last: float, kappa: float) -> Tensor:
    """Return ResShift's etas (T,) float64: their roots rise from about least_noise/kappa to `last`, first the fastest.

    Yue et al. (arXiv 2307.12348), "Noise Schedule": sqrt(e_t) = a·(last/a)^(u^power), u = t/(T-1), where a is the
    lesser of least_noise/kappa and least_noise. power below 1: more of the timesteps are noisy. T is at least 2.
    """
    first = min(least_noise / kappa, least_noise)
    u = torch.linspace(0, 1, num_timesteps, dtype=torch.float64) ** power
    return (first * (last / first) ** u).square()
