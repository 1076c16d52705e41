"""Colour profiles: which one fits which pixels, and the way out of CMYK."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from tss_ray.imaging.pixels import Pixels

_SPACE_OF_CHANNELS = {1: b"GRAY", 2: b"GRAY", 3: b"RGB ", 4: b"RGB "}


def fitting_profile(icc_profile: object, channels: int) -> bytes | None:
    """Return the profile if it describes pixels of 1 to 4 channels (grey, grey + alpha, RGB, RGBA), else None.

    A profile of another colour space, or one that is no ICC profile, is worse than none: readers reject the file or
    paint it wrong. The space stands at byte 16 of the header and the signature "acsp" at byte 36 (ICC.1:2010, 7.2).
    """
    if not isinstance(icc_profile, bytes) or icc_profile[36:40] != b"acsp":
        return None
    return icc_profile if icc_profile[16:20] == _SPACE_OF_CHANNELS[channels] else None


def cmyk_to_rgb(image: Image.Image, icc_profile: object) -> Image.Image:
    """Convert a CMYK image to RGB in sRGB through its profile, or by Pillow's plain formula where none can be used.

    Relative colorimetric with black point compensation, so that paper is white and full ink is black.
    """
    if isinstance(icc_profile, bytes) and icc_profile[16:20] == b"CMYK":
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError):
            converted = None  # a broken profile leaves a photograph that viewers still show
        if converted is not None:
            return converted
    return image.convert("RGB")


def to_srgb(pixels: Pixels, icc_profile: bytes | None) -> Pixels:
    """Return (h,w,1…4) of a profile as the same depth and channels of sRGB; unchanged without a usable one.

    Through lcms2 at the pixels' own depth (imagecodecs; Pillow's own transforms have 8 bits), relative colorimetric
    with black point compensation. Grey stays grey: its colours in sRGB are neutral. Colours beyond sRGB are clipped.
    """
    if icc_profile is None:
        return pixels
    import imagecodecs

    num_colours = 1 if pixels.shape[2] < 3 else 3
    colour = np.ascontiguousarray(pixels[..., :num_colours])
    try:
        converted: Pixels = imagecodecs.cms_transform(
            colour if num_colours == 3 else colour[..., 0],
            icc_profile,
            _srgb_profile(),
            colorspace="rgb" if num_colours == 3 else "gray",
            outcolorspace="rgb",
            intent=int(ImageCms.Intent.RELATIVE_COLORIMETRIC),
            flags=int(ImageCms.Flags.BLACKPOINTCOMPENSATION),
        )
    except (RuntimeError, ValueError):  # a profile that lcms2 refuses is one that viewers ignore
        return pixels
    return np.concatenate([converted[..., :num_colours], pixels[..., num_colours:]], axis=2)


@lru_cache(maxsize=64)
def is_linear(icc_profile: bytes | None) -> bool:
    """Say whether values under this profile are proportional to light: half of white shows as 188 of 255 in sRGB.

    A model has learnt from pictures as they are shown, in which half of white is 118 to 150; linear ones look too dark
    to it, and their shadows have too few levels.
    """
    if icc_profile is None:
        return False
    mode = "L" if icc_profile[16:20] == b"GRAY" else "RGB"
    try:
        shown = ImageCms.profileToProfile(
            Image.new(mode, (1, 1), 128 if mode == "L" else (128, 128, 128)),
            ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError):
        return False
    return shown is not None and bool(np.asarray(shown).mean() > _LINEAR_FROM)


_LINEAR_FROM = 175


@lru_cache(maxsize=1)
def _srgb_profile() -> bytes:
    profile: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile
