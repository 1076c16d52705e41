"""Pixels to bytes of an image file."""

import dataclasses
import io
from collections.abc import Iterable
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image

from tss_ray.errors import EncodeError, EngineError
from tss_ray.imaging.colour import fitting_profile
from tss_ray.imaging.metadata import NO_METADATA, Metadata
from tss_ray.imaging.pixels import Pixels, num_bits, to_8_bit
from tss_ray.imaging.png import write_png

Format = Literal["png", "webp", "jpeg", "tiff", "avif"]

_CONTENT_TYPES: dict[Format, str] = {
    "png": "image/png",
    "webp": "image/webp",
    "jpeg": "image/jpeg",
    "tiff": "image/tiff",
    "avif": "image/avif",
}

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_BY_ROWS = ("png", "tiff")
_WITHOUT_GREY = ("webp", "avif")

_MAX_SIDE_PX: dict[Format, int] = {"webp": 16_383, "jpeg": 65_500, "avif": 65_535}
"""JPEG's header could say 65535; libjpeg stops at 65500."""

_WEBP_LOSSLESS_EFFORT = 0
"""Of 0…100, at method 4: 182 ms 1.36 MB for a mosaic of photographs of 1024×1024 px and 145 ms 0.63 MB for its
enlargement from 256×256; effort 75 takes twice that for 1 %."""

_MAX_JPEG_SEGMENT_BYTES = 65_000
"""JPEG has 65533 bytes for EXIF and for XMP, their names included; what is longer is left out."""


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedImage:
    """A file, ready to be uploaded."""

    data: bytes
    mode: str
    """Pillow's mode of the file, as a reader will find it: WebP and AVIF have no grey, and WebP drops an alpha that is
    all opaque."""
    content_type: str
    bits: int = 8


def encode(
    pixels: Pixels,
    format: Format,
    *,
    quality: int,
    lossless: bool,
    icc_profile: bytes | None = None,
    metadata: Metadata = NO_METADATA,
) -> EncodedImage:
    """Encode (h,w,c) uint8 or uint16: c = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA with straight alpha.

    `quality` (1…100) is for jpeg, avif and lossy webp, `lossless` for webp. PNG and TIFF keep 16 bits, the others round
    to 8. Lossless formats return every pixel bit for bit, the colours under transparent ones too. JPEG and AVIF are
    4:4:4: an enlargement would lose in colour what it gained. The profile is kept if it describes what the file holds
    (a grey one does not describe a WebP); the resolution where the format has a place for it (not in WebP and AVIF).

    Raises EncodeError, of kind "alpha_in_jpeg", "too_large_for_format" or "encode_failed".
    """
    if pixels.ndim != 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise _not_pixels(f"{pixels.shape} {pixels.dtype}")
    height, width, channels = pixels.shape
    file = io.BytesIO()
    mode, content_type, bits = encode_into(
        file,
        [pixels],
        (height, width, channels),
        num_bits(pixels),
        format,
        quality=quality,
        lossless=lossless,
        icc_profile=icc_profile,
        metadata=metadata,
    )
    return EncodedImage(file.getvalue(), mode, content_type, bits)


def encode_into(
    file: BinaryIO,
    bands: Iterable[Pixels],
    shape: tuple[int, int, int],
    bits: int,
    format: Format,
    *,
    quality: int,
    lossless: bool,
    icc_profile: bytes | None = None,
    metadata: Metadata = NO_METADATA,
) -> tuple[str, str, int]:
    """Write pixels that come as bands of rows, from top to bottom, into a file that can be read and sought.

    shape: (height, width, c) of all bands together; otherwise as `encode`. Returns mode, content type and bits of the
    file. TIFF, and PNG of more than 100 MB of pixels, are written as the bands come; other files need all of the pixels
    at once, of 8 bits where they are not PNG.

    Raises EncodeError, and whatever the bands raise.
    """
    height, width, channels = shape
    if channels not in _MODES or 0 in shape:
        raise _not_pixels(f"{shape}")
    _check_fits(format, height, width, channels)
    grey_as_colour = format in _WITHOUT_GREY and channels < 3
    stored_channels = channels + 2 if grey_as_colour else channels
    profile = fitting_profile(icc_profile, stored_channels)
    described = metadata.resized(width, height)
    opaque = False
    try:
        if format == "tiff":
            from tss_ray.imaging.tiff import write_tiff  # here: tifffile takes long to import

            write_tiff(file, bands, shape, bits, profile, described)
        elif format == "png":
            write_png(file, bands, shape, bits, profile, described)
        else:
            whole = _whole(bands, shape)
            opaque = channels in (2, 4) and bool((whole[:, :, -1] == 255).all())
            _save(file, whole, format, quality, lossless, profile, described)
    except (OSError, ValueError, RuntimeError) as error:
        message = (
            f"{format} refused {width}×{height} px of {channels} channels: {error!r}; choose another encode.format"
        )
        raise EncodeError("encode_failed", message) from error
    mode = "RGB" if format == "webp" and opaque else _MODES[stored_channels]
    return mode, _CONTENT_TYPES[format], bits if format in _BY_ROWS else 8


def _check_fits(format: Format, height: int, width: int, channels: int) -> None:
    if format == "jpeg" and channels in (2, 4):
        raise EncodeError("alpha_in_jpeg", "JPEG has no transparency; choose encode.format png or webp")
    max_side_px = _MAX_SIDE_PX.get(format)
    if max_side_px is not None and max(height, width) > max_side_px:
        message = f"{width}×{height} px: {format} ends at {max_side_px} px a side; choose encode.format png"
        raise EncodeError("too_large_for_format", message)


def _whole(bands: Iterable[Pixels], shape: tuple[int, int, int]) -> Pixels:
    """Return all of the pixels, of 8 bits; a single band is not copied."""
    whole: Pixels | None = None
    row = 0
    for band in bands:
        if len(band) == shape[0]:
            return to_8_bit(band)
        whole = np.empty(shape, np.uint8) if whole is None else whole
        whole[row : row + len(band)] = to_8_bit(band)
        row += len(band)
    if whole is None or row != shape[0]:
        raise _not_pixels(f"{row} rows of {shape}")
    return whole


def _save(
    file: BinaryIO,
    pixels: Pixels,
    format: Format,
    quality: int,
    lossless: bool,
    icc_profile: bytes | None,
    metadata: Metadata,
) -> None:
    """Write 8 bits by Pillow."""
    options: dict[str, Any] = {"icc_profile": icc_profile}
    if metadata.exif is not None and not (format == "jpeg" and len(metadata.exif) > _MAX_JPEG_SEGMENT_BYTES):
        options["exif"] = b"Exif\0\0" + metadata.exif
    if metadata.dpi is not None and format == "jpeg":
        options["dpi"] = metadata.dpi
    if metadata.xmp is not None and not (format == "jpeg" and len(metadata.xmp) > _MAX_JPEG_SEGMENT_BYTES):
        options["xmp"] = metadata.xmp
    if format in ("jpeg", "avif"):
        options |= {"quality": quality, "subsampling": "4:4:4"}
    elif lossless:
        options |= {"lossless": True, "exact": True, "quality": _WEBP_LOSSLESS_EFFORT}
    else:
        options |= {"quality": quality}
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, format.upper(), **options)


def _not_pixels(what: str) -> EngineError:
    return EngineError(f"pixels are {what}: need (h,w,1…4) uint8 or uint16; please report this")
