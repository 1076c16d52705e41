"""Images that lie in shards: WebDataset tars, and Parquet files with a column of image bytes.

Listing reads a tar's headers and of a Parquet file the names alone. What it yields says where the bytes lie, so that an
image is fetched without its shard: `tar+<shard>#<offset>:<bytes>` is a range of the tar,
`parquet+<shard>#<group>:<row>` a row of a row group, whose images are fetched together and kept for their neighbours.

Sources: POSIX.1-1988 ustar, whose header of 512 bytes stands before every member; the WebDataset format (webdataset,
BSD-3-Clause); the `Image` feature of Hugging Face datasets (Apache-2.0), a struct of bytes and path.
"""

import io
import logging
import re
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tss_ray.errors import InputError, ObjectNotFoundError, StorageError
from tss_ray.storage.layout import has_image_extension
from tss_ray.storage.local import check_size
from tss_ray.storage.protocol import Store
from tss_ray.storage.ranges import open_ranges

log = logging.getLogger(__name__)

Shards = Literal["webdataset", "parquet"]
EXTENSION: dict[Shards, str] = {"webdataset": ".tar", "parquet": ".parquet"}
_SCHEME: dict[Shards, str] = {"webdataset": "tar+", "parquet": "parquet+"}
_URI = re.compile(r"(tar|parquet)\+(.+)#(\d+):(\d+)", re.DOTALL)
_HEADER_BYTES = tarfile.BLOCKSIZE
_IMAGE_COLUMNS = ("image", "img", "bytes", "image_bytes", "jpg", "jpeg", "png", "webp")
_NAME_COLUMNS = ("image_key", "__key__", "key", "path", "file_name", "filename", "name", "id")
_OPEN_GROUPS = 2
_CHANGED = "another image lies there than was listed: the shard was written again; start the job again"


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a shard."""

    name: str
    """As the shard calls it."""
    uri: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image lies in a shard. tar: offset and bytes of its data; parquet: row group and row in it."""

    kind: str
    shard: str
    first: int
    second: int


def place(uri: str) -> Place | None:
    """Return what a member's URI says; None for any other."""
    found = _URI.fullmatch(uri)
    return Place(found[1], found[2], int(found[3]), int(found[4])) if found else None


def members(layout: Shards, store: Store, key: str, size_bytes: int) -> Iterator[Member]:
    """Yield the images of a shard in its order; what is not named like an image is left out, and the log says so.

    Raises InputError for what is no shard of this layout, StorageError for what cannot be read.
    """
    shard = store.uri(key)
    try:
        with open_ranges(store, key, size_bytes) as file:
            yield from (_of_tar if layout == "webdataset" else _of_parquet)(shard, file)
    except (tarfile.TarError, pa.ArrowException) as error:
        packed = "; unpack a compressed tar first" if layout == "webdataset" else ""
        raise InputError(
            f"{shard} cannot be read as {layout}: {error}; remove it, or write it again{packed}"
        ) from error


def _of_tar(shard: str, file: io.BufferedReader) -> Iterator[Member]:
    num_left_out = 0
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if not member.isreg() or member.issparse() or not has_image_extension(member.name):
                num_left_out += not member.isdir()
                continue
            uri = f"{_SCHEME['webdataset']}{shard}#{member.offset_data}:{member.size}"
            yield Member(member.name, uri, member.size)
    if num_left_out:
        log.info("%s: %d files that are not named like images are left out", shard, num_left_out)


def _of_parquet(shard: str, file: io.BufferedReader) -> Iterator[Member]:
    parquet = pq.ParquetFile(file, pre_buffer=False)  # here and below no thread of Arrow's calls back into our file
    image, name = image_column(shard, parquet.schema_arrow), _name_column(parquet.schema_arrow)
    number = 0
    for group in range(parquet.num_row_groups):
        num_rows = parquet.metadata.row_group(group).num_rows
        names = _names(parquet, group, name) if name else [None] * num_rows
        for row, told in enumerate(names):
            yield Member(str(number) if told is None else told, f"{_SCHEME['parquet']}{shard}#{group}:{row}", None)
            number += 1
    log.debug("%s: images in column %s, names in %s", shard, image, name or "none: numbered")


def image_column(shard: str, schema: pa.Schema) -> str:
    """Return the column that holds images: bytes, or a struct with bytes. Raises InputError where that is not clear."""
    able = [field.name for field in schema if _holds_bytes(field.type)]
    named = [name for name in _IMAGE_COLUMNS if name in able]
    if len(able) == 1 or named:
        return named[0] if named else able[0]
    raise InputError(
        f"{shard}: {'none' if not able else ', '.join(able)} of the columns hold images; name the one that does "
        f"{_IMAGE_COLUMNS[0]!r}"
    )


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _name_column(schema: pa.Schema) -> str | None:
    """Return the column, or the field of a struct, that names images; None where they are numbered."""
    for name in _NAME_COLUMNS:
        if name in schema.names and not _holds_bytes(schema.field(name).type):
            return name
    structs = (field for field in schema if _holds_bytes(field.type) and pa.types.is_struct(field.type))
    return next((f"{field.name}.path" for field in structs if field.type.get_field_index("path") >= 0), None)


def _names(parquet: pq.ParquetFile, group: int, column: str) -> list[str | None]:
    table = parquet.read_row_group(group, columns=[column], use_threads=False)
    values: list[object] = table.column(0).to_pylist()
    names = [next(iter(value.values())) if isinstance(value, dict) else value for value in values]
    return [None if name is None else str(name) for name in names]


class OpenGroups:
    """The row groups that were read last: an image's neighbours ask for the same. For several threads."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[str, int], pa.ChunkedArray] = OrderedDict()

    def images(self, store: Store, key: str, group: int) -> pa.ChunkedArray:
        """Return the column of a group's images. Raises StorageError."""
        where = (store.uri(key), group)
        with self._lock:
            if where not in self._open:
                self._open[where] = _images(store, key, group)
                if len(self._open) > _OPEN_GROUPS:
                    self._open.popitem(last=False)
            return self._open[where]


_GROUPS = OpenGroups()


def _images(store: Store, key: str, group: int) -> pa.ChunkedArray:
    shard = store.uri(key)
    try:
        with open_ranges(store, key, object_bytes(store, key)) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False)
            if group >= parquet.num_row_groups:
                raise ObjectNotFoundError(f"{shard}: {_CHANGED}")
            column = image_column(shard, parquet.schema_arrow)
            return parquet.read_row_group(group, columns=[column], use_threads=False).column(0)
    except (pa.ArrowException, InputError) as error:
        raise StorageError(f"{shard} cannot be read: {error}; write it again") from error


def object_bytes(store: Store, key: str) -> int:
    """Return an object's size. Raises ObjectNotFoundError."""
    found = next((info.size_bytes for info in store.list(key) if info.key == key), None)
    if found is None:
        raise ObjectNotFoundError(f"{store.uri(key)} does not exist; correct the input")
    return found


def read_member(where: Place, store: Store, key: str, max_bytes: int | None) -> bytes:
    """Return an image's bytes. Raises ImageError "too_large", ObjectNotFoundError, and StorageError for the rest."""
    if where.kind == "tar":
        check_size(where.shard, where.second, max_bytes)
        data = store.read_range(key, where.first - _HEADER_BYTES, where.second + _HEADER_BYTES)
        _check_header(where, data[:_HEADER_BYTES])
        return data[_HEADER_BYTES:]
    images = _GROUPS.images(store, key, where.first)
    if where.second >= len(images):
        raise ObjectNotFoundError(f"{where.shard}: {_CHANGED}")
    value = images[where.second].as_py()
    data = (value["bytes"] if isinstance(value, dict) else value) or b""  # which the decoder calls empty
    check_size(where.shard, len(data), max_bytes)
    return cast(bytes, data)


def _check_header(where: Place, header: bytes) -> None:
    """Raise ObjectNotFoundError where the bytes before a member's data are not the header of one of its size."""
    try:
        size_bytes = tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape").size
    except tarfile.HeaderError:
        size_bytes = -1
    if size_bytes != where.second:
        raise ObjectNotFoundError(f"{where.shard}: {_CHANGED}")
