"""Real pictures for tests: crops of the sample photographs."""

import io

from PIL import Image

from tss_ray.storage import sample_photos


def photo_bytes(index: int, width: int, height: int, mode: str = "RGB", image_format: str = "PNG") -> bytes:
    """A crop of a sample photograph; another index is another crop."""
    names = sample_photos.names()
    photo = sample_photos.reference(names[index % len(names)])
    left = 13 * index % (photo.width - width)
    top = 7 * index % (photo.height - height)
    crop = photo.crop((left, top, left + width, top + height)).convert(mode)
    if mode in ("RGBA", "LA"):
        crop.putalpha(Image.linear_gradient("L").resize(crop.size))
    buffer = io.BytesIO()
    crop.save(buffer, image_format)
    return buffer.getvalue()
