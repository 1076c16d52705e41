"""Whatever bytes come in: pixels come out, or a DecodeError, and nothing else."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from tss_ray.errors import DecodeError
from tss_ray.imaging.decode import decode
from tss_ray.imaging.encode import encode

KINDS = {"empty", "not_an_image", "too_large", "corrupt", "unsupported_mode"}
MAX_PX = 250_000


def files() -> list[tuple[str, bytes]]:
    y, x = np.mgrid[:24, :32]
    rgba = np.stack([x * 8, y * 10, (x * y) % 256, 255 - x * 4], -1).astype(np.uint8)
    colour, exif = Image.fromarray(rgba[..., :3].copy()), Image.Exif()
    exif[0x0112] = 6
    made = []
    for name, image, file_format, options in (
        ("png", colour, "PNG", {"exif": exif}),
        ("png-rgba", Image.fromarray(rgba), "PNG", {}),
        ("png-palette", colour.quantize(16), "PNG", {"transparency": 3}),
        ("png-16", Image.fromarray(rgba[..., 0].astype(np.uint16) * 256), "PNG", {}),
        ("tiff-float", Image.fromarray(rgba[..., 0].astype(np.float32) / 255), "TIFF", {}),
        ("tiff-16-lzw", Image.fromarray(rgba[..., 0].astype(np.uint16) * 256), "TIFF", {"compression": "tiff_lzw"}),
        ("jpeg", colour, "JPEG", {"exif": exif}),
        ("jpeg-progressive", colour, "JPEG", {"progressive": True}),
        ("jpeg-cmyk", colour.convert("CMYK"), "JPEG", {}),
        ("webp", Image.fromarray(rgba), "WEBP", {"exif": exif}),
        ("webp-lossless", colour, "WEBP", {"lossless": True}),
        ("gif", colour.quantize(16), "GIF", {"save_all": True, "append_images": [colour.quantize(8)]}),
        ("tiff", colour, "TIFF", {}),
        ("tiff-lzw", Image.fromarray(rgba), "TIFF", {"compression": "tiff_lzw"}),
        ("tiff-jpeg", colour, "TIFF", {"compression": "jpeg"}),
        ("bmp", colour, "BMP", {}),
        ("ppm", colour, "PPM", {}),
        ("jpeg2000", colour, "JPEG2000", {}),
        ("avif", colour, "AVIF", {}),
    ):
        file = io.BytesIO()
        image.save(file, file_format, **options)
        made.append((name, file.getvalue()))
    deep = rgba.astype(np.uint16) * 257
    for format in ("png", "tiff"):
        file_16 = encode(deep, format, quality=1, lossless=True)
        made.append((f"{format}-16-rgba", file_16.data))
    return made


def rot(data: bytes, seed: int) -> bytes:
    """Cut, flip bits (half of the time in the header, where the traps are), splice or overwrite."""
    chance = random.Random(seed)
    rotten = bytearray(data)
    kind = seed % 4
    if kind == 0:
        return bytes(rotten[: chance.randrange(len(rotten))])
    reach = len(rotten) if chance.random() < 0.5 else min(len(rotten), 96)
    if kind == 1:
        rotten[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    elif kind == 2:
        for _ in range(chance.randrange(2, 24)):
            rotten[chance.randrange(reach)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    else:
        start, end = sorted(chance.randrange(len(rotten)) for _ in range(2))
        rotten[start:end] = chance.randbytes(chance.randrange(8))
    return bytes(rotten)


@pytest.mark.parametrize(("name", "data"), files(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_rotten_file_is_pixels_or_a_decode_error(name: str, data: bytes) -> None:
    whole = decode(data, MAX_PX).pixels
    assert whole.shape[0] * whole.shape[1] == 24 * 32
    kinds = []
    for seed in range(80):
        try:
            pixels = decode(rot(data, seed), MAX_PX).pixels
        except DecodeError as error:
            kinds.append(error.kind)
        else:
            assert pixels.dtype in (np.uint8, np.uint16), seed
            assert pixels.ndim == 3, seed
            assert 1 <= pixels.shape[2] <= 4, seed
            assert 0 < pixels.shape[0] * pixels.shape[1] <= MAX_PX, seed
    assert set(kinds) <= KINDS
    assert len(kinds) >= 15  # otherwise the rot missed the file


def test_random_bytes_are_refused() -> None:
    chance = random.Random(0)
    for _ in range(200):
        with pytest.raises(DecodeError):
            decode(chance.randbytes(chance.randrange(1, 400)), MAX_PX)
