"""Promises of the PNG writer: libvips reads back every pixel, whatever filter a row got and however it was deflated."""

import io
import struct
import zlib

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from tss_ray.errors import EngineError
from tss_ray.imaging import png
from tss_ray.imaging.metadata import NO_METADATA

RNG = np.random.default_rng(0)
STEPS = np.cumsum(RNG.integers(0, 50, (40, 60, 3)), 1)


def written(pixels: NDArray[np.generic], *, band_rows: int = 7) -> bytes:
    file = io.BytesIO()
    bands = [pixels[top : top + band_rows] for top in range(0, len(pixels), band_rows)]
    png.write_png(file, bands, pixels.shape, 8 * pixels.itemsize, None, NO_METADATA)
    return file.getvalue()


def read(data: bytes) -> NDArray[np.generic]:
    image = pyvips.Image.new_from_buffer(data, "")
    return image.numpy().reshape(image.height, image.width, -1)


def filters(data: bytes, height: int) -> set[int]:
    at, deflated = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        deflated += data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    return set(zlib.decompress(deflated)[:: len(zlib.decompress(deflated)) // height])


PICTURES = {
    "None": np.where(np.arange(60) % 2, 255, 1)[None, :, None] * (np.arange(40) % 2)[:, None, None].repeat(3, 2),
    "Sub": (STEPS * 7 + RNG.integers(0, 200, (40, 1, 1))) % 256,
    "Up": RNG.integers(0, 256, (1, 60, 3)).repeat(40, 0) + np.arange(40)[:, None, None],
    "Average": 6 * np.add.outer(np.arange(40), np.arange(60))[..., None].repeat(3, 2) // 2
    + RNG.integers(0, 9, (40, 60, 3)),
}


@pytest.mark.parametrize("limit", [10**8, 0], ids=["whole", "streamed"])
@pytest.mark.parametrize(("number", "name"), list(enumerate(PICTURES)))
def test_every_filter_is_undone_by_another_reader(
    monkeypatch: pytest.MonkeyPatch, limit: int, number: int, name: str
) -> None:
    monkeypatch.setattr(png, "_WHOLE_BYTES", limit)
    pixels = (PICTURES[name] % 256).astype(np.uint8)
    data = written(pixels)
    assert number in filters(data, len(pixels)), "the picture does not show its filter"
    assert np.array_equal(read(data), pixels)


@pytest.mark.parametrize("limit", [10**8, 0], ids=["whole", "streamed"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (23, 1), (30, 17)])
def test_every_size_depth_and_mode_comes_back(
    monkeypatch: pytest.MonkeyPatch, limit: int, dtype: type, channels: int, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(png, "_WHOLE_BYTES", limit)
    pixels = RNG.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)
    assert np.array_equal(read(written(pixels)), pixels)


def test_bands_give_the_file_that_the_whole_gives() -> None:
    pixels = PICTURES["Sub"].astype(np.uint8)
    assert written(pixels, band_rows=1) == written(pixels, band_rows=40)


def test_rows_that_are_missing_are_no_picture() -> None:
    with pytest.raises(EngineError, match="3 rows of 4"):
        png.write_png(io.BytesIO(), [np.zeros((3, 2, 1), np.uint8)], (4, 2, 1), 8, None, NO_METADATA)
