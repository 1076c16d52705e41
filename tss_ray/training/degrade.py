"""High-resolution crops to the low-resolution inputs that people really have: blurred, noisy, compressed, or clean."""

import io

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tss_ray.imaging.resample import downsample
from tss_ray.training.recipe import DegradationMix

_KERNEL_RADIUS_PX = 5


def degrade(hr: Tensor, scale: int, mix: DegradationMix, rng: Generator) -> Tensor:
    """Reduce (B,3,H,W) float32 in [0,1] to (B,3,H/scale,W/scale) in [0,1] on the 8-bit grid.

    The classical order blur, resize, noise, JPEG of Zhang et al. (BSRGAN, arXiv 2103.14006) and Wang et al.
    (Real-ESRGAN, arXiv 2107.10833), one stage; a share of the crops stays clean.
    """
    num = hr.shape[0]
    degraded = rng.random(num) < mix.degraded_share
    sigma_px = np.where(degraded, rng.uniform(0, mix.blur_sigma_px, num), 0)
    lr = downsample(_blur(hr, sigma_px), scale)
    noisy = degraded & (rng.random(num) < mix.noise_share)
    noise_sigma = np.where(noisy, rng.uniform(0, mix.noise_sigma, num), 0)
    noise = torch.from_numpy(rng.standard_normal(tuple(lr.shape), dtype=np.float32))
    lr = lr + noise * torch.from_numpy(noise_sigma.astype(np.float32))[:, None, None, None]
    pixels = (lr.clamp(0, 1) * 255).round().to(torch.uint8)
    compressed = degraded & (rng.random(num) < mix.jpeg_share)
    qualities = rng.integers(mix.jpeg_quality[0], mix.jpeg_quality[1], num, endpoint=True)
    for i in np.flatnonzero(compressed):
        pixels[i] = _jpeg(pixels[i], int(qualities[i]))
    return pixels.float() / 255


def _blur(images: Tensor, sigma_px: np.ndarray) -> Tensor:
    """Blur each of (B,3,H,W) by its own isotropic Gaussian; sigma 0 is the identity."""
    offsets = torch.arange(-_KERNEL_RADIUS_PX, _KERNEL_RADIUS_PX + 1, dtype=torch.float32)
    sigma = torch.from_numpy(sigma_px.astype(np.float32)).clamp_min(1e-3)[:, None]
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(images.shape[1], 0)
    b, c, h, w = images.shape
    x = functional.pad(images, (_KERNEL_RADIUS_PX,) * 4, mode="reflect").reshape(1, b * c, h + 10, w + 10)
    x = functional.conv2d(x, kernel[:, None, :, None], groups=b * c)
    x = functional.conv2d(x, kernel[:, None, None, :], groups=b * c)
    return x.reshape(b, c, h, w)


def _jpeg(pixels: Tensor, quality: int) -> Tensor:
    """Send (3,h,w) uint8 through a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)
