"""Colour profiles: which one fits which pixels, and the way out of CMYK."""

import io

from PIL import Image, ImageCms

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
