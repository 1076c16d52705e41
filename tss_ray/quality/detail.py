"""How much of the detail that an input calls for its enlargement holds: a score without a reference.

The present model gives up fidelity for naturalness with every step, so how well an output fits its input cannot tell
what steps are for. This asks for the amount instead: the energy that an enlargement has above the input's own band,
block by block, against what photographs have there, told from the input's two topmost octaves. Spectra of natural
images fall off evenly, so that the bands below tell of the one above: Yeganeh, Rostami & Wang, "Objective Quality
Assessment for Image Super-Resolution: A Natural Scene Statistics Approach" (ICIP 2012). As in Zhou & Wang, "Image
Super-Resolution Quality Assessment: Structural Fidelity Versus Statistical Naturalness" (QoMEX 2022), it is weighed
with how well the output still fits its input.

What it is not: it cannot tell right detail from wrong detail of the right amount. jobs/benchmarks/detail_score.py makes
the constants below and measures by how much the score agrees with metrics that have the original.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tss_ray.errors import EngineError
from tss_ray.imaging.resample import downsample, upsample
from tss_ray.quality.psnr import luma

SCALE = 4
"""The constants are of this factor; other factors need others."""
BLOCK_PX = 8
"""Side of a block in px of the input; blocks overlap by half."""
VISIBLE = (2 / 255) ** 2
"""Energy of luma that is not worth telling apart: two grey levels. Flat areas so ask for nothing."""
LOG_FALLOFF = (1.335, -0.247)
"""ln(1 + high/VISIBLE) = c1·ln(1 + first/VISIBLE) + c2·ln(1 + second/VISIBLE): least squares over blocks of
photographs; first and second are the input's topmost octave and the one below. No constant: nothing asks for nothing.
"""
NOISE_GAINS = (0.793, 0.072)
"""Share of the variance of white noise that the two octaves take up."""
ENOUGH, TOO_MUCH = 0.5, 1.5
"""Of the expected energy: between these a block is as it should be, since photographs stray by as much. Below, the
share of amplitude counts; above, the share of energy, because grain is seen sooner than softness."""
CONSISTENT_RMS = 8 / 255
"""An output that strays so far from its input counts half."""


@dataclass(frozen=True, slots=True)
class DetailScore:
    """All in [0,1], higher is better; `score` is the mean over blocks of the product of the two others."""

    score: float
    detail: float
    """How much detail there is of what is expected, or of what there is, how much is expected."""
    consistency: float


def detail_score(sr: Tensor, lr: Tensor, noise_sigma: float = 0.0) -> DetailScore:
    """Score sr (3,4h,4w) in [0,1] as the enlargement of lr (3,h,w) in [0,1].

    noise_sigma: std of the noise in the luma of lr; its energy calls for no detail. Raises EngineError for other sizes.
    """
    if sr.shape[-2:] != (lr.shape[-2] * SCALE, lr.shape[-1] * SCALE):
        raise EngineError(
            f"{tuple(sr.shape)} is not {SCALE} times {tuple(lr.shape)}: need the output of this very input; reduce "
            "neither before the call"
        )
    y, x = luma(sr)[None].float(), luma(lr)[None].float()
    high = high_energy(y)
    ratio = (high + VISIBLE) / expected_energy(*octave_energies(x, noise_sigma))
    detail = torch.minimum((ratio / ENOUGH).clamp_max(1).sqrt(), (TOO_MUCH / ratio).clamp_max(1))
    strayed = _block_means((downsample(y, SCALE) - x) ** 2)
    consistency = CONSISTENT_RMS**2 / (CONSISTENT_RMS**2 + strayed)
    return DetailScore(float((detail * consistency).mean()), float(detail.mean()), float(consistency.mean()))


def high_energy(y: Tensor) -> Tensor:
    """Return the energy per block of what luma y (1,1,4h,4w) holds beyond what its reduction carries."""
    squared = (y - upsample(downsample(y, SCALE), SCALE)) ** 2
    return _block_means(functional.avg_pool2d(squared, SCALE))


def octave_energies(x: Tensor, noise_sigma: float) -> tuple[Tensor, Tensor]:
    """Return the energy per block of the two topmost octaves of luma x (1,1,h,w), that of noise taken off."""
    height, width = x.shape[-2:]
    padded = functional.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
    half = downsample(padded, 2)
    first = padded - upsample(half, 2)
    second = upsample(half - upsample(downsample(half, 2), 2), 2)
    energies = [
        (_block_means(octave[..., :height, :width] ** 2) - gain * noise_sigma**2).clamp_min(0)
        for octave, gain in zip((first, second), NOISE_GAINS, strict=True)
    ]
    return energies[0], energies[1]


def expected_energy(first: Tensor, second: Tensor) -> Tensor:
    """Return the energy above the input's band that photographs have beside these octaves, VISIBLE counted in."""
    of_first, of_second = LOG_FALLOFF
    return VISIBLE * (of_first * (first / VISIBLE).log1p() + of_second * (second / VISIBLE).log1p()).exp()


def _block_means(squared: Tensor) -> Tensor:
    size = [min(BLOCK_PX, side) for side in squared.shape[-2:]]
    return functional.avg_pool2d(squared, size, [max(1, side // 2) for side in size])
