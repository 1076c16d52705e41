"""Promises of the decoder for pixels of more than 8 bits."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tss_ray.errors import DecodeError
from tss_ray.imaging.decode import decode

MAX_PX = 1_000_000


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def refused(data: bytes, max_px: int = MAX_PX) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(data, max_px)
    return caught.value


def rows(*values: int) -> bytes:
    return b"\0" + struct.pack(f">{len(values)}H", *values)


def test_sixteen_bit_grey_is_scaled_and_not_clipped(hand_png: Callable[..., bytes]) -> None:
    data = hand_png((6, 1), 16, 0, rows(0, 128, 129, 257, 32768, 65535))
    assert decode(data, MAX_PX).pixels[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_a_dark_sixteen_bit_picture_is_not_taken_for_eight_bits(hand_png: Callable[..., bytes]) -> None:
    assert decode(hand_png((3, 1), 16, 0, rows(0, 100, 255)), MAX_PX).pixels.max() == 1
    assert decode(b"P5 2 1 65535\n\x00\x10\x00\xff", MAX_PX).pixels.max() == 1


@pytest.mark.parametrize("file_format", ["TIFF", "PNG", "JPEG2000"])
def test_sixteen_bit_grey_means_the_same_in_every_format(file_format: str) -> None:
    values = np.array([[0, 1000], [30000, 65535]], np.uint16)
    decoded = decode(saved(Image.fromarray(values), file_format), MAX_PX)
    assert decoded.pixels[:, :, 0].tolist() == [[0, 4], [117, 255]]


def test_the_transparent_value_of_sixteen_bit_grey_becomes_alpha(hand_png: Callable[..., bytes]) -> None:
    data = hand_png((2, 1), 16, 0, rows(1000, 1001), {b"tRNS": struct.pack(">H", 1000)})
    assert decode(data, MAX_PX).pixels.tolist() == [[[4, 0], [4, 255]]]


def test_sixteen_bit_grey_with_alpha_stays_grey(hand_png: Callable[..., bytes]) -> None:
    decoded = decode(hand_png((1, 1), 16, 4, rows(0x1234, 0x9ABC)), MAX_PX)
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
