"""Where things lie in an output: the one place that knows.

images/<image_key, its extension replaced by the format's; kept where the format is "same" and can be written>
images/part-<16 hex>.tar, .parquet                            in place of those: results in shards (`shards`)
manifest/part-<16 hex>.parquet                                committed rows (`ledger`)
run/<spec_hash>/keys-000000.parquet                           what a run has to do (`key_list`)
run/summary.json                                              counts; there exactly while all is done (`summary`)
run/overwritten/part-<16 hex>.parquet                         rows whose objects are yet to be deleted (`overwrite`)
run/<spec_hash>/promises-000000.parquet                       which steps were promised (`promises`)
run/spec.json                                                 the settings of the last run
run/runs.json                                                 when each run began, with how many devices (`runs`)
run/lease.json                                                who is writing, or wrote last (`lease`)
run/progress.json                                             how far the last run is, or came (`progress`)
report/report.html, report.json                               what `tss-ray report` says of the rows
"""

import re

from tss_ray.errors import ImageError

IMAGES = "images/"
MANIFEST = "manifest/"
RUN = "run/"
REPORT = "report/"
SPEC_KEY = "run/spec.json"
SUMMARY_KEY = "run/summary.json"
RUNS_KEY = "run/runs.json"
OVERWRITTEN = "run/overwritten/"
LEASE_KEY = "run/lease.json"
PROGRESS_KEY = "run/progress.json"

IMAGE_EXTENSIONS = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jxl", ".ppm")
)
MAX_COMPONENT_BYTES = 255
"""What file systems allow for one name; kept on S3 too, so that an output can be copied to a folder."""

_PART = re.compile(rf"{MANIFEST}part-[0-9a-f]{{16}}\.parquet")
_KEY_LIST = re.compile(rf"{RUN}[0-9a-f]{{16}}/keys-\d+\.parquet")
_EXTENSION = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "tiff": ".tif", "avif": ".avif"}
_WRITTEN = {extension: name for name, extension in _EXTENSION.items()} | {".jpeg": "jpeg", ".tiff": "tiff"}
_LONGEST_EXTENSION = max(len(extension) for extension in _EXTENSION.values())


def has_image_extension(key: str) -> bool:
    """Say whether a key ends like an image, in either case."""
    stem, dot, extension = key.rpartition(".")
    return stem.rpartition("/")[2] != "" and dot + extension.lower() in IMAGE_EXTENSIONS


def output_format(image_key: str, image_format: str) -> str:
    """Return what the image is written as: under "same" what its extension says, or png where that has no writer.

    By the extension and not by the bytes, so that every output name, and every collision, is known before the run.
    """
    if image_format != "same":
        return image_format
    return _WRITTEN.get(_extension(image_key), "png")


def output_key(image_key: str, image_format: str) -> str:
    """Return where the image's result goes. Raises ImageError "bad_key" as `check_key` does."""
    check_key(image_key)
    if image_format == "same" and _extension(image_key) in _WRITTEN:
        return IMAGES + image_key
    image_format = output_format(image_key, image_format)
    return IMAGES + _stem(image_key) + _EXTENSION[image_format]


def result_key(image_key: str, out_format: str) -> str:
    """Return where the result lies that a row tells of, by the row's `out_format`."""
    return output_key(image_key, out_format.lower())


def part_key(digest: str) -> str:
    """Return the name of a committed part."""
    return f"{MANIFEST}part-{digest}.parquet"


def is_part(key: str) -> bool:
    """Say whether a key is the name of a committed part."""
    return _PART.fullmatch(key) is not None


def is_key_list(key: str) -> bool:
    """Say whether a key is the name of a file of a run's key list."""
    return _KEY_LIST.fullmatch(key) is not None


def keys_key(spec_hash: str, index: int) -> str:
    """Return the name of the index-th file of a run's key list."""
    return f"{RUN}{spec_hash}/keys-{index:06d}.parquet"


def promises_prefix(spec_hash: str) -> str:
    """Return what the names of all promises of a spec begin with."""
    return f"{RUN}{spec_hash}/promises-"


def promises_key(spec_hash: str, index: int) -> str:
    """Return the name of the index-th file of promises."""
    return f"{promises_prefix(spec_hash)}{index:06d}.parquet"


def check_key(image_key: str) -> None:
    """Raise ImageError "bad_key" for a key whose result would have no safe, portable name below the output."""
    try:
        components = image_key.encode().split(b"/")
    except UnicodeEncodeError as error:
        raise _bad(image_key, "is not valid unicode") from error
    if any(ord(character) < 32 or ord(character) == 127 for character in image_key):
        raise _bad(image_key, "holds a control character")
    if "\\" in image_key:
        # Windows, and some S3 servers, take it for a slash.
        raise _bad(image_key, "holds a backslash")
    if any(component in (b"", b".", b"..") for component in components):
        raise _bad(image_key, 'has an empty, "." or ".." component')
    components[-1] = _stem(image_key).rpartition("/")[2].encode() + b"." * _LONGEST_EXTENSION
    if max(map(len, components)) > MAX_COMPONENT_BYTES:
        raise _bad(image_key, f"has a component whose result's name is over {MAX_COMPONENT_BYTES} bytes")


def _extension(image_key: str) -> str:
    return "." + image_key.rpartition(".")[2].lower() if has_image_extension(image_key) else ""


def _stem(image_key: str) -> str:
    return image_key.rpartition(".")[0] if has_image_extension(image_key) else image_key


def _bad(image_key: str, why: str) -> ImageError:
    shown = image_key if len(image_key) <= 80 else image_key[:80] + "…"
    return ImageError("bad_key", f"key {shown!r} {why}; rename the object")
