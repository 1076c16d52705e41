"""High-resolution crops to the low-resolution inputs that people really have: blurred, noisy, compressed, or clean.

Nothing here may move the picture: resizes map whole extents to whole extents (half-pixel centres) and every kernel is
symmetric, so the low-resolution pixel (i, j) always lies over the same scale × scale pixels of the original.
"""

import io
import math

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tss_ray.imaging.resample import downsample
from tss_ray.training.filters import convolve, gaussian_kernels, sinc_kernel
from tss_ray.training.recipe import DegradationMix, DegradationStage

_SINC_RADIUS_PX = (3, 10)
_WHITE_PHOTONS = 256
"""How many photons a white pixel counts at a Poisson scale of 1: shot noise of 1/16 of the range there."""


def degrade(hr: Tensor, scale: int, mix: DegradationMix, rng: Generator) -> Tensor:
    """Reduce (B,3,H,W) float32 in [0,1] to (B,3,H/scale,W/scale) in [0,1] on the 8-bit grid.

    Each crop is left clean (bicubic), or goes through one mild stage of blur, noise and JPEG around the bicubic
    reduction, or through the two stages of Wang et al., "Real-ESRGAN" (arXiv 2107.10833; code BSD-3-Clause,
    xinntao/Real-ESRGAN), which extend Zhang et al., "BSRGAN" (arXiv 2103.14006): blur, resize, noise, JPEG, and again,
    with a sinc filter at the end.
    """
    num, _, height, width = hr.shape
    degraded = rng.random(num) < mix.degraded_share
    single = degraded & (rng.random(num) < mix.single_stage_share)
    lr = torch.empty(num, 3, height // scale, width // scale)
    if not degraded.all():
        clean = torch.from_numpy(~degraded)
        lr[clean] = on_8_bits(downsample(hr[clean], scale))
    if single.any():
        mild = torch.from_numpy(single)
        lr[mild] = _one_stage(hr[mild], scale, mix, rng)
    for i in np.flatnonzero(degraded & ~single):
        lr[i] = _two_stages(hr[i : i + 1], scale, mix, rng)
    return lr


def _one_stage(hr: Tensor, scale: int, mix: DegradationMix, rng: Generator) -> Tensor:
    """Blur, reduce bicubically, add noise and compress (B,3,H,W), all drawn for each crop."""
    num = hr.shape[0]
    sigma_px = rng.uniform(0, mix.blur_sigma_px, num)
    if mix.blur_sigma_px > 0:
        both = np.stack([sigma_px, sigma_px], 1).clip(1e-3)
        radius = min(math.ceil(3 * mix.blur_sigma_px), min(hr.shape[-2:]) - 1)
        hr = convolve(hr, gaussian_kernels(both, np.zeros(num), np.ones(num), radius))
    lr = downsample(hr, scale)
    sigma = np.where(rng.random(num) < mix.noise_share, rng.uniform(0, mix.noise_sigma, num), 0)
    lr = lr + _normal(tuple(lr.shape), rng) * torch.from_numpy(sigma.astype(np.float32))[:, None, None, None]
    compressed = rng.random(num) < mix.jpeg_share
    qualities = rng.integers(mix.jpeg_quality[0], mix.jpeg_quality[1], num, endpoint=True)
    lr = on_8_bits(lr)
    for i in np.flatnonzero(compressed):
        lr[i] = _jpeg(lr[i], int(qualities[i]))
    return lr


def _two_stages(hr: Tensor, scale: int, mix: DegradationMix, rng: Generator) -> Tensor:
    """Take one crop (1,3,H,W) through both stages; at the end resize-and-sinc and JPEG come in either order."""
    small = hr.shape[-2] // scale, hr.shape[-1] // scale
    x = _stage(hr, (hr.shape[-2], hr.shape[-1]), mix.first, rng)
    if rng.random() < mix.first.jpeg_share:
        x = _jpeg(x[0], _quality(mix.first, rng))[None]
    x = _stage(x, small, mix.second, rng)
    compressed, before = rng.random() < mix.second.jpeg_share, rng.random() < 0.5
    if compressed and before:
        x = _jpeg(x[0], _quality(mix.second, rng))[None]
    x = _resize(x, small, rng)
    if rng.random() < mix.sinc_share:
        radius = min(int(rng.integers(*_SINC_RADIUS_PX, endpoint=True)), min(small) - 1)
        x = convolve(x, sinc_kernel(rng.uniform(*mix.sinc_cutoff), radius))
    if compressed and not before:
        x = _jpeg(x[0], _quality(mix.second, rng))[None]
    return on_8_bits(x)[0]


def _stage(x: Tensor, reference: tuple[int, int], stage: DegradationStage, rng: Generator) -> Tensor:
    """Blur, resize to a drawn multiple of `reference` (h,w) and add noise: (1,3,h,w) -> (1,3,h',w') in [0,1]."""
    if rng.random() < stage.blur_share:
        x = convolve(x, _blur_kernel(stage, min(x.shape[-2:]) - 1, rng))
    if rng.random() < stage.resize_share:
        factor = rng.uniform(*stage.resize)
        x = _resize(x, (max(round(reference[0] * factor), 1), max(round(reference[1] * factor), 1)), rng)
    x = x.clamp(0, 1)
    return (x + _noise(x, stage, rng)).clamp(0, 1) if rng.random() < stage.noise_share else x


def _blur_kernel(stage: DegradationStage, most_px: int, rng: Generator) -> Tensor:
    """Draw a (1,k,k) kernel, isotropic or along any angle, Gaussian or generalised, of radius `most_px` at most."""
    sigma_px = rng.uniform(*stage.blur_sigma_px, (1, 2))
    if rng.random() >= stage.anisotropic_share:
        sigma_px[:, 1] = sigma_px[:, 0]
    beta = rng.uniform(*stage.generalised_beta, 1) if rng.random() < stage.generalised_share else np.ones(1)
    radius = min(math.ceil(3 * sigma_px.max()), most_px)
    return gaussian_kernels(sigma_px, rng.uniform(0, np.pi, 1), beta, radius)


def _resize(x: Tensor, size: tuple[int, int], rng: Generator) -> Tensor:
    """Resize (1,3,h,w) to `size` by area (only down), bilinear or bicubic interpolation, all antialiased."""
    if size == x.shape[-2:]:
        return x
    shrinks = size[0] <= x.shape[-2] and size[1] <= x.shape[-1]
    match rng.integers(0 if shrinks else 1, 3):
        case 0:
            return _coverage(x.shape[-2], size[0]) @ x @ _coverage(x.shape[-1], size[1]).T
        case 1:
            return functional.interpolate(x, size=size, mode="bilinear", antialias=True)
        case _:
            return functional.interpolate(x, size=size, mode="bicubic", antialias=True)


def _coverage(before: int, after: int) -> Tensor:
    """Return (after, before): which share of an output pixel each input pixel covers; torch's own `area` takes whole
    input pixels and so moves edges by up to half of one.
    """
    edges = torch.arange(after + 1, dtype=torch.float64)[:, None] * (before / after)
    left, right = torch.arange(before), torch.arange(1, before + 1)
    overlap = torch.minimum(edges[1:], right) - torch.maximum(edges[:-1], left)
    return (overlap.clamp_min(0) * (after / before)).float()


def _noise(x: Tensor, stage: DegradationStage, rng: Generator) -> Tensor:
    """Draw noise for (1,3,h,w) in [0,1]: even Gaussian, or shot noise, of each channel or of all alike.

    Shot noise is the Gaussian that a Poisson count tends to, of a variance proportional to the light: a white pixel
    counts dozens of photons at least, and drawing true counts costs four times as much.
    """
    shot, grey = rng.random() < stage.poisson_share, rng.random() < stage.grey_share
    noise = _normal((1, 1 if grey else 3, *x.shape[-2:]), rng)
    if not shot:
        return noise * rng.uniform(*stage.noise_sigma)
    light = x.mean(1, keepdim=True) if grey else x
    return noise * light.sqrt() * (rng.uniform(*stage.poisson_scale) / math.sqrt(_WHITE_PHOTONS))


def _normal(shape: tuple[int, ...], rng: Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def _quality(stage: DegradationStage, rng: Generator) -> int:
    return int(rng.integers(*stage.jpeg_quality, endpoint=True))


def on_8_bits(x: Tensor) -> Tensor:
    """Cut to [0,1] and round to what an 8-bit file can hold."""
    return (x.clamp(0, 1) * 255).round() / 255


def _jpeg(x: Tensor, quality: int) -> Tensor:
    """Send (3,h,w) in any range through a JPEG file and back to [0,1]."""
    pixels: NDArray[np.uint8] = (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).float() / 255
