"""What a job's `input` means: a folder, file, glob, list file, s3:// or sample://, as a stream of items."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from tss_ray.errors import InputError, ObjectNotFoundError
from tss_ray.spec import InputLayout, StoreSpec
from tss_ray.storage.globs import compile_glob, has_magic, literal_start, split_glob
from tss_ray.storage.input_shards import EXTENSION, Shards, members, object_bytes, place, read_member
from tss_ray.storage.layout import IMAGE_EXTENSIONS, has_image_extension
from tss_ray.storage.protocol import ObjectInfo
from tss_ray.storage.shards import read_members, split_member
from tss_ray.storage.stores import open_store, store_at
from tss_ray.storage.uri_lists import is_list, listed_keys
from tss_ray.storage.uris import Location, parse_uri


@dataclass(frozen=True, slots=True)
class InputItem:
    """One thing to upscale."""

    image_key: str
    """Stable identity: the key relative to the input's folder or prefix."""
    uri: str
    """What `read_uri` takes; absolute."""
    size_bytes: int | None
    """None for what a list names: nobody has looked yet."""
    alike: str | None = None
    """Equal for inputs that may be byte-identical, as far as the listing tells; None: it tells nothing."""


def list_inputs(source: str, spec: StoreSpec, layout: InputLayout = "files") -> Iterator[InputItem]:
    """Yield every object that `source` names, lazily, whatever its extension: what is no image becomes a row.

    layout: of shards the images in them, in place of the shards; other objects are then left out.
    Raises InputError where there is nothing, or, once all has been yielded, where nothing had the extension of an
    image (a wrong folder, most likely; a list file is taken at its word), and for what is no shard of the layout.
    Raises StorageError for what cannot be listed, SpecError for a URI that cannot be parsed.
    """
    where = parse_uri(source)
    num_items = num_images = 0
    for item in _items(where, spec) if layout == "files" else _members(where, spec, layout):
        _check_unicode(item.image_key)
        num_items += 1
        num_images += has_image_extension(item.image_key) or item.size_bytes is None
        yield item
    if not num_items and layout != "files":
        raise InputError(
            f"no image found in {EXTENSION[layout]} files at {source}; correct the path, or --input-layout"
        )
    if not num_items:
        raise InputError(f"nothing found at {source} (hidden files are skipped); correct the path or the pattern")
    if not num_images:
        known = " ".join(sorted(extension[1:] for extension in IMAGE_EXTENSIONS))
        raise InputError(
            f"none of the {num_items} objects at {source} is named like an image ({known}); correct the path, or "
            "name the objects in a .txt list to have them tried all the same"
        )


def read_uri(uri: str, spec: StoreSpec, max_bytes: int | None = None) -> bytes:
    """Return the bytes of any item's `uri`, or of a row's `output_uri`, also where that names an image of a shard.

    Raises ImageError "too_large" over `max_bytes`, ObjectNotFoundError, and StorageError for the rest.
    """
    if member := split_member(uri):
        return _member(*member, spec)
    if inside := place(uri):
        folder, name = _split_object(parse_uri(inside.shard))
        return read_member(inside, open_store(folder, spec), name, max_bytes)
    where = parse_uri(uri)
    folder, name = _split_object(where)
    return open_store(folder, spec).read(name, max_bytes)


def _members(where: Location, spec: StoreSpec, layout: Shards) -> Iterator[InputItem]:
    """Yield the images of every shard; their keys begin with the shard's, without its extension."""
    for item in _items(where, spec, EXTENSION[layout]):
        if not item.image_key.lower().endswith(EXTENSION[layout]):
            continue
        folder, name = _split_object(parse_uri(item.uri))
        store = open_store(folder, spec)
        size_bytes = item.size_bytes or object_bytes(store, name)
        start = item.image_key[: -len(EXTENSION[layout])]
        for member in members(layout, store, name, size_bytes):
            alike = None if member.size_bytes is None else str(member.size_bytes)
            yield InputItem(f"{start}/{member.name.removeprefix('./')}", member.uri, member.size_bytes, alike)


def _member(shard: str, name: str, spec: StoreSpec) -> bytes:
    """Return an image of a shard, which is read whole."""
    members = read_members(shard, read_uri(shard, spec))
    if name not in members:
        raise ObjectNotFoundError(f"{shard} does not hold {name}; run tss-ray verify --deep on that output")
    return members[name]


def _items(where: Location, spec: StoreSpec, shard: str = "") -> Iterator[InputItem]:
    """Yield what a location names; an object with the extension of a shard is no list."""
    kind = _kind(where, spec)
    if kind == "object" and is_list(where.path) and not (shard and where.path.lower().endswith(shard)):
        for image_key, uri in listed_keys(where, spec):
            yield InputItem(image_key, uri, None)
        return
    if kind == "object":
        yield _one(where, spec)
        return
    start, pattern = "", None
    if kind == "glob":
        folder, wanted = split_glob(where.path)
        where = Location(where.scheme, where.bucket, folder or ("." if where.scheme == "file" else ""))
        start, pattern = literal_start(wanted), compile_glob(wanted)
    store = store_at(where, spec)
    for info in store.list(start):
        if pattern is None or pattern.fullmatch(info.key):
            yield InputItem(info.key, store.uri(info.key), info.size_bytes, _alike(where, info))


def _alike(where: Location, info: ObjectInfo) -> str:
    """Tell by the size, on S3 also by the ETag; a file's is made of its time of change, which says nothing here."""
    return f"{info.size_bytes} {info.etag}" if where.scheme == "s3" else str(info.size_bytes)


def _one(where: Location, spec: StoreSpec) -> InputItem:
    folder, name = _split_object(where)
    store = open_store(folder, spec)
    # A listing leaves a hidden file out; this one was asked for by name, so it is tried without a size.
    size_bytes = next((info.size_bytes for info in store.list(name) if info.key == name), None)
    return InputItem(name.rpartition("/")[2], store.uri(name), size_bytes)


def _kind(where: Location, spec: StoreSpec) -> str:
    """Say whether a location is a "folder", an "object" or a "glob"; what exists as written is never a glob."""
    if where.scheme == "file":
        if os.path.isdir(where.path):
            return "folder"
        if os.path.exists(where.path):
            return "object"
        if has_magic(where.path):
            return "glob"
        raise InputError(f"{where.path} does not exist; correct the path")
    if not where.path or where.path.endswith("/"):
        return "folder"
    if where.scheme == "s3" and next(store_at(where, spec).list(), None) is not None:
        return "folder"
    folder, name = _split_object(where)
    if open_store(folder, spec).exists(name):
        return "object"
    if has_magic(where.path):
        return "glob"
    raise InputError(f"nothing found at {where}; correct the name")


def _split_object(where: Location) -> tuple[str, str]:
    """Return the URI of the folder that holds an object, and the object's key there."""
    if where.scheme == "file":
        folder, name = os.path.split(os.path.abspath(where.path))
        return folder, name
    # Of the whole bucket, so that workers share one store whatever the keys.
    return f"{where.scheme}://{where.bucket}", where.path


def _check_unicode(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError as error:
        shown = key.encode(errors="backslashreplace").decode()
        raise InputError(f"the file name {shown} is not UTF-8; rename the file (convmv does whole trees)") from error


__all__ = ["InputItem", "list_inputs", "read_uri"]
