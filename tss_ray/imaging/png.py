"""Writing PNG by bands of rows, of 8 or 16 bits: what no library in a wheel does for both.

Pillow writes no 16-bit colour, and it and libpng's wrappers want the whole image in memory. The file is a signature and
chunks; pixels are filtered row by row and deflated as one stream (PNG specification, third edition, W3C 2025, 5 and 9).
"""

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tss_ray.imaging.metadata import Metadata
from tss_ray.imaging.pixels import Pixels

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_COMPRESS_LEVEL = 4
_INCH_M = 0.0254


def write_png(
    file: BinaryIO,
    bands: Iterable[Pixels],
    shape: tuple[int, int, int],
    bits: int,
    icc_profile: bytes | None,
    metadata: Metadata,
) -> None:
    """Write (height, width, 1…4) pixels, handed in as bands (n,w,c) from top to bottom, all uint8 or all uint16."""
    height, width, channels = shape
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[channels], 0, 0, 0))
    if icc_profile is not None:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile))
    if metadata.dpi is not None:
        across, down = (round(dpi / _INCH_M) for dpi in metadata.dpi)
        _chunk(file, b"pHYs", struct.pack(">IIB", across, down, 1))
    if metadata.exif is not None:
        _chunk(file, b"eXIf", metadata.exif)
    if metadata.xmp is not None:
        _chunk(file, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)
    deflate = zlib.compressobj(_COMPRESS_LEVEL)
    above = np.zeros((1, width * channels * bits // 8), np.uint8)
    for band in bands:
        rows = _bytes_of(band)
        _pixels(file, deflate.compress(_filtered(rows, above, channels * bits // 8).tobytes()))
        above = rows[-1:]
    _pixels(file, deflate.flush())
    _chunk(file, b"IEND", b"")


def _bytes_of(band: Pixels) -> NDArray[np.uint8]:
    big_endian = np.ascontiguousarray(band, band.dtype.newbyteorder(">"))
    return big_endian.view(np.uint8).reshape(len(band), -1)


def _filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Return (n, 1 + row bytes): of each row its filter and what the filter leaves, the smallest sum of magnitudes.

    `step` is the bytes of a pixel. Candidates are Sub, Up and Paeth: None and Average win on few rows of photographs.
    """
    up = np.concatenate([above, rows[:-1]])
    left, up_left = (np.pad(each, ((0, 0), (step, 0)))[:, :-step] for each in (rows, up))
    candidates = {1: rows - left, 2: rows - up, 4: rows - _paeth(left, up, up_left)}  # modulo 256, as the format says
    costs = [np.abs(each.view(np.int8).astype(np.int16)).sum(1, dtype=np.int64) for each in candidates.values()]
    best = np.argmin(costs, axis=0)
    out = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    for i, (kind, left_over) in enumerate(candidates.items()):
        out[best == i, 0] = kind
        out[best == i, 1:] = left_over[best == i]
    return out


def _paeth(left: NDArray[np.uint8], up: NDArray[np.uint8], up_left: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return whichever neighbour is nearest to left + up - up_left; ties go to left, then up (9.4)."""
    a, b, c = (each.astype(np.int16) for each in (left, up, up_left))
    by_left, by_up, by_both = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where((by_left <= by_up) & (by_left <= by_both), left, np.where(by_up <= by_both, up, up_left))
    return nearest.astype(np.uint8, copy=False)


def _pixels(file: BinaryIO, data: bytes) -> None:
    if data:
        _chunk(file, b"IDAT", data)


def _chunk(file: BinaryIO, kind: bytes, body: bytes) -> None:
    file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
