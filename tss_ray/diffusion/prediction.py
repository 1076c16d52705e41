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
