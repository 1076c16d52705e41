"""Promises of the encoder."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tss_ray.errors import EncodeError, EngineError
from tss_ray.imaging.decode import decode
from tss_ray.imaging.encode import EncodedImage, Format, encode


def smooth(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    planes = (x * 3, y * 5, x + y, 40 + x)
    return np.stack(planes[:channels], -1).astype(np.uint8)


def noise(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def encoded(pixels: NDArray[np.uint8], format: Format, icc_profile: bytes | None = None) -> EncodedImage:
    return encode(pixels, format, quality=90, lossless=True, icc_profile=icc_profile)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (13, 29)])
def test_png_returns_every_pixel_in_the_mode_it_had(channels: int, size: tuple[int, int]) -> None:
    pixels = noise(*size, channels)
    file = encoded(pixels, "png")
    assert np.array_equal(decode(file.data, 10**6).pixels, pixels)
    assert (file.mode, file.content_type) == (("L", "LA", "RGB", "RGBA")[channels - 1], "image/png")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_webp_returns_every_pixel_even_under_full_transparency(channels: int) -> None:
    pixels = noise(13, 29, channels)
    if channels in (2, 4):
        pixels[:5, :, -1] = 0
    back = decode(encoded(pixels, "webp").data, 10**6).pixels
    if channels < 3:  # WebP has no grey: the three colours are equal
        assert (back[..., :3] == pixels[..., :1]).all()
        assert channels == 1 or np.array_equal(back[..., 3], pixels[..., 1])
    else:
        assert np.array_equal(back, pixels)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("opaque", [True, False])
@pytest.mark.parametrize(
    ("format", "channels"), [(f, c) for f in ("png", "webp", "jpeg") for c in (1, 2, 3, 4) if f != "jpeg" or c % 2]
)
def test_mode_and_type_are_what_a_reader_finds(format: Format, channels: int, opaque: bool, lossless: bool) -> None:
    pixels = noise(9, 9, channels)
    if opaque:
        pixels[..., -1] = 255
    file = encode(pixels, format, quality=80, lossless=lossless)
    with Image.open(io.BytesIO(file.data)) as read:
        assert (file.mode, file.content_type) == (read.mode, Image.MIME[read.format or ""])


def test_lossy_files_shrink_with_quality_and_stay_close() -> None:
    pixels = smooth(48, 64, 3)
    for format in ("jpeg", "webp"):
        sizes = []
        for quality in (30, 95):
            file = encode(pixels, format, quality=quality, lossless=False)
            sizes.append(len(file.data))
        assert sizes[0] < sizes[1]
        assert np.abs(decode(file.data, 10**6).pixels.astype(int) - pixels)[4:-4, 4:-4].mean() < 3


def test_jpeg_keeps_colour_at_full_resolution() -> None:
    with Image.open(io.BytesIO(encoded(smooth(16, 16, 3), "jpeg").data)) as read:
        assert [component[1:3] for component in read.layer] == [(1, 1)] * 3


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_a_profile_survives_the_round_trip(format: Format, srgb_profile: bytes) -> None:
    assert decode(encoded(smooth(8, 8, 3), format, srgb_profile).data, 100).icc_profile == srgb_profile


def test_a_grey_profile_is_kept_where_grey_is_kept(grey_profile: bytes) -> None:
    pixels = smooth(8, 8, 1)
    for format in ("png", "jpeg"):
        assert decode(encoded(pixels, format, grey_profile).data, 100).icc_profile == grey_profile
    with Image.open(io.BytesIO(encoded(pixels, "webp", grey_profile).data)) as read:
        assert not read.info.get("icc_profile")


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_the_same_pixels_give_the_same_bytes(format: Format) -> None:
    assert encoded(smooth(32, 32, 3), format).data == encoded(smooth(32, 32, 3), format).data


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_in_jpeg_is_refused_with_the_formats_that_take_it(channels: int) -> None:
    with pytest.raises(EncodeError, match=r"choose encode\.format png or webp") as caught:
        encoded(noise(4, 4, channels), "jpeg")
    assert caught.value.kind == "alpha_in_jpeg"


@pytest.mark.parametrize(("format", "max_side_px"), [("webp", 16_383), ("jpeg", 65_500)])
@pytest.mark.parametrize("upright", [True, False])
def test_the_limit_of_a_format_holds_to_the_last_pixel(format: Format, max_side_px: int, upright: bool) -> None:
    def line(side_px: int) -> NDArray[np.uint8]:
        return np.zeros((side_px, 1, 3) if upright else (1, side_px, 3), np.uint8)

    assert encoded(line(max_side_px), format).data
    with pytest.raises(EncodeError, match=r"choose encode\.format png") as caught:
        encoded(line(max_side_px + 1), format)
    assert caught.value.kind == "too_large_for_format"


def test_an_output_above_pillows_own_cap_is_written_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for format in ("png", "webp", "jpeg"):
        assert encoded(smooth(8, 8, 3), format).data


def test_what_the_encoder_itself_refuses_is_a_fault_of_the_image(
    monkeypatch: pytest.MonkeyPatch, srgb_profile: bytes
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("encoder error -2")

    monkeypatch.setattr(Image.Image, "save", refuse)
    with pytest.raises(EncodeError, match="encoder error -2") as caught:
        encoded(smooth(8, 8, 3), "webp", srgb_profile)
    assert caught.value.kind == "encode_failed"


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), "u1")],
)
def test_pixels_of_another_form_are_a_fault_of_the_program(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(EngineError):
        encoded(pixels, "png")
