"""Promises of the decoder about what it refuses, and about Pillow's process-wide state."""

import gzip
import io
import tarfile
import threading
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageFile

from tss_ray.errors import DecodeError
from tss_ray.imaging.decode import decode

MAX_PX = 1_000_000


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def noise(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def refused(data: bytes, max_px: int = MAX_PX) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(data, max_px)
    return caught.value


def test_no_bytes_are_empty() -> None:
    assert refused(b"").kind == "empty"


@pytest.mark.parametrize("data", [b"\0", b"hello", b"<html>", b"\0" * 4096])
def test_other_files_are_not_an_image(data: bytes) -> None:
    assert refused(data).kind == "not_an_image"


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", b"x")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("vector", b"<svg xmlns='x'/>"),
        ("vector", b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg width="4">'),
        ("vector", b'<?xml version="1.0"?>\n<?xml-stylesheet href="a.css"?>\n<svg\n   width="4">'),
        ("vector", b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG" "x" [\n]>\n<!-- after it -->\n<svg/>'),
        ("vector", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        ("document", b"%PDF-1.7\n"),
        ("archive", zipped()),
        ("archive", tarred()),
        ("archive", gzip.compress(b"x")),
        ("video", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41"),
        ("video", b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86"),
        ("video", b"RIFF\x10\0\0\0AVI LIST"),
        ("video", b"\0\0\0\x08wide\0\0\1\0mdat"),
        ("video", b"\0\0\0\x20ftypXAVC\0\0\2\0"),
        ("video", (b"G" + bytes(187)) * 3),
        ("audio", b"\0\0\0\x20ftypM4A \0\0\2\0"),
        ("audio", b"RIFF\x10\0\0\0WAVEfmt "),
        ("unsupported_format", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("unsupported_format", b"\0\0\1\0\1\0\x20\x20" + bytes(40)),
        ("not_an_image", b"Get free pictures"),
        ("not_an_image", b"<!---->" * 1000),
    ],
)
def test_what_is_no_image_is_told_by_kind(kind: str, data: bytes) -> None:
    assert refused(data).kind == kind


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_refused_only_where_the_job_says_so(file_format: str) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    data = saved(frames[0], file_format, save_all=True, append_images=frames[1:])
    assert decode(data, MAX_PX).pixels.shape[:2] == (3, 4)
    with pytest.raises(DecodeError, match="2 frames") as caught:
        decode(data, MAX_PX, animations=False)
    assert caught.value.kind == "animation"
    decode(saved(frames[0], file_format), MAX_PX, animations=False)


def test_pages_of_floats_are_frames_too() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((2, 4, 3, 3), np.float32), photometric="rgb")
    assert decode(file.getvalue(), MAX_PX).pixels.shape == (4, 3, 3)
    with pytest.raises(DecodeError, match="2 frames"):
        decode(file.getvalue(), MAX_PX, animations=False)


@pytest.mark.parametrize("options", [{"subfiletype": 1}, {"extratags": [(50706, 1, 4, b"\1\4\0\0", True)]}])
def test_a_raw_file_does_not_pass_as_its_thumbnail(options: dict[str, Any]) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, noise(12, 16, 3), photometric="rgb", **options)
    assert refused(file.getvalue()).kind == "unsupported_format"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("share", [0.05, 0.4, 0.8])
def test_a_file_cut_short_is_corrupt(file_format: str, share: float) -> None:
    data = saved(Image.fromarray(noise(40, 40, 3)), file_format)
    assert refused(data[: max(16, int(len(data) * share))]).kind == "corrupt"


def test_the_cap_counts_pixels_and_holds_to_the_last_one() -> None:
    data = saved(Image.new("L", (30, 20)), "PNG")
    assert decode(data, 600).pixels.shape == (20, 30, 1)
    error = refused(data, 599)
    assert error.kind == "too_large"
    assert "30×20" in str(error)


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])  # below Pillow's own cap, in its warning range, and above it
def test_a_bomb_is_refused_from_its_header_without_taking_the_memory(side: int, hand_png: Callable[..., bytes]) -> None:
    data = hand_png((side, side), 8, 2, b"\0" * 100)
    tracemalloc.start()
    try:
        error = refused(data, 16_777_216)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.kind == "too_large"
    assert "limits.max_input_px" in str(error)
    assert peak_bytes < 5_000_000


def test_a_job_may_ask_for_larger_images_than_pillow_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    data = saved(Image.new("L", (20, 20)), "PNG")
    assert decode(data, 400).pixels.shape == (20, 20, 1)


def test_a_smaller_cap_leaves_pillows_own_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    decode(saved(Image.new("L", (5, 5)), "PNG"), 100)
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize("action", ["always", "error"])
def test_a_warning_of_pillow_neither_leaks_nor_costs_the_picture(
    action: Literal["always", "error"], hand_png: Callable[..., bytes]
) -> None:
    # An animation control chunk that announces no frames makes Pillow warn, and read the still picture.
    data = hand_png((1, 1), 8, 0, b"\0\x55", {b"acTL": bytes(8)})
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(data))
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter(action)
        assert decode(data, MAX_PX).pixels.tolist() == [[[0x55]]]
    assert leaked == []


def test_truncated_images_stay_refused_by_pillow() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_threads_may_decode_at_once() -> None:
    pixels = noise(64, 64, 3)
    data = saved(Image.fromarray(pixels), "PNG")
    good: list[bool] = []

    def work() -> None:
        good.extend(np.array_equal(decode(data, MAX_PX).pixels, pixels) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert good == [True] * 80


@pytest.mark.parametrize("data", [b"", b"hello", saved(Image.new("L", (30, 20)), "PNG"), b"\x89PNG\r\n\x1a\n"])
def test_every_message_ends_with_a_remedy(data: bytes) -> None:
    message = str(refused(data, 100))
    assert any(verb in message.split(";")[-1] for verb in ("upload", "convert", "raise", "replace"))
