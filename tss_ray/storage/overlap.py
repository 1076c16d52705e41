"""Refusing an output that the next listing of the input would find, or that would overwrite the input."""

import os

from tss_ray.errors import SpecError
from tss_ray.storage.globs import has_magic, split_glob
from tss_ray.storage.layout import IMAGES, MANIFEST, RUN
from tss_ray.storage.uris import Location, check_output_path, parse_uri


def check_output_outside_input(source: str, output: str) -> None:
    """Raise SpecError where the output lies in the input, or the input in a folder that the output writes.

    Local paths are compared with links and ".." resolved, s3 prefixes component by component as they are written.
    """
    target = _components(check_output_path(output))
    where, depth = _root(parse_uri(source))
    looked_at = _components(where)
    inside = target[: len(looked_at)] == looked_at
    # "*.jpg" looks into no folder: an output beside the photographs is out of its sight.
    if inside and (depth is None or len(target) - len(looked_at) + 2 <= depth):
        raise SpecError(f"output {output} lies in the input {source}; choose an output outside of it")
    for folder in (IMAGES, MANIFEST, RUN):
        written = (*target, folder.removesuffix("/"))
        if looked_at[: len(written)] == written:
            raise SpecError(f"input {source} lies in {output}/{folder}, which the output writes; choose another output")


def _root(where: Location) -> tuple[Location, int | None]:
    """Return the folder that is looked at, and how many components deep (None: without end)."""
    exists = where.scheme == "file" and os.path.exists(where.path)
    if has_magic(where.path) and not exists:
        folder, pattern = split_glob(where.path)
        components = pattern.split("/")
        root = Location(where.scheme, where.bucket, folder or ("." if where.scheme == "file" else ""))
        return root, None if "**" in components else len(components)
    return where, None


def _components(where: Location) -> tuple[str, ...]:
    if where.scheme == "file":
        path = os.path.realpath(where.path)
        return ("file", *(part for part in path.split("/") if part))
    return (where.scheme, where.bucket, *where.prefix.split("/")[:-1])
