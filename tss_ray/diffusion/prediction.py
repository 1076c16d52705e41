"""From what a network predicts to `denoised` (the estimate of x0) and back.

With x_t = sqrt(a)·x0 + sqrt(1-a)·eps, a = alphas_cumprod[t]; Salimans & Ho (arXiv 2202.00512) for v.
All functions take broadcastable tensors: `a` is a scalar, (B,1,1,1) or (B,1,h,w).
"""

from typing import Literal

from torch import Tensor

PredictionType = Literal["eps", "v", "x0"]


def add_noise(x0: Tensor, eps: Tensor, a: Tensor) -> Tensor:
    """Return x_t."""
    return a.sqrt() * x0 + (1 - a).sqrt() * eps


def v_target(x0: Tensor, eps: Tensor, a: Tensor) -> Tensor:
    """Return v = sqrt(a)·eps - sqrt(1-a)·x0, what a v-predicting network is trained on."""
    return a.sqrt() * eps - (1 - a).sqrt() * x0


def to_denoised(prediction: Tensor, x_t: Tensor, a: Tensor, prediction_type: PredictionType) -> Tensor:
    """Return the estimate of x0 that `prediction` implies."""
    match prediction_type:
        case "v":
            return a.sqrt() * x_t - (1 - a).sqrt() * prediction
        case "eps":
            return (x_t - (1 - a).sqrt() * prediction) / a.sqrt()
        case "x0":
            return prediction


def precondition(output: Tensor, log_spread: Tensor, x_t: Tensor, a: Tensor) -> Tensor:
    """Return the estimate of x0 of a network that answers in units of what is uncertain.

    For a latent of spread s (its standard deviation given the condition) the best linear estimate from x_t alone is
    sqrt(a)·s²/(a·s² + 1-a) · x_t, and what it leaves open has the spread s·sqrt(1-a)/sqrt(a·s² + 1-a): the network only
    answers for that. Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models"
    (arXiv 2206.00364), table 1, c_skip and c_out; theirs is one s for all data, here it is predicted at each position,
    so that where nothing is to be added (s near 0) the noise of x_t is not passed on either.

    log_spread: the natural logarithm of s, cut to [-6, 3].
    """
    variance = (2 * log_spread.clamp(-6, 3)).exp()
    total = a * variance + (1 - a)
    return (a.sqrt() * variance / total) * x_t + (variance * (1 - a) / total).sqrt() * output
