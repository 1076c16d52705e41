"""Pixels to bytes of an image file."""

import dataclasses
import io
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tss_ray.errors import EncodeError, EngineError
from tss_ray.imaging.colour import fitting_profile

Format = Literal["png", "webp", "jpeg"]

_CONTENT_TYPES: dict[Format, str] = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}

_MAX_SIDE_PX: dict[Format, int] = {"webp": 16_383, "jpeg": 65_500}
"""JPEG's header could say 65535; libjpeg stops at 65500."""

_PNG_COMPRESS_LEVEL = 4
"""Why 4, on a mosaic of photographs of 1024×1024 px and on its enlargement from 256×256 (Pillow 13, zlib-ng):
level 1: 72 ms 1.86 MB and 51 ms 1.10 MB; 4: 127 ms 1.73 MB and 87 ms 0.97 MB; 6, Pillow's default: 195 ms 1.71 MB and
213 ms 0.94 MB; 9: 418 ms 1.70 MB and 1040 ms 0.91 MB. Beyond 4, time doubles for 1 to 3 % of size."""

_WEBP_LOSSLESS_EFFORT = 0
"""Of 0…100, at method 4: 182 ms 1.36 MB and 145 ms 0.63 MB for the same two; effort 75 takes twice that for 1 %."""


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedImage:
    """A file, ready to be uploaded."""

    data: bytes
    mode: str
    """Pillow's mode of the file, as a reader will find it: WebP has no grey, and drops an alpha that is all opaque."""
    content_type: str


def encode(
    pixels: NDArray[np.uint8],
    format: Format,
    *,
    quality: int,
    lossless: bool,
    icc_profile: bytes | None = None,
) -> EncodedImage:
    """Encode (h,w,c) uint8: c = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA with straight alpha.

    `quality` (1…100) is for jpeg and lossy webp, `lossless` for webp. Lossless formats return every pixel bit for bit,
    the colours under transparent ones too. JPEG is 4:4:4: an enlargement would lose in colour what it gained. The
    profile is kept if it describes what the file holds (a grey one does not describe a WebP).

    Raises EncodeError, of kind "alpha_in_jpeg", "too_large_for_format" or "encode_failed".
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or pixels.dtype != np.uint8 or pixels.size == 0:
        raise EngineError(f"pixels are {pixels.shape} {pixels.dtype}: need (h,w,1…4) uint8; please report this")
    height, width, channels = pixels.shape
    has_alpha = channels in (2, 4)
    if format == "jpeg" and has_alpha:
        raise EncodeError("alpha_in_jpeg", "JPEG has no transparency; choose encode.format png or webp")
    max_side_px = _MAX_SIDE_PX.get(format)
    if max_side_px is not None and max(height, width) > max_side_px:
        message = f"{width}×{height} px: {format} ends at {max_side_px} px a side; choose encode.format png"
        raise EncodeError("too_large_for_format", message)

    stored_channels = channels + 2 if format == "webp" and channels < 3 else channels
    options: dict[str, Any] = {"icc_profile": fitting_profile(icc_profile, stored_channels)}
    if format == "png":
        options |= {"compress_level": _PNG_COMPRESS_LEVEL}
    elif format == "jpeg":
        options |= {"quality": quality, "subsampling": "4:4:4"}
    elif lossless:
        options |= {"lossless": True, "exact": True, "quality": _WEBP_LOSSLESS_EFFORT}
    else:
        options |= {"quality": quality}

    file = io.BytesIO()
    try:
        Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(file, format.upper(), **options)
    except (OSError, ValueError) as error:
        message = (
            f"{format} refused {width}×{height} px of {channels} channels: {error!r}; choose another encode.format"
        )
        raise EncodeError("encode_failed", message) from error
    mode = _MODES[stored_channels]
    if format == "webp" and has_alpha and bool((pixels[:, :, -1] == 255).all()):
        mode = "RGB"
    return EncodedImage(file.getvalue(), mode, _CONTENT_TYPES[format])
