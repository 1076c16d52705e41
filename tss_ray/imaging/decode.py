"""Bytes of an image file to pixels, whatever the file turns out to hold."""

import dataclasses
import io
import re
import struct
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from tss_ray.errors import DecodeError
from tss_ray.imaging.colour import cmyk_to_rgb, fitting_profile

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
"""Named, because Pillow would also try formats that start other programs (EPS) or fit any bytes at all (TGA)."""

_SIGNATURES = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|....ftypavi[fs]|\0\0\0\x0cjP  ", re.DOTALL
)
"""How a file begins that is an image at least by intention; without one, unreadable bytes are "not_an_image"."""

_EIGHT_BIT = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "YCbCr": "RGB",
    "HSV": "RGB",
    "LAB": "RGB",
}
_WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_PILLOW_MODULES = re.compile(r"PIL\.")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """An upright image and what its file was."""

    pixels: NDArray[np.uint8]
    """(h,w,c): c = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA; alpha is straight, not premultiplied."""
    mode: str
    """Pillow's mode of the file as it was."""
    format: str
    """Pillow's name: PNG, JPEG, MPO (a JPEG of several pictures), …"""
    icc_profile: bytes | None
    """The profile that `pixels` are in; None means sRGB, as usual."""


def decode(data: bytes, max_px: int) -> DecodedImage:
    """Decode a file: upright by its EXIF orientation, grey as grey, the first frame of an animation.

    Eight bits come out at present. Deeper greys are scaled, not clipped: 16 bits by 1/257, floats from [0,1]. An "I"
    image is read as 16 bits, or as 8 if it is no PPM and nothing in it exceeds 255. Pillow itself reduces 16-bit
    colour, by its high byte. CMYK becomes sRGB.

    Raises DecodeError, of kind "empty"; "not_an_image"; "too_large", found from the header, before anything of that
    size is allocated, if width · height > max_px; "corrupt"; "unsupported_mode".
    """
    if not data:
        raise DecodeError("empty", "the file holds no bytes; upload it again or remove it")
    _prepare_pillow(max_px)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _refuse_if_large(image.size, max_px)
            mode, file_format = image.mode, image.format or "unknown"
            icc_profile = image.info.get("icc_profile")
            plain = _plain(image)
            values, transparent_value = np.array(plain), plain.info.get("transparency")
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:
        raise DecodeError("too_large", f"{error} Raise limits.max_input_px or remove the file") from error
    except Exception as error:
        # The one place for a broad except: parsers fed with hostile bytes raise whatever they stumble over.
        if isinstance(error, UnidentifiedImageError) and not _SIGNATURES.match(data):
            known = ", ".join(_FORMATS)
            message = f"the bytes are none of {known}; convert the file or leave it out of the input"
            raise DecodeError("not_an_image", message) from error
        reason = "no reader accepts its header" if isinstance(error, UnidentifiedImageError) else repr(error)
        raise DecodeError("corrupt", f"the file is damaged: {reason}; replace it by an intact copy") from error

    if values.dtype == np.uint8:
        pixels = values if values.ndim == 3 else values[:, :, None]
    else:
        pixels = _reduced(values, transparent_value, file_format)
    return DecodedImage(pixels, mode, file_format, fitting_profile(icc_profile, pixels.shape[2]))


def _prepare_pillow(max_px: int) -> None:
    """Keep Pillow's warnings out of the log, and its own pixel cap out of the way of a higher one.

    Both are process-wide and several threads decode at once, so both only ever go one way and may be repeated:
    `warnings.catch_warnings` around each decode would restore the filters of another thread. The cap is left alone
    unless a job asked for larger images; below it, our own check comes first.
    """
    if not any(action == "ignore" and module == _PILLOW_MODULES for action, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES.pattern)
    if Image.MAX_IMAGE_PIXELS is not None and max_px > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_px


def _refuse_if_large(size: tuple[int, int], max_px: int) -> None:
    width, height = size
    if width * height > max_px:
        message = f"{width}×{height} px is more than {max_px} px; raise limits.max_input_px or remove the file"
        raise DecodeError("too_large", message)


def _plain(image: Image.Image) -> Image.Image:
    """Load the image; return it upright as L, LA, RGB or RGBA, or in one of the deep modes."""
    # Pillow has no 16-bit grey + alpha and spreads it over RGBA; the raw mode in the file is gone once it is loaded.
    spread_grey = image.format == "PNG" and any("LA;16B" in str(tile) for tile in getattr(image, "tile", ()))
    image.load()
    if 0 in image.size:
        raise ValueError(f"{image.size[0]}×{image.size[1]} px")
    transposition = _TRANSPOSITIONS.get(_orientation(image))
    upright = image if transposition is None else image.transpose(transposition)
    if spread_grey:
        return Image.merge("LA", (upright.getchannel("R"), upright.getchannel("A")))
    if image.mode in _DEEP:
        return upright
    if image.mode == "CMYK":
        return cmyk_to_rgb(upright, image.info.get("icc_profile"))
    if image.mode not in _EIGHT_BIT:
        raise _unsupported(f"mode {image.mode}")
    target = _EIGHT_BIT[image.mode]
    if image.has_transparency_data:
        target = _WITH_ALPHA.get(target, target)
    return upright.convert(target)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 if the EXIF block is unreadable, since the picture beside it is not at fault."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (ArithmeticError, AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return 1
    return orientation if isinstance(orientation, int) else 1


def _reduced(values: NDArray[Any], transparent_value: object, file_format: str) -> NDArray[np.uint8]:
    """Return (h,w) grey of 16-bit, 32-bit or float as (h,w,1) uint8, or (h,w,2) where one value is transparent."""
    lowest, highest = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (lowest >= 0 and highest <= 1):  # so written, NaN is refused too
            raise _unsupported("float pixels outside [0,1]")
        grey = np.rint(values * np.float32(255))
    else:
        if lowest < 0 or highest > 65535:
            raise _unsupported(f"integer pixels from {lowest} to {highest}")
        is_8_bit = values.dtype.itemsize == 4 and highest <= 255 and file_format != "PPM"
        grey = values if is_8_bit else (values.astype(np.int32) + 128) // 257
    channels = [grey.astype(np.uint8)]
    if isinstance(transparent_value, int):
        channels.append(np.where(values == transparent_value, 0, 255).astype(np.uint8))
    return np.stack(channels, axis=-1)


def _unsupported(what: str) -> DecodeError:
    return DecodeError("unsupported_mode", f"{what} cannot be read; convert the file to 8 or 16 bits of grey or RGB")
