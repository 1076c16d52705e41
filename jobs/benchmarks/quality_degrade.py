"""The degraded inputs of the quality benchmark: one fixed recipe, drawn for each photograph from its name alone.

Two stages of blur, noise and JPEG, before and after the reduction, in the manner of Wang et al., "Real-ESRGAN"
(arXiv 2107.10833), in the order of its section 3 but milder: photographs from the web, not ruins. Training has recipes
of its own; none of their code is used here, so that a change of what is trained on does not move the yardstick.
"""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from PIL import Image, ImageFilter


@dataclass(frozen=True)
class Stage:
    """One stage: sigma of a Gaussian blur in px, sigma of white noise in levels of 255, JPEG quality."""

    blur_px: float
    noise_levels: float
    jpeg_quality: int


_BEFORE = Stage(0.4, 1.0, 75), Stage(1.6, 8.0, 95)
"""Lowest and highest values of the stage before the reduction, at the size of the original."""
_AFTER = Stage(0.0, 0.5, 60), Stage(0.5, 4.0, 95)
"""The same after the reduction, at the size of the input."""


def stages(name: str) -> tuple[Stage, Stage]:
    """Return what happens to the photograph of this name before and after its reduction, drawn evenly."""
    draws = _generator(name, "stages")
    return _draw(_BEFORE, draws), _draw(_AFTER, draws)


def degrade(photo: Image.Image, scale: int, name: str) -> Image.Image:
    """Return the degraded input of a photograph: RGB, its sides (multiples of `scale`) divided by `scale`."""
    before, after = stages(name)
    noise = _generator(name, "noise")
    worn = _apply(before, photo, noise)
    small = worn.resize((photo.width // scale, photo.height // scale), Image.Resampling.BICUBIC)
    return _apply(after, small, noise)


def _generator(name: str, purpose: str) -> RandomState:
    """Return numpy's legacy generator: of the two it is the one whose stream is promised never to change (NEP 19)."""
    digest = hashlib.blake2b(f"{purpose}/{name}".encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return RandomState(int.from_bytes(digest, "big"))


def _draw(ends: tuple[Stage, Stage], draws: RandomState) -> Stage:
    low, high = ends
    return Stage(
        draws.uniform(low.blur_px, high.blur_px),
        draws.uniform(low.noise_levels, high.noise_levels),
        int(draws.randint(low.jpeg_quality, high.jpeg_quality + 1)),
    )


def _apply(stage: Stage, picture: Image.Image, noise: RandomState) -> Image.Image:
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(stage.blur_px)))
    noisy = blurred + stage.noise_levels * noise.standard_normal(blurred.shape)
    return _jpeg(noisy.round().clip(0, 255).astype(np.uint8), stage.jpeg_quality)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> Image.Image:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return image.convert("RGB")
