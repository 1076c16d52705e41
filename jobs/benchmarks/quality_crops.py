"""Which pixels the quality benchmark measures on: crops with their low-resolution inputs, chosen by a fixed rule."""

import io
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from quality_degrade import degrade
from quality_values import Inputs

from tss_ray.errors import InputError
from tss_ray.pipeline.probe import probe
from tss_ray.storage.sample_photos import names, reduced_png, reference
from tss_ray.training.photos import measured_size, photos

log = logging.getLogger(__name__)

Windows = Literal["textured", "smooth"]

SCALE = 4
CROP_PX = 384
_MULTIPLE_PX = 32
_STRIDE_PX = 96


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

    @property
    def columns(self) -> dict[str, Any]:
        """What a row of measured values says of the crop."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("hr", "lr")}


def sample_crops(
    num: int, limit: int | None = None, degraded: bool = False, windows: Windows = "textured"
) -> Iterator[Crop]:
    """Yield up to `num` crops of each of the first `limit` sample photographs, clean and if asked degraded.

    `windows` are the most textured of a photograph, or the smoothest beside the most textured one.
    """
    for name in names()[:limit]:
        with Image.open(io.BytesIO(reduced_png(name))) as small:
            yield from _crops("sample", name, reference(name), small.convert("RGB"), num, degraded, windows)


def heldout_crops(
    folder: Path, num: int, limit: int | None = None, degraded: bool = False, windows: Windows = "textured"
) -> Iterator[Crop]:
    """Yield the same of the held-out photographs in `folder`, reduced first: lossy sources are sharp then."""
    yield from photo_crops("heldout", photos(folder, "heldout")[:limit], num, degraded, windows)


def photo_crops(
    source: str, paths: Iterable[Path], num: int, degraded: bool = False, windows: Windows = "textured"
) -> Iterator[Crop]:
    """Yield the same of any photographs, reduced in the same way. Raises InputError for a file that is no image."""
    for path in paths:
        try:
            with Image.open(path) as file:
                photo = file.convert("RGB")
        except OSError as error:
            raise InputError(f"{path} is no image: {error}; take it out of the folder") from error
        photo = _cut(measured_size(photo))
        yield from _crops(source, path.stem, photo, _reduce(photo), num, degraded, windows)


def _crops(
    source: str, name: str, photo: Image.Image, small: Image.Image, num: int, degraded: bool, windows: Windows
) -> Iterator[Crop]:
    hr, clean = np.asarray(photo), np.asarray(small)
    inputs: dict[Inputs, NDArray[np.uint8]] = {"clean": clean}
    if degraded:
        inputs["degraded"] = np.asarray(degrade(photo, SCALE, name))
    height, width = (min(CROP_PX, side // _MULTIPLE_PX * _MULTIPLE_PX) for side in hr.shape[:2])
    if min(height, width) < CROP_PX // 2:
        log.warning("%s is left out: %d x %d px is too small", name, photo.width, photo.height)
        return
    for top, left in _places(hr, height, width, num, windows):
        window = slice(top, top + height), slice(left, left + width)
        reduced = tuple(slice(part.start // SCALE, part.stop // SCALE) for part in window)
        texture = probe(clean[reduced]).texture_score
        for kind, lr in inputs.items():
            yield Crop(source, kind, name, top, left, texture, hr[window], lr[reduced])


def _places(hr: NDArray[np.uint8], height: int, width: int, num: int, windows: Windows) -> list[tuple[int, int]]:
    """Return the (top, left) of the most textured windows on a grid, none overlapping another, best first.

    Of smooth windows the smoothest comes first, and none overlaps the most textured one.

    Texture is the mean over a window of the standard deviation of luma in 8x8 px blocks; ties go to the upper left.
    """
    y = hr @ np.array([0.299, 0.587, 0.114])
    h, w = y.shape[0] // 8, y.shape[1] // 8
    std = y[: h * 8, : w * 8].reshape(h, 8, w, 8).std(axis=(1, 3))
    found = [
        (std[top // 8 : (top + height) // 8, left // 8 : (left + width) // 8].mean(), top, left)
        for top in range(0, y.shape[0] - height + 1, _STRIDE_PX)
        for left in range(0, y.shape[1] - width + 1, _STRIDE_PX)
    ]
    ranked = [(top, left) for _, top, left in sorted(found, key=lambda window: (-window[0], window[1], window[2]))]
    if windows == "textured":
        return _apart(ranked, height, width)[:num]
    return _apart([ranked[0], *reversed(ranked)], height, width)[1 : num + 1]


def _apart(places: Iterable[tuple[int, int]], height: int, width: int) -> list[tuple[int, int]]:
    """Return those that overlap none before them."""
    chosen: list[tuple[int, int]] = []
    for top, left in places:
        if all(abs(top - t) >= height or abs(left - x) >= width for t, x in chosen):
            chosen.append((top, left))
    return chosen


def _cut(photo: Image.Image) -> Image.Image:
    return photo.crop((0, 0, photo.width // SCALE * SCALE, photo.height // SCALE * SCALE))


def _reduce(photo: Image.Image) -> Image.Image:
    return photo.resize((photo.width // SCALE, photo.height // SCALE), Image.Resampling.BICUBIC)
