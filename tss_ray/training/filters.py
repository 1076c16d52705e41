"""Blur and sinc kernels, and convolution with them: what a lens, a scanner or an over-sharp encoder does to a picture.

The shapes are those of Wang et al., "Real-ESRGAN" (arXiv 2107.10833), section 3.2 and 3.3; every kernel is odd-sided
and point-symmetric, so that nothing moves.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def gaussian_kernels(
    sigma_px: NDArray[np.float64], angle: NDArray[np.float64], beta: NDArray[np.float64], radius_px: int
) -> Tensor:
    """Return (B,k,k) float32 kernels of sum 1 and side k = 2·radius_px + 1.

    sigma_px (B,2) > 0 along and across `angle` (B,) in radians; beta (B,) > 0 is the shape exp(-½·d^(2·beta)) of the
    distance d in sigmas: 1 is the Gaussian, less has heavier tails, more is flatter inside.
    """
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1].astype(np.float64)
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along, across = cosine * x + sine * y, cosine * y - sine * x
    distance = (along / sigma_px[:, :1, None]) ** 2 + (across / sigma_px[:, 1:, None]) ** 2
    kernels = np.exp(-0.5 * distance ** beta[:, None, None])
    return torch.from_numpy((kernels / kernels.sum((1, 2), keepdims=True)).astype(np.float32))


def sinc_kernel(cutoff: float, radius_px: int) -> Tensor:
    """Return the (1,k,k) float32 circular low-pass kernel of sum 1; `cutoff` in (0,1] is of the Nyquist frequency.

    w·J1(w·r) / (2·pi·r) with w = pi·cutoff, cut off at the sides of the square: that is what rings.
    """
    offsets = torch.arange(-radius_px, radius_px + 1, dtype=torch.float64)
    distance = torch.hypot(offsets[:, None], offsets[None])
    w = math.pi * cutoff
    kernel: Tensor = w * torch.special.bessel_j1(w * distance) / (2 * math.pi * distance.clamp_min(1))
    kernel[radius_px, radius_px] = w**2 / (4 * math.pi)
    kernel /= kernel.sum()
    return kernel.float()[None]


def convolve(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each of (B,C,H,W) float32 with its own of (B,k,k), mirrored at the borders; H and W must exceed k // 2.

    By the fast Fourier transform: for 21 × 21 kernels on 128 px it costs a quarter of the sums.
    """
    radius, (height, width) = kernels.shape[-1] // 2, images.shape[-2:]
    padded = functional.pad(images, (radius,) * 4, mode="reflect")
    size = _fast_length(height + 2 * radius), _fast_length(width + 2 * radius)
    spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernels[:, None], s=size)
    whole: Tensor = torch.fft.irfft2(spectrum, s=size)
    return whole[..., 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]


def _fast_length(least: int) -> int:
    """Return the next length without a prime factor above 5: others take up to four times as long."""
    length = least
    while (30**12) % length:
        length += 1
    return length
