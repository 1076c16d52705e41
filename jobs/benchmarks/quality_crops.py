"""Which pixels the quality benchmark measures on: crops with their low-resolution inputs, chosen by a fixed rule."""

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
    """One measured crop: hr (H,W,3) and lr (H/4,W/4,3) uint8, `top` and `left` in px of the (reduced) photograph."""

    source: str
    photo: str
    top: int
    left: int
    hr: NDArray[np.uint8]
    lr: NDArray[np.uint8]


def sample_crops(num: int) -> Iterator[Crop]:
    """Yield up to `num` crops of each sample photograph."""
    for name in names():
        with Image.open(io.BytesIO(reduced_png(name))) as small:
            yield from _crops("sample", name, reference(name), small.convert("RGB"), num)


def heldout_crops(folder: Path, num: int) -> Iterator[Crop]:
    """Yield up to `num` crops of each held-out photograph in `folder`, reduced first: lossy sources are sharp then."""
    for path in photos(folder, "heldout"):
        with Image.open(path) as file:
            photo = file.convert("RGB")
        photo = _cut(photo.reduce(3 if photo.width * photo.height > _LARGE_PX else 2))
        yield from _crops("heldout", path.stem, photo, _reduce(photo), num)


def _crops(source: str, name: str, photo: Image.Image, small: Image.Image, num: int) -> Iterator[Crop]:
    hr, lr = np.asarray(photo), np.asarray(small)
    height, width = (min(CROP_PX, side // _MULTIPLE_PX * _MULTIPLE_PX) for side in hr.shape[:2])
    if min(height, width) < CROP_PX // 2:
        log.warning("%s is left out: %d x %d px is too small", name, photo.width, photo.height)
        return
    for top, left in _textured(hr, height, width, num):
        y, x = top // SCALE, left // SCALE
        yield Crop(
            source,
            name,
            top,
            left,
            hr[top : top + height, left : left + width],
            lr[y : y + height // SCALE, x : x + width // SCALE],
        )


def _textured(hr: NDArray[np.uint8], height: int, width: int, num: int) -> list[tuple[int, int]]:
    """Return the (top, left) of the most textured windows on a grid, none overlapping another, best first.

    Texture is the mean over a window of the standard deviation of luma in 8x8 px blocks; ties go to the upper left.
    """
    luma = hr @ np.array([0.299, 0.587, 0.114])
    h, w = luma.shape[0] // 8, luma.shape[1] // 8
    std = luma[: h * 8, : w * 8].reshape(h, 8, w, 8).std(axis=(1, 3))
    windows = [
        (std[top // 8 : (top + height) // 8, left // 8 : (left + width) // 8].mean(), top, left)
        for top in range(0, luma.shape[0] - height + 1, _STRIDE_PX)
        for left in range(0, luma.shape[1] - width + 1, _STRIDE_PX)
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
