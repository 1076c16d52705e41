"""Bytes of an image file to pixels, whatever the file turns out to hold."""

import dataclasses
import importlib
import importlib.util
import io
import logging
import re
import warnings
from functools import lru_cache

import numpy as np
from PIL import Image, UnidentifiedImageError

from tss_ray.errors import DecodeError
from tss_ray.imaging.colour import cmyk_to_rgb, fitting_profile
from tss_ray.imaging.deep import (
    as_integers,
    is_deep_png,
    is_deep_tiff,
    is_tiff,
    read_deep_png,
    read_deep_tiff,
)
from tss_ray.imaging.kinds import kind_of_other
from tss_ray.imaging.metadata import NO_METADATA, Metadata, orientation, read_metadata, read_tiff_metadata
from tss_ray.imaging.pixels import Pixels

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
"""Named, because Pillow would also try formats that start other programs (EPS) or fit any bytes at all (TGA)."""
_PLUGINS = {"pillow_jxl": "JXL"}
"""Readers that register themselves with Pillow when they are imported; used where they are installed."""

_SIGNATURES = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|....ftypavi[fs]|\0\0\0\x0cjP  |II\+\0|MM\0\+",
    re.DOTALL,
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

_STRIPS_FROM_PX = 4_194_304
_PACKED_GREY = {"L;2": 85, "L;4": 17}
"""By Pillow's raw mode: what a level is worth of 255."""
_NEW_SUBFILE_TYPE, _REDUCED, _DNG_VERSION = 254, 1, 50706

_PILLOW_MODULES = re.compile(r"PIL\.")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """An upright image and what its file was."""

    pixels: Pixels
    """(h,w,c) uint8, or uint16 where the file has more than 8 bits: c = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA; alpha is
    straight, not premultiplied."""
    mode: str
    """Pillow's mode of the file as it was."""
    format: str
    """Pillow's name: PNG, JPEG, MPO (a JPEG of several pictures), …"""
    icc_profile: bytes | None
    """The profile that `pixels` are in; None means sRGB, as usual."""
    metadata: Metadata = NO_METADATA


def decode(data: bytes, max_px: int, animations: bool = True) -> DecodedImage:
    """Decode a file: upright by its EXIF orientation, grey as grey, the first frame of an animation.

    16-bit grey, and 16-bit colour of PNG and TIFF, come out as they are; other formats with more than 8 bits of colour
    (AVIF, JPEG 2000, PPM) give 8. Floats of [0,1] become 16 bits. An "I" image is read as 16 bits, or as 8 if it is no
    PPM and nothing in it exceeds 255. CMYK becomes sRGB.

    Raises DecodeError, of kind "empty"; "too_large", found from the header, before anything of that size is allocated,
    if width · height > max_px; "corrupt"; "unsupported_mode"; "animation" for more frames or pages than one, unless
    `animations` lets the first pass; and for what is no image of ours "video", "audio", "vector", "document",
    "archive", "unsupported_format", or "not_an_image".
    """
    if not data:
        raise DecodeError("empty", "the file holds no bytes; upload it again or remove it")
    _prepare_libraries(max_px)
    try:
        return _decoded(data, max_px, animations)
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:
        raise DecodeError("too_large", f"{error} Raise limits.max_input_px or remove the file") from error
    except Exception as error:
        # The one place for a broad except: parsers fed with hostile bytes raise whatever they stumble over.
        if isinstance(error, UnidentifiedImageError) and not _SIGNATURES.match(data):
            kind, remedy = kind_of_other(data)
            message = f"the bytes are none of {', '.join(_formats())}; {remedy}"
            raise DecodeError(kind, message) from error
        reason = "no reader accepts its header" if isinstance(error, UnidentifiedImageError) else repr(error)
        raise DecodeError("corrupt", f"the file is damaged: {reason}; replace it by an intact copy") from error


def num_px(data: bytes) -> int:
    """Return width · height by a file's header; 0 where no header of ours is found, which `decode` will tell of."""
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            return image.width * image.height
    except Exception:  # noqa: BLE001 - as in decode
        return 0


def _decoded(data: bytes, max_px: int, animations: bool) -> DecodedImage:
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        if not is_tiff(data):
            raise
        # float colour, 16-bit grey with alpha: no mode of Pillow's
        pixels, icc_profile, num_pages = read_deep_tiff(data, max_px)
        _refuse_if_animated(num_pages, animations)
        metadata, turned = read_tiff_metadata(data)
        profile = fitting_profile(icc_profile, pixels.shape[2])
        return DecodedImage(_turned(pixels, turned), "TIFF", "TIFF", profile, metadata)
    with image:
        _refuse_if_large(image.size, max_px)
        if not animations and image.format != "MPO":
            _refuse_if_animated(getattr(image, "n_frames", 1), animations)
        _refuse_if_raw(image, data)
        _scale_transparent_grey(image)
        mode, file_format, icc_profile = image.mode, image.format or "unknown", image.info.get("icc_profile")
        pixels = _pixels(image, data, max_px)
        return DecodedImage(
            pixels, mode, file_format, fitting_profile(icc_profile, pixels.shape[2]), read_metadata(image)
        )


def _pixels(image: Image.Image, data: bytes, max_px: int) -> Pixels:
    """Return the upright pixels of an opened image, as deep as its file."""
    if is_deep_png(image):
        return _turned(read_deep_png(data, image.info.get("transparency")), orientation(image))
    if is_deep_tiff(image):
        return _turned(read_deep_tiff(data, max_px)[0], orientation(image))
    if image.width * image.height > _STRIPS_FROM_PX and image.mode in _EIGHT_BIT:
        return _pixels_by_strips(image)
    plain = _plain(image)
    values, transparent_value = np.array(plain), plain.info.get("transparency")
    if values.dtype == np.uint8:
        return values if values.ndim == 3 else values[:, :, None]
    grey = as_integers(values, shallow_if_small=image.format != "PPM")[:, :, None]
    if not isinstance(transparent_value, int):
        return grey
    opaque = (values != transparent_value)[:, :, None].astype(grey.dtype) * np.iinfo(grey.dtype).max
    return np.concatenate([grey, opaque], axis=2)


def _pixels_by_strips(image: Image.Image) -> Pixels:
    """Return what `_pixels` would, of 8 bits: Pillow's own copy (4 bytes a px of colour) and the result, no third."""
    image.load()
    transposition = _TRANSPOSITIONS.get(orientation(image))
    upright = image if transposition is None else image.transpose(transposition)
    target = _target_mode(image)
    pixels = np.empty((upright.height, upright.width, len(target)), np.uint8)
    step = max(1, _STRIPS_FROM_PX // 4 // upright.width)
    for first in range(0, upright.height, step):
        last = min(first + step, upright.height)
        strip = upright.crop((0, first, upright.width, last))
        strip.info = upright.info  # transparency
        pixels[first:last] = np.asarray(strip.convert(target)).reshape(last - first, upright.width, -1)
    return pixels


def _prepare_libraries(max_px: int) -> None:
    """Keep the libraries' warnings out of the log, and Pillow's own pixel cap out of the way of a higher one.

    Both are process-wide and several threads decode at once, so both only ever go one way and may be repeated:
    `warnings.catch_warnings` around each decode would restore the filters of another thread. The cap is left alone
    unless a job asked for larger images; below it, our own check comes first.
    """
    if not any(action == "ignore" and module == _PILLOW_MODULES for action, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES.pattern)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it tells of every oddity of a file that it then reads
    if Image.MAX_IMAGE_PIXELS is not None and max_px > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_px


def _refuse_if_large(size: tuple[int, int], max_px: int) -> None:
    width, height = size
    if width * height > max_px:
        message = f"{width}×{height} px is more than {max_px} px; raise limits.max_input_px or remove the file"
        raise DecodeError("too_large", message)


def _refuse_if_animated(num_frames: int, animations: bool) -> None:
    if num_frames > 1 and not animations:
        raise DecodeError("animation", f"{num_frames} frames; choose decode.animation first or split the file")


def _refuse_if_raw(image: Image.Image, data: bytes) -> None:
    """Refuse a camera's raw file: it is a TIFF whose first page is a thumbnail, which nobody wants enlarged."""
    tags = getattr(image, "tag_v2", {})
    if image.format == "TIFF" and (
        data[8:10] == b"CR" or _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED
    ):
        raise DecodeError("unsupported_format", "a camera's raw file, or one that begins with a thumbnail; develop it")


def _scale_transparent_grey(image: Image.Image) -> None:
    """Scale the transparent value of a PNG of 2 or 4 bits as its pixels are: Pillow leaves it as it stands in tRNS."""
    tiles = getattr(image, "tile", ()) if image.format == "PNG" else ()
    found = _PACKED_GREY.get(str(tiles[0].args)) if tiles else None
    value = image.info.get("transparency")
    if found is not None and isinstance(value, int):
        image.info["transparency"] = value * found


def _plain(image: Image.Image) -> Image.Image:
    """Load the image; return it upright as L, LA, RGB or RGBA, or in one of the deep modes."""
    image.load()
    if 0 in image.size:
        raise ValueError(f"{image.size[0]}×{image.size[1]} px")
    transposition = _TRANSPOSITIONS.get(orientation(image))
    upright = image if transposition is None else image.transpose(transposition)
    if image.mode in _DEEP:
        return upright
    if image.mode == "CMYK":
        return cmyk_to_rgb(upright, image.info.get("icc_profile"))
    if image.mode not in _EIGHT_BIT:
        raise DecodeError("unsupported_mode", f"mode {image.mode} cannot be read; convert the file to grey or RGB")
    return upright.convert(_target_mode(image))


def _target_mode(image: Image.Image) -> str:
    target = _EIGHT_BIT[image.mode]
    return _WITH_ALPHA.get(target, target) if image.has_transparency_data else target


def _turned(pixels: Pixels, orientation_tag: int) -> Pixels:
    """Return (h,w,c) upright, as `_TRANSPOSITIONS` does it for Pillow's images."""
    if orientation_tag in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation_tag in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation_tag in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Return what may be opened: our formats, and those of plugins that are installed."""
    return _FORMATS + tuple(name for module, name in _PLUGINS.items() if _imported(module))


def _imported(module: str) -> bool:
    if importlib.util.find_spec(module) is None:
        return False
    importlib.import_module(module)
    return True
