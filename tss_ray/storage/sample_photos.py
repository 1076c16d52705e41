"""sample://photos: photographs that scikit-image's wheel carries, reduced four times, with their originals.

They let a first run need no data and no network, and give it references to be measured against. As scikit-image's
documentation says: astronaut, hubble_deep_field (NASA) and rocket (SpaceX) are public domain, chelsea, coffee and
retina are CC0, motorcycle_left is from Middlebury's stereo set (Scharstein et al., GCPR 2014), without a licence of
its own. The three JPEG files (hubble_deep_field, retina, rocket) carry their compression into the reference.
"""

import functools
import io
from collections.abc import Iterator
from importlib.resources import files

from PIL import Image

from tss_ray.errors import ObjectNotFoundError, StorageError
from tss_ray.storage.local import check_size, whole_range
from tss_ray.storage.protocol import ObjectInfo, Versioned

SCALE = 4
_FILES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)


def names() -> tuple[str, ...]:
    """Return the photographs' names, sorted; their keys are these with ".png"."""
    return tuple(file.rpartition(".")[0] for file in _FILES)


def reference(name: str) -> Image.Image:
    """Return the original as RGB, cropped at the right and below to a multiple of 4 px.

    Raises ObjectNotFoundError for a name that is not one of `names()`.
    """
    if name not in names():
        raise ObjectNotFoundError(f"there is no sample photograph {name!r}; choose of {', '.join(names())}")
    # Not skimage.data's loaders: they go to the network for what a wheel lacks.
    file = files("skimage") / "data" / _FILES[names().index(name)]
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ObjectNotFoundError(f"scikit-image holds no {file.name}; reinstall scikit-image>=0.25") from error
    with Image.open(io.BytesIO(data)) as image:
        width, height = (side - side % SCALE for side in image.size)
        return image.convert("RGB").crop((0, 0, width, height))


@functools.cache
def reduced_png(name: str) -> bytes:
    """Return the reference reduced by 4 with Pillow's antialiased BICUBIC, as PNG."""
    image = reference(name)
    out = io.BytesIO()
    image.resize((image.width // SCALE, image.height // SCALE), Image.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


class SampleStore:
    """The reduced photographs as a read-only store."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for name in names():
            if f"{name}.png".startswith(prefix):
                yield ObjectInfo(f"{name}.png", len(reduced_png(name)), None)

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        if not self.exists(key):
            raise ObjectNotFoundError(f"{self.uri(key)} does not exist; choose of {', '.join(names())}, with .png")
        data = reduced_png(key.removesuffix(".png"))
        check_size(self.uri(key), len(data), max_bytes)
        return data

    def read_range(self, key: str, first: int, length: int) -> bytes:
        return whole_range(self.uri(key), self.read(key)[first : first + length], length)

    def write(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        raise StorageError(f"{self.uri(key)} is read-only; choose a folder or s3://bucket/prefix as the output")

    def write_file(self, key: str, path: str, content_type: str = "application/octet-stream") -> None:
        self.write(key, b"")

    def read_version(self, key: str) -> Versioned | None:
        return Versioned(self.read(key), key) if self.exists(key) else None

    def swap(self, key: str, data: bytes, version: str | None) -> str | None:
        self.write(key, data)
        return None

    def exists(self, key: str) -> bool:
        return key.endswith(".png") and key.removesuffix(".png") in names()

    def delete(self, key: str) -> None:
        self.write(key, b"")

    def uri(self, key: str) -> str:
        return f"sample://photos/{key}"

    def check_readable(self) -> None:
        reference(names()[0])

    def check_writable(self) -> None:
        self.write("", b"")
