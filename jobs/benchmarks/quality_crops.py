"""Which pixels the quality benchmark measures on: crops with their low-resolution inputs, chosen by a fixed rule."""

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from quality_degrade import degrade
from quality_values import Inputs

from tss_ray.diffusion.texture import luma, noise_sigma, texture_map, texture_score
from tss_ray.storage.sample_photos import names, reduced_png, reference
from tss_ray.training.photos import photos

log = logging.getLogger(__name__)

SCALE = 4
CROP_PX = 384
_MULTIPLE_PX = 32
_STRIDE_PX = 96
_LARGE_PX = 8_000_000


@dataclass(frozen=True)
class Crop:
    """One measured crop: hr (H,W,3) and lr (H/4,W/4,3) uint8, `top` and `left` in px of the (reduced) photograph.

    `texture` is the score in [0,1] of the clean input, also where lr is the degraded one.
    """

    source: str
    inputs: Inputs
    photo: str
    top: int
    left: int
    texture: float
    hr: NDArray[np.uint8]
    lr: NDArray[np.uint8]


def sample_crops(num: int, limit: int | None = None, degraded: bool = False) -> Iterator[Crop]:
    """Yield up to `num` crops of each of the first `limit` sample photographs, clean and if asked degraded."""
    for name in names()[:limit]:
        with Image.open(io.BytesIO(reduced_png(name))) as small:
            yield from _crops("sample", name, reference(name), small.convert("RGB"), num, degraded)


def heldout_crops(folder: Path, num: int, limit: int | None = None, degraded: bool = False) -> Iterator[Crop]:
    """Yield the same of the held-out photographs in `folder`, reduced first: lossy sources are sharp then."""
    for path in photos(folder, "heldout")[:limit]:
        with Image.open(path) as file:
            photo = file.convert("RGB")
        photo = _cut(photo.reduce(3 if photo.width * photo.height > _LARGE_PX else 2))
        yield from _crops("heldout", path.stem, photo, _reduce(photo), num, degraded)


def _crops(source: str, name: str, photo: Image.Image, small: Image.Image, num: int, degraded: bool) -> Iterator[Crop]:
    hr, clean = np.asarray(photo), np.asarray(small)
    inputs: dict[Inputs, NDArray[np.uint8]] = {"clean": clean}
    if degraded:
        inputs["degraded"] = np.asarray(degrade(photo, SCALE, name))
    height, width = (min(CROP_PX, side // _MULTIPLE_PX * _MULTIPLE_PX) for side in hr.shape[:2])
    if min(height, width) < CROP_PX // 2:
        log.warning("%s is left out: %d x %d px is too small", name, photo.width, photo.height)
        return
    for top, left in _textured(hr, height, width, num):
        window = slice(top, top + height), slice(left, left + width)
        reduced = tuple(slice(part.start // SCALE, part.stop // SCALE) for part in window)
        texture = _texture(clean[reduced])
        for kind, lr in inputs.items():
            yield Crop(source, kind, name, top, left, texture, hr[window], lr[reduced])


def _texture(pixels: NDArray[np.uint8]) -> float:
    """Return the texture score that the product gives an image (h,w,3) uint8."""
    y = luma(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255)
    return texture_score(texture_map(y, noise_sigma(y)))


def _textured(hr: NDArray[np.uint8], height: int, width: int, num: int) -> list[tuple[int, int]]:
    """Return the (top, left) of the most textured windows on a grid, none overlapping another, best first.

    Texture is the mean over a window of the standard deviation of luma in 8x8 px blocks; ties go to the upper left.
    """
    y = hr @ np.array([0.299, 0.587, 0.114])
    h, w = y.shape[0] // 8, y.shape[1] // 8
    std = y[: h * 8, : w * 8].reshape(h, 8, w, 8).std(axis=(1, 3))
    windows = [
        (std[top // 8 : (top + height) // 8, left // 8 : (left + width) // 8].mean(), top, left)
        for top in range(0, y.shape[0] - height + 1, _STRIDE_PX)
        for left in range(0, y.shape[1] - width + 1, _STRIDE_PX)
    ]
    chosen: list[tuple[int, int]] = []
    for _, top, left in sorted(windows, key=lambda window: (-window[0], window[1], window[2])):
        if len(chosen) < num and all(abs(top - t) >= height or abs(left - x) >= width for t, x in chosen):
            chosen.append((top, left))
    return chosen


def _cut(photo: Image.Image) -> Image.Image:
    return photo.crop((0, 0, photo.width // SCALE * SCALE, photo.height // SCALE * SCALE))


def _reduce(photo: Image.Image) -> Image.Image:
    return photo.resize((photo.width // SCALE, photo.height // SCALE), Image.Resampling.BICUBIC)
