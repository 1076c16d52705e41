"""What a file says about its picture besides the pixels: EXIF, XMP, resolution.

Orientation is never kept, since pixels come out upright; sizes are those of the file that is written; embedded
thumbnails, which would show the picture of before, are dropped with everything that only described the old file.
"""

import dataclasses
import io
import math
import re
import struct
from collections.abc import Callable
from typing import Any

from PIL import ExifTags, Image

_TEXTS = (270, 271, 272, 305, 306, 315, 316, 700, 18246, 18249, 33432, *range(40091, 40096))
"""Tags of the first directory that describe the picture: description, maker, model, software, date, artist, host,
rating, copyright, Windows' title to subject; the others say how the old file lay on disk (TIFF 6.0, EXIF 2.32)."""
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_PIXEL_WIDTH, _PIXEL_HEIGHT, _INTEROPERABILITY = 0xA002, 0xA003, 0xA005
_BROKEN = (ArithmeticError, AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error)
_MAX_XMP_BYTES = 1_048_576
_MAX_DPI = 65_535
"""What JPEG can say."""

_XMP_SIZES = {"tiff:ImageWidth": 0, "tiff:ImageLength": 1, "exif:PixelXDimension": 0, "exif:PixelYDimension": 1}


@dataclasses.dataclass(frozen=True, slots=True)
class Metadata:
    """What is kept of a file; None means that it had none, or that nothing could be read of it."""

    exif: bytes | None = None
    """A TIFF structure, without the "Exif" that JPEG puts before it and without an orientation."""
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    """Across and down."""

    def resized(self, width: int, height: int) -> "Metadata":
        """Return this with the sizes (px) of the file that is written."""
        return dataclasses.replace(self, exif=_exif_resized(self.exif, width, height), xmp=self._xmp(width, height))

    def _xmp(self, width: int, height: int) -> bytes | None:
        xmp = self.xmp
        for name, axis in _XMP_SIZES.items() if xmp else ():
            xmp = _xmp_set(xmp or b"", name, (width, height)[axis])
        return xmp


NO_METADATA = Metadata()


def read_metadata(image: Image.Image) -> Metadata:
    """Read an opened image; what is damaged is left out, since the picture beside it is not at fault."""
    return Metadata(_read_exif(image.getexif), _read_xmp(image.info), _read_dpi(image.info.get("dpi")))


def read_tiff_metadata(data: bytes) -> tuple[Metadata, int]:
    """Return what `read_metadata` and `orientation` would, of a TIFF whose pixels Pillow has no mode for."""
    exif = Image.Exif()
    try:
        exif.load_from_fp(io.BytesIO(data))
        found = dict(exif)
    except _BROKEN:
        return NO_METADATA, 1
    inches = {2: 1.0, 3: 2.54}.get(found.get(296, 2))
    dpi = _read_dpi([found.get(282), found.get(283)])
    dpi = (dpi[0] * inches, dpi[1] * inches) if dpi and inches else None
    turned = found.get(ExifTags.Base.Orientation)
    return Metadata(_read_exif(lambda: exif), _read_xmp({"xmp": found.get(700)}), dpi), (
        turned if isinstance(turned, int) else 1
    )


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1…8; 1 if there is none or the block is unreadable."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _BROKEN:
        return 1
    return found if isinstance(found, int) else 1


def _read_exif(get: Callable[[], Image.Exif]) -> bytes | None:
    try:
        found = get()
        kept = Image.Exif()
        for tag in _TEXTS:
            if tag in found and tag != 700:  # XMP has a place of its own
                kept[tag] = found[tag]
        for directory in _DIRECTORIES:
            inner = dict(found.get_ifd(directory))
            inner.pop(_INTEROPERABILITY, None)
            if inner:
                kept.get_ifd(directory).update(inner)
        return _serialised(kept) if _holds_anything(kept) else None
    except _BROKEN:
        return None


def _exif_resized(data: bytes | None, width: int, height: int) -> bytes | None:
    if data is None:
        return None
    exif = Image.Exif()
    try:
        exif.load(b"Exif\0\0" + data)
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        for tag, value in ((_PIXEL_WIDTH, width), (_PIXEL_HEIGHT, height)):
            if tag in inner:
                inner[tag] = value
        return _serialised(exif)
    except _BROKEN:
        return None


def _serialised(exif: Image.Exif) -> bytes:
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _holds_anything(exif: Image.Exif) -> bool:
    return len(exif) > 0 or any(exif.get_ifd(directory) for directory in _DIRECTORIES)


def _read_xmp(info: dict[Any, Any]) -> bytes | None:
    found = info.get("xmp") or info.get("XML:com.adobe.xmp")
    data = found.encode() if isinstance(found, str) else found
    if not isinstance(data, bytes) or not data or len(data) > _MAX_XMP_BYTES:
        return None
    return _xmp_set(data.rstrip(b"\0"), "tiff:Orientation", 1)


def _xmp_set(xmp: bytes, name: str, value: int) -> bytes:
    """Set a simple property where it stands, as an attribute or an element; XMP allows both."""
    pattern = rb"(%s(?:\s*=\s*[\"']|\s*>\s*))\d+" % name.encode()
    return re.sub(pattern, rb"\g<1>%d" % value, xmp)


def _read_dpi(found: object) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in found)  # type: ignore[attr-defined]
    except (ArithmeticError, TypeError, ValueError):
        return None
    return (across, down) if all(math.isfinite(v) and 1 <= v <= _MAX_DPI for v in (across, down)) else None
