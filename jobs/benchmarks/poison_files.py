"""Files that kill where the folder `poison` is on PYTHONPATH, and are nothing special elsewhere."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

POISON_PATH = str(Path(__file__).with_name("poison"))
_SIGNATURE_AND_HEADER_BYTES = 8 + 25


def kills_the_decoder(png: bytes) -> bytes:
    """Return a PNG with the chunk that `poison/sitecustomize.py` listens to."""
    chunk = struct.pack(">I", 1) + b"poIS" + b"!" + struct.pack(">I", zlib.crc32(b"poIS!"))
    return png[:_SIGNATURE_AND_HEADER_BYTES] + chunk + png[_SIGNATURE_AND_HEADER_BYTES:]


def kills_the_model() -> bytes:
    """Return pure magenta."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (255, 0, 255)).save(file, "PNG")
    return file.getvalue()
