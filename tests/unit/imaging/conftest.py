"""Files that Pillow cannot write and profiles that need not be shipped."""

import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import ImageCms


@pytest.fixture(scope="session")
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="session")
def cmyk_profile() -> bytes:
    """Return a CMYK input profile under which no ink is white, cyan is light grey, and black or more inks are black.

    An ICC version 2 profile with one table: A2B0 of type lut8 (ICC.1:2001-04, 6.5.8), 2 grid points per ink, to Lab.
    """
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    ramp = bytes(range(256))
    nodes = []
    for ink in range(16):  # C is the slowest of the four: ink = 8 C + 4 M + 2 Y + K
        lightness = {0: 255, 8: 191}.get(ink, 0)
        nodes.append(bytes((lightness, 128, 128)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + b"".join(nodes) + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    table += bytes(-len(table) % 4)
    offset = 128 + 4 + 2 * 12
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", offset, len(white), b"A2B0", offset + len(white), len(table))
    size = offset + len(white) + len(table)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + tags + white + table


@pytest.fixture(scope="session")
def grey_profile(srgb_profile: bytes) -> bytes:
    """Return a header that claims to be grey; nothing reads the rest."""
    return srgb_profile[:16] + b"GRAY" + srgb_profile[20:]


@pytest.fixture(scope="session")
def hand_png() -> Callable[..., bytes]:
    """Return a writer of PNG files for what Pillow cannot write; `extra` holds more chunks, by name."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def png(
        size: tuple[int, int], depth: int, colour_type: int, rows: bytes, extra: dict[bytes, bytes] | None = None
    ) -> bytes:
        chunks = {b"IHDR": struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0), **(extra or {})}
        chunks |= {b"IDAT": zlib.compress(rows), b"IEND": b""}
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks.items())

    return png
