"""Promises of the decoder: upright pixels, grey as grey, and the profile they are in."""

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from tss_ray.imaging.decode import DecodedImage, decode

MAX_PX = 1_000_000


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def noise(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


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


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_grey_of_few_bits_becomes_alpha(bits: int) -> None:
    levels = 2**bits
    key = levels - 2 if bits > 1 else 1
    packed = np.packbits(np.arange(levels)[:, None] >> np.arange(bits)[::-1] & 1).tobytes()
    header = struct.pack(">IIBBBBB", levels, 1, bits, 0, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"tRNS", struct.pack(">H", key)),
        (b"IDAT", zlib.compress(b"\0" + packed)),
        (b"IEND", b""),
    )
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    alpha = decode(data, MAX_PX).pixels[0, :, 1]
    assert [level for level in range(levels) if alpha[level] == 0] == [key]
