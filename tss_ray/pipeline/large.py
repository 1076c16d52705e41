"""Images too large to be held: told apart, decoded one at a time, and read again by whoever streams them.

Their pixels never cross the object store. The actor fetches the file again and lets a child decode it into a file that
is mapped here, so that codecs stay out of the actor and its memory holds only the pages that it looks at.
"""

import contextlib
import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tss_ray.errors import ImageError
from tss_ray.imaging.apart import Child
from tss_ray.imaging.colour import to_srgb
from tss_ray.imaging.decode import DecodedImage, decode, num_px
from tss_ray.imaging.metadata import NO_METADATA
from tss_ray.pipeline.rows import PreparedImage
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec
from tss_ray.storage.inputs import read_uri

Decode = Callable[[bytes, int, bool], DecodedImage]
"""(bytes, most pixels, whether the first frame of several may pass): `imaging.decode.decode`, here or in a child."""

_ALONE = threading.Lock()


def is_streamed(spec: JobSpec, row: ManifestRow) -> bool:
    """Say whether an image is streamed: by its size, unless a correction or a shard has to see all of it first."""
    waits = spec.output_layout != "files" or (spec.colour.correction == "mean" and not row.left_alone_by)
    return (row.in_width or 0) * (row.in_height or 0) >= spec.large.from_px and not waits


@contextlib.contextmanager
def large_alone(spec: JobSpec, data: bytes) -> Iterator[None]:
    """Let one large image of this process be decoded and looked at after the other; small ones pass."""
    if spec.limits.max_input_px < spec.large.from_px or num_px(data) < spec.large.from_px:
        yield
        return
    with _ALONE:
        yield


def decoded(spec: JobSpec, data: bytes, decode: Decode) -> DecodedImage:
    """Decode as the spec says; what is not to be written is not carried further."""
    encode = spec.encode
    image = decode(data, spec.limits.max_input_px, spec.decode.animation == "first")
    if encode.icc == "srgb":
        image = replace(image, pixels=to_srgb(image.pixels, image.icc_profile), icc_profile=None)
    return image if encode.metadata == "keep" else replace(image, metadata=NO_METADATA)


@contextlib.contextmanager
def pixels_again(spec: JobSpec, image: PreparedImage) -> Iterator[PreparedImage]:
    """Read a streamed image's file again; while the block runs the image has its pixels, mapped from a hidden file.

    Raises StorageError, and ImageError: of kind "input_changed" if the file is not the one that was looked at.
    """
    with tempfile.TemporaryDirectory(prefix="tss-ray-large-") as folder:
        source, pixels = Path(folder, "source"), Path(folder, "pixels.npy")
        data = read_uri(image.row.input_uri, spec.store, spec.limits.max_input_bytes)
        if hashlib.sha256(data).hexdigest() != image.row.input_sha256:
            raise ImageError("input_changed", f"{image.row.input_uri} changed during the run; run again to take it up")
        source.write_bytes(data)
        del data
        with Child() as child:
            child.call(decode_to_file, spec, source, pixels)
        source.unlink()
        yield replace(image, pixels=np.load(pixels, mmap_mode="r"))


def decode_to_file(spec: JobSpec, source: Path, pixels: Path) -> None:
    """Decode a file into an array of numpy's format; in a child of its own."""
    np.save(pixels, decoded(spec, source.read_bytes(), decode).pixels)
