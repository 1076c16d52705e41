"""Reading pixels of more than 8 bits, which Pillow reduces or refuses: PNG by libpng, TIFF by tifffile.

imagecodecs (BSD-3-Clause) wraps libpng and the codecs of TIFF, and gives back the very integers of the file; tifffile
(BSD-3-Clause) leans on it for LZW, predictors and JPEG.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tss_ray.errors import DecodeError
from tss_ray.imaging.pixels import Pixels

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS_PER_SAMPLE, _PLANAR = 258, 284
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_ASSOCIATED_ALPHA, _ALPHA = 1, 2


def is_tiff(data: bytes) -> bool:
    """Say whether the bytes begin like a TIFF or BigTIFF."""
    return data.startswith(_TIFF_SIGNATURES)


def is_deep_png(image: Image.Image) -> bool:
    """Say whether an opened, not yet loaded PNG holds 16-bit colour or grey with alpha."""
    return image.format == "PNG" and any(";16B" in str(t) and "I;16B" not in str(t) for t in getattr(image, "tile", ()))


def is_deep_tiff(image: Image.Image) -> bool:
    """Say whether an opened TIFF holds more than 8 bits, other than CMYK, of which Pillow takes the high byte.

    By the tag, not by Pillow's mode: of separate planes of 16 bits Pillow makes pixels that are none.
    """
    tags = getattr(image, "tag_v2", {})
    depth = tags.get(_BITS_PER_SAMPLE, (1,))
    deep = image.format == "TIFF" and max(depth if isinstance(depth, tuple) else (depth,)) > 8
    return deep and (image.mode != "CMYK" or tags.get(_PLANAR) == 2)


def read_deep_png(data: bytes, transparent: object) -> NDArray[np.uint16]:
    """Return (h,w,c) uint16 of a 16-bit PNG; `transparent` is Pillow's reading of its tRNS chunk."""
    import imagecodecs

    values = np.asarray(imagecodecs.png_decode(data))
    values = values if values.ndim == 3 else values[:, :, None]
    if values.shape[2] == 3 and isinstance(transparent, tuple):
        opaque = (values != np.array(transparent, np.uint16)).any(axis=2, keepdims=True)
        values = np.concatenate([values, opaque.astype(np.uint16) * 65535], axis=2)
    return values.astype(np.uint16, copy=False)


def read_deep_tiff(data: bytes, max_px: int) -> tuple[Pixels, bytes | None, int]:
    """Return (h,w,c) uint8 or uint16 of the first page, not turned by its orientation, its ICC profile, and the pages.

    Floats of [0,1] become 16 bits; 32-bit integers are read as 16, or as 8 if nothing in them exceeds 255.
    Premultiplied colour is made straight. Raises DecodeError, of kind "too_large" or "unsupported_mode", and whatever
    tifffile raises.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page: Any = tiff.pages[0]
        _check_page(page, len(data), max_px)
        values = np.asarray(page.asarray())
        if page.axes == "SYX":
            values = np.moveaxis(values, 0, -1)
        elif page.axes not in ("YX", "YXS"):
            raise unsupported(f"TIFF of axes {page.axes}")
        profile = page.tags.valueof(34675)
        return _page_pixels(values, page), profile if isinstance(profile, bytes) else None, len(tiff.pages)


def as_integers(values: NDArray[Any], shallow_if_small: bool) -> Pixels:
    """Return any numbers as uint8 or uint16, same shape: floats of [0,1] become 16 bits.

    `shallow_if_small` reads integers of 32 bits that nowhere exceed 255 as 8 bits. Raises DecodeError
    "unsupported_mode".
    """
    lowest, highest = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (lowest >= 0 and highest <= 1):  # so written, NaN is refused too
            raise unsupported("float pixels outside [0,1], whose white nobody knows,")
        return np.rint(values.astype(np.float64) * 65535).astype(np.uint16)
    if lowest < 0 or highest > 65535:
        raise unsupported(f"integer pixels from {lowest} to {highest}")
    is_8_bit = values.dtype.itemsize == 1 or (shallow_if_small and values.dtype.itemsize == 4 and highest <= 255)
    return values.astype(np.uint8 if is_8_bit else np.uint16)


def unsupported(what: str) -> DecodeError:
    """Return the error for pixels of a form that cannot be read."""
    return DecodeError("unsupported_mode", f"{what} cannot be read; convert the file to 8 or 16 bits of grey or RGB")


def _check_page(page: Any, num_bytes: int, max_px: int) -> None:  # noqa: ANN401 - tifffile has no public type for it
    """Refuse what would take too much memory, or what tifffile would fill up with black."""
    width, height = page.imagewidth, page.imagelength
    if width * height > max_px:
        message = f"{width}×{height} px is more than {max_px} px; raise limits.max_input_px or remove the file"
        raise DecodeError("too_large", message)
    if page.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) or page.samplesperpixel > 4:
        raise unsupported(f"TIFF of {page.samplesperpixel} samples, photometric {page.photometric}")
    if page.is_tiled and page.tilewidth * page.tilelength > 4 * max(max_px, 65536):
        raise ValueError(f"tiles of {page.tilewidth}×{page.tilelength} px in {width}×{height}")
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not parts or any(count <= 0 or offset + count > num_bytes for offset, count in parts):
        raise ValueError("its pixels end beyond the file")


def _page_pixels(values: NDArray[Any], page: Any) -> Pixels:  # noqa: ANN401
    pixels = as_integers(values if values.ndim == 3 else values[:, :, None], shallow_if_small=True)
    num_colours = 3 if page.photometric == _RGB else 1
    if pixels.shape[2] < num_colours:
        raise ValueError(f"RGB of {pixels.shape[2]} samples")
    white = np.iinfo(pixels.dtype).max
    colour = pixels[..., :num_colours]
    if page.photometric == _WHITE_IS_ZERO:
        colour = white - colour
    kinds = tuple(int(kind) for kind in page.extrasamples)
    if not kinds or kinds[0] not in (_ASSOCIATED_ALPHA, _ALPHA):
        return np.ascontiguousarray(colour)
    alpha = pixels[..., num_colours : num_colours + 1]
    if kinds[0] == _ASSOCIATED_ALPHA:
        straight = colour.astype(np.float64) * white / np.maximum(alpha, 1)
        colour = np.rint(straight.clip(0, white)).astype(pixels.dtype)
    return np.concatenate([colour, alpha], axis=2)
