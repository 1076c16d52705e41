"""Promises of the decoder for pixels of more than 8 bits: they come out as they are in the file."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from PIL import Image

from tss_ray.errors import DecodeError
from tss_ray.imaging.decode import decode
from tss_ray.imaging.pixels import to_8_bit

MAX_PX = 1_000_000


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def tiff(values: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)


def refused(data: bytes, max_px: int = MAX_PX) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(data, max_px)
    return caught.value


def rows(*values: int) -> bytes:
    return b"\0" + struct.pack(f">{len(values)}H", *values)


def test_sixteen_bits_round_to_eight_by_their_nearest_level() -> None:
    values = np.array([[[0, 128, 129, 257, 32768, 65535]]], np.uint16)
    assert to_8_bit(values)[0, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_a_dark_sixteen_bit_picture_is_not_taken_for_eight_bits(hand_png: Callable[..., bytes]) -> None:
    for data in (hand_png((3, 1), 16, 0, rows(0, 100, 255)), b"P5 2 1 65535\n\x00\x10\x00\xff"):
        pixels = decode(data, MAX_PX).pixels
        assert (pixels.dtype, pixels.max()) == (np.uint16, 255)


@pytest.mark.parametrize("file_format", ["TIFF", "PNG", "JPEG2000"])
def test_sixteen_bit_grey_means_the_same_in_every_format(file_format: str) -> None:
    values = np.array([[0, 1000], [30000, 65535]], np.uint16)
    decoded = decode(saved(Image.fromarray(values), file_format), MAX_PX)
    assert decoded.pixels.dtype == np.uint16
    assert np.array_equal(decoded.pixels[:, :, 0], values)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_sixteen_bit_png_comes_out_bit_for_bit(colour_type: int, channels: int, hand_png: Callable[..., bytes]) -> None:
    values = noise(3, 4, channels)
    data = hand_png((4, 3), 16, colour_type, b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    decoded = decode(data, MAX_PX).pixels
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, values)


def test_transparent_values_of_sixteen_bits_become_alpha(hand_png: Callable[..., bytes]) -> None:
    grey = hand_png((2, 1), 16, 0, rows(1000, 1001), {b"tRNS": struct.pack(">H", 1000)})
    assert decode(grey, MAX_PX).pixels.tolist() == [[[1000, 0], [1001, 65535]]]
    colour = hand_png((2, 1), 16, 2, rows(1, 2, 3, 1, 2, 4), {b"tRNS": struct.pack(">3H", 1, 2, 3)})
    assert decode(colour, MAX_PX).pixels.tolist() == [[[1, 2, 3, 0], [1, 2, 4, 65535]]]


@pytest.mark.parametrize("compression", [None, "lzw", "adobe_deflate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_tiff_comes_out_bit_for_bit(compression: str | None, byteorder: str, planar: str) -> None:
    values = noise(5, 7, 3)
    stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
    data = tiff(
        stored.astype(f"{byteorder}u2"),
        photometric="rgb",
        planarconfig=planar,
        compression=compression,
        predictor=compression is not None,
        byteorder=byteorder,
    )
    decoded = decode(data, MAX_PX).pixels
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, values)


def test_tiff_alpha_is_kept_and_premultiplied_colour_made_straight() -> None:
    values = np.array([[[40000, 20000, 0, 32768], [5, 6, 7, 0]]], np.uint16)
    straight = decode(tiff(values, photometric="rgb", extrasamples=["unassalpha"]), MAX_PX).pixels
    assert np.array_equal(straight, values)
    premultiplied = decode(tiff(values, photometric="rgb", extrasamples=["assocalpha"]), MAX_PX).pixels
    assert premultiplied[0, 0].tolist() == [65535, 39999, 0, 32768]
    grey = decode(tiff(values[..., 2:], photometric="minisblack", extrasamples=["unassalpha"]), MAX_PX).pixels
    assert np.array_equal(grey, values[..., 2:])


def test_a_negative_of_sixteen_bits_is_turned() -> None:
    data = tiff(np.array([[0, 65535, 1000]], np.uint16), photometric="miniswhite")
    assert decode(data, MAX_PX).pixels[0, :, 0].tolist() == [65535, 0, 64535]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_pixels_come_out_upright_as_shallow_ones_do(orientation: int) -> None:
    values = noise(4, 6, 3)
    tag = [(274, 3, 1, orientation, True)]
    deep = decode(tiff(values, photometric="rgb", extratags=tag), MAX_PX).pixels
    shallow = decode(tiff(to_8_bit(values), photometric="rgb", extratags=tag), MAX_PX).pixels
    assert np.array_equal(to_8_bit(deep), shallow)
    grey_alpha = tiff(values[..., :2], photometric="minisblack", extrasamples=["unassalpha"], extratags=tag)
    assert np.array_equal(decode(grey_alpha, MAX_PX).pixels, deep[..., :2])


@pytest.mark.parametrize(("values", "bits"), [([0, 255], 8), ([0, 256], 16), ([0, 65535], 16), ([0, 65536], None)])
def test_thirty_two_bit_integers_are_read_as_eight_or_sixteen_bits(values: list[int], bits: int | None) -> None:
    data = saved(Image.fromarray(np.array([values], np.int32)), "TIFF")
    if bits is None:
        assert refused(data).kind == "unsupported_mode"
    else:
        decoded = decode(data, MAX_PX).pixels
        assert (decoded[0, :, 0].tolist(), decoded.dtype.itemsize * 8) == (values, bits)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_in_the_unit_range_become_sixteen_bits_and_others_are_refused(dtype: type) -> None:
    grey = np.array([[0.0, 0.5, 1.0]], dtype)
    assert decode(tiff(grey), MAX_PX).pixels[0, :, 0].tolist() == [0, 32768, 65535]
    colour = decode(tiff(np.repeat(grey[..., None], 3, 2), photometric="rgb"), MAX_PX).pixels
    assert colour[0].tolist() == [[0] * 3, [32768] * 3, [65535] * 3]
    for values in ((0.0, 1.01), (-0.1, 0.5), (0.0, float("nan"))):
        error = refused(tiff(np.array([values], dtype)))
        assert error.kind == "unsupported_mode"
        assert "[0,1]" in str(error)


def test_the_cap_holds_for_what_only_the_deep_reader_opens() -> None:
    data = tiff(np.zeros((20, 30, 3), np.float32), photometric="rgb")
    assert decode(data, 600).pixels.shape == (20, 30, 3)
    assert refused(data, 599).kind == "too_large"


@pytest.mark.parametrize("compression", [None, "adobe_deflate"])
@pytest.mark.parametrize("share", [0.3, 0.8, 0.99])
def test_a_deep_tiff_cut_short_is_corrupt_and_not_filled_with_black(compression: str | None, share: float) -> None:
    data = tiff(noise(64, 64, 3), photometric="rgb", compression=compression, rowsperstrip=8)
    assert refused(data[: int(len(data) * share)]).kind == "corrupt"
