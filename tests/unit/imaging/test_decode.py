"""Promises of the decoder."""

import io
import struct
import threading
import tracemalloc
import warnings
import zlib
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from tss_ray.errors import DecodeError
from tss_ray.imaging.decode import DecodedImage, decode

MAX_PX = 1_000_000


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, *extra: bytes) -> bytes:
    """Write a PNG by hand, for what Pillow cannot write."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def noise(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def refused(data: bytes, max_px: int = MAX_PX) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(data, max_px)
    return caught.value


# What comes out


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_grey_stays_grey_and_pixels_come_out_as_they_went_in(mode: str, channels: int) -> None:
    pixels = noise(5, 7, channels)
    decoded = decode(saved(Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels), "PNG"), MAX_PX)
    assert (decoded.mode, decoded.format, decoded.icc_profile) == (mode, "PNG", None)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.writeable
    assert np.array_equal(decoded.pixels, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_every_exif_orientation_comes_out_upright(orientation: int, file_format: str) -> None:
    upright = noise(4, 6, 3)
    # What a camera stores so that a viewer that obeys the tag shows `upright` (EXIF 2.32, 4.6.4 A).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = saved(Image.fromarray(np.ascontiguousarray(stored)), file_format, exif=exif, lossless=True)
    assert np.array_equal(decode(data, MAX_PX).pixels, upright)


def test_an_unreadable_exif_block_does_not_cost_the_picture() -> None:
    pixels = noise(4, 6, 3)
    data = saved(Image.fromarray(pixels), "PNG", exif=b"Exif\0\0XX*\0nonsense")
    assert np.array_equal(decode(data, MAX_PX).pixels, pixels)


def test_a_palette_becomes_rgb_and_its_transparency_rgba() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert decode(saved(image, "PNG"), MAX_PX).pixels.tolist() == [[[10, 20, 30], [200, 100, 50]]]
    for transparency, alpha in ((0, (0, 255)), (b"\x40\x80", (64, 128))):
        decoded = decode(saved(image, "PNG", transparency=transparency), MAX_PX)
        assert decoded.pixels.tolist() == [[[10, 20, 30, alpha[0]], [200, 100, 50, alpha[1]]]]
        assert decoded.mode == "P"


def test_a_transparent_colour_becomes_alpha() -> None:
    grey = Image.fromarray(np.array([[7, 9]], np.uint8))
    assert decode(saved(grey, "PNG", transparency=7), MAX_PX).pixels.tolist() == [[[7, 0], [9, 255]]]
    rgb = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    decoded = decode(saved(rgb, "PNG", transparency=(1, 2, 3)), MAX_PX)
    assert decoded.pixels.tolist() == [[[1, 2, 3, 0], [4, 5, 6, 255]]]


def test_one_bit_becomes_grey() -> None:
    data = saved(Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1"), "PNG")
    assert decode(data, MAX_PX).pixels.tolist() == [[[0], [255]]]


@pytest.mark.parametrize(
    ("mode", "white"), [("YCbCr", (255, 128, 128)), ("LAB", (255, 128, 128)), ("CMYK", (0, 0, 0, 0))]
)
def test_other_colour_modes_become_rgb(mode: str, white: tuple[int, ...]) -> None:
    decoded = decode(saved(Image.new(mode, (3, 2), white), "TIFF"), MAX_PX)
    assert decoded.mode == mode
    assert decoded.pixels.shape == (2, 3, 3)
    assert (decoded.pixels >= 254).all()


def test_a_palette_with_alpha_becomes_rgba() -> None:
    image = Image.new("P", (1, 1))
    image.putpalette([10, 20, 30])
    image = image.convert("PA")
    image.putalpha(77)
    decoded = decode(saved(image, "TIFF"), MAX_PX)
    assert decoded.mode == "PA"
    assert decoded.pixels.tolist() == [[[10, 20, 30, 77]]]


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
    for file_format in ("GIF", "PNG", "WEBP", "TIFF"):
        data = saved(frames[0], file_format, save_all=True, append_images=frames[1:], lossless=True)
        assert (decode(data, MAX_PX).pixels[..., :3] == (255, 0, 0)).all()


# Deep pixels


def deep_png(values: list[int], *extra: bytes) -> bytes:
    return png(len(values), 1, 16, 0, b"\0" + struct.pack(f">{len(values)}H", *values), *extra)


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    assert decode(deep_png([0, 128, 129, 257, 32768, 65535]), MAX_PX).pixels[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_a_dark_sixteen_bit_picture_is_not_taken_for_eight_bits() -> None:
    assert decode(deep_png([0, 100, 255]), MAX_PX).pixels.max() == 1
    assert decode(b"P5 2 1 65535\n\x00\x10\x00\xff", MAX_PX).pixels.max() == 1


@pytest.mark.parametrize("file_format", ["TIFF", "PNG", "JPEG2000"])
def test_sixteen_bit_grey_means_the_same_in_every_format(file_format: str) -> None:
    values = np.array([[0, 1000], [30000, 65535]], np.uint16)
    decoded = decode(saved(Image.fromarray(values), file_format), MAX_PX)
    assert decoded.pixels[:, :, 0].tolist() == [[0, 4], [117, 255]]


def test_the_transparent_value_of_sixteen_bit_grey_becomes_alpha() -> None:
    data = deep_png([1000, 1001], chunk(b"tRNS", struct.pack(">H", 1000)))
    assert decode(data, MAX_PX).pixels.tolist() == [[[4, 0], [4, 255]]]


def test_sixteen_bit_grey_with_alpha_stays_grey() -> None:
    decoded = decode(png(1, 1, 16, 4, b"\0" + bytes.fromhex("12349abc")), MAX_PX)
    assert decoded.pixels.tolist() == [[[0x12, 0x9A]]]


@pytest.mark.parametrize(
    ("values", "expected"), [([0, 255], [0, 255]), ([0, 256], [0, 1]), ([0, 65535], [0, 255]), ([0, 65536], None)]
)
def test_thirty_two_bit_integers_are_read_as_eight_or_sixteen_bits(
    values: list[int], expected: list[int] | None
) -> None:
    data = saved(Image.fromarray(np.array([values], np.int32)), "TIFF")
    if expected is None:
        assert refused(data).kind == "unsupported_mode"
    else:
        assert decode(data, MAX_PX).pixels[0, :, 0].tolist() == expected


def test_floats_in_the_unit_range_are_scaled_and_others_refused() -> None:
    def tiff(*values: float) -> bytes:
        return saved(Image.fromarray(np.array([values], np.float32)), "TIFF")

    assert decode(tiff(0.0, 0.5, 1.0), MAX_PX).pixels[0, :, 0].tolist() == [0, 128, 255]
    for values in ((0.0, 1.01), (-0.1, 0.5), (0.0, float("nan"))):
        assert refused(tiff(*values)).kind == "unsupported_mode"


# Colour profiles


def test_a_profile_is_kept_where_it_describes_the_pixels(srgb_profile: bytes, grey_profile: bytes) -> None:
    for shape, profile in (((4, 4, 3), srgb_profile), ((4, 4, 4), srgb_profile), ((4, 4), grey_profile)):
        data = saved(Image.fromarray(np.zeros(shape, np.uint8)), "PNG", icc_profile=profile)
        assert decode(data, MAX_PX).icc_profile == profile


def test_a_profile_of_another_colour_space_is_dropped(srgb_profile: bytes) -> None:
    assert decode(saved(Image.new("L", (4, 4)), "PNG", icc_profile=srgb_profile), MAX_PX).icc_profile is None
    assert decode(saved(Image.new("RGB", (4, 4)), "PNG", icc_profile=b"junk" * 40), MAX_PX).icc_profile is None


def inks(profile: bytes | None, file_format: str) -> DecodedImage:
    """Decode four 8 px squares: paper, cyan, magenta, black."""
    image = Image.new("CMYK", (32, 8))
    for i, ink in enumerate([(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 0, 255)]):
        image.paste(ink, (8 * i, 0, 8 * i + 8, 8))
    options = {"quality": 100, "subsampling": 0} if file_format == "JPEG" else {}
    return decode(saved(image, file_format, icc_profile=profile, **options), MAX_PX)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile_which_is_then_dropped(cmyk_profile: bytes, file_format: str) -> None:
    decoded = inks(cmyk_profile, file_format)
    assert (decoded.mode, decoded.icc_profile) == ("CMYK", None)
    paper, cyan, magenta, black = (decoded.pixels[4, 8 * i + 4].astype(int) for i in range(4))
    assert (paper >= 253).all()
    assert cyan.max() - cyan.min() <= 2  # this profile prints cyan as a light grey; no formula would
    assert 170 < cyan.mean() < 200
    assert max(magenta.max(), black.max()) <= 2


@pytest.mark.parametrize("keep", [None, 300, 130])
def test_cmyk_without_a_usable_profile_is_converted_plainly(cmyk_profile: bytes, keep: int | None) -> None:
    decoded = inks(cmyk_profile[:keep] if keep else None, "TIFF")
    assert decoded.pixels[4, 4::8].tolist() == [[255, 255, 255], [0, 255, 255], [255, 0, 255], [0, 0, 0]]


# What is refused


def test_no_bytes_are_empty() -> None:
    assert refused(b"").kind == "empty"


@pytest.mark.parametrize("data", [b"\0", b"hello", b"<svg xmlns='x'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 4096])
def test_other_files_are_not_an_image(data: bytes) -> None:
    assert refused(data).kind == "not_an_image"


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
def test_a_bomb_is_refused_from_its_header_without_taking_the_memory(side: int) -> None:
    data = png(side, side, 8, 2, b"\0" * 100)
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
def test_a_warning_of_pillow_neither_leaks_nor_costs_the_picture(action: Literal["always", "error"]) -> None:
    # An animation control chunk that announces no frames makes Pillow warn, and read the still picture.
    data = png(1, 1, 8, 0, b"\0\x55", chunk(b"acTL", struct.pack(">II", 0, 0)))
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
