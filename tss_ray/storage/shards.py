"""Results in shards that a training job reads as they are: WebDataset tars, or Parquet files with the images' bytes.

A shard belongs to one part of the manifest and bears its name, images/part-<16 hex>.tar beside manifest/part-<16
hex>.parquet: it is written first, whole and at once, and holds the part's done rows. So a retry overwrites both, and
a shard without its part is what a crash has left: the next run deletes it.

Sources: the WebDataset format (webdataset, BSD-3-Clause): files of one sample lie next to each other in the tar and
share their name up to the first dot; the `Image` feature of Hugging Face datasets (Apache-2.0): a struct of bytes and
path, told in the schema's metadata.
"""

import dataclasses
import io
import json
import re
import tarfile
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tss_ray.errors import StorageError
from tss_ray.records import MANIFEST_SCHEMA, ManifestRow
from tss_ray.storage.layout import IMAGES, MANIFEST, output_key, part_key, result_key
from tss_ray.storage.protocol import Store

Layout = Literal["webdataset", "parquet"]
_EXTENSION: dict[Layout, str] = {"webdataset": ".tar", "parquet": ".parquet"}
_CONTENT = {".tar": "application/x-tar", ".parquet": "application/vnd.apache.parquet"}
_SHARD = re.compile(rf"{IMAGES}(part-[0-9a-f]{{16}})(\.tar|\.parquet)")
_MEMBER_URI = re.compile(rf"(.*/{_SHARD.pattern})#(.*)", re.DOTALL)
_TOLD = ("image_key", "input_sha256", "out_width", "out_height", "num_steps", "texture_score", "lr_consistency_psnr")
"""Columns of the row that travel with an image; nothing in them changes from one try to the next."""
_DTYPES = {pa.int64(): "int64", pa.float64(): "float64", pa.string(): "string"}
_ROWS_PER_GROUP = 16
_OPEN_SHARDS = 2

Members = dict[str, bytes]
"""Of a tar the images by their names there; of a Parquet file by `image_key`."""


def shard_key(layout: Layout, digest: str) -> str:
    """Return where the shard of a part lies."""
    return f"{IMAGES}part-{digest}{_EXTENSION[layout]}"


def is_shard(key: str) -> bool:
    """Say whether a key is the name of a shard."""
    return _SHARD.fullmatch(key) is not None


def sample_key(image_key: str, image_format: str) -> str:
    """Return what a sample of a tar is called: the image's key without extension, its dots written as %2E."""
    stem = output_key(image_key, image_format).removeprefix(IMAGES).rpartition(".")[0]
    return stem.replace("%", "%25").replace(".", "%2E")


def member_name(shard: str, image_key: str, out_format: str) -> str:
    """Return what an image is called in its shard, by the row's `out_format`."""
    if shard.endswith(".parquet"):
        return image_key
    extension = result_key(image_key, out_format).rpartition(".")[2]
    return f"{sample_key(image_key, out_format.lower())}.{extension}"


def write_shard(
    store: Store, layout: Layout, digest: str, rows: Sequence[ManifestRow], files: Sequence[bytes | None]
) -> list[ManifestRow]:
    """Write the files of the done rows as one shard; return all rows, told where theirs is.

    Where nothing is done no shard is left. `upload_s` is a share of the shard's.
    """
    began, key = time.perf_counter(), shard_key(layout, digest)
    done = [(row, file) for row, file in zip(rows, files, strict=True) if row.status == "done" and file is not None]
    if not done:
        store.delete(key)
        return list(rows)
    store.write(key, _PACK[layout](key, done), _CONTENT[_EXTENSION[layout]])
    upload_s = (time.perf_counter() - began) / len(done)
    return [_placed(store, key, row, upload_s) if row.status == "done" else row for row in rows]


def delete_orphans(store: Store) -> int:
    """Delete the shards whose part was never committed; return how many there were."""
    shards = [info.key for info in store.list(f"{IMAGES}part-") if is_shard(info.key)]
    parts = {info.key for info in store.list(MANIFEST)} if shards else set()
    orphans = [key for key in shards if _part_of(key) not in parts]
    for key in orphans:
        store.delete(key)
    return len(orphans)


def keep_members(store: Store, shard: str, wanted: Collection[str]) -> None:
    """Write a shard again without its other images, whose rows were removed; without any left it is deleted."""
    if not wanted:
        store.delete(shard)
        return
    data = store.read(shard)
    store.write(shard, _KEEP[shard[shard.rindex(".") :]](data, wanted), _CONTENT[shard[shard.rindex(".") :]])


def read_members(shard: str, data: bytes) -> Members:
    """Return the images of a shard. Raises StorageError for what is none."""
    try:
        return _members_of_tar(data) if shard.endswith(".tar") else _members_of_parquet(data)
    except (tarfile.TarError, pa.ArrowException, KeyError) as error:
        raise StorageError(
            f"{shard} is not a readable shard: {error}; delete it and its part, and the next run redoes its images"
        ) from error


def split_member(uri: str) -> tuple[str, str] | None:
    """Return the URI of the shard and the member's name, if a row's `output_uri` names one."""
    found = _MEMBER_URI.fullmatch(uri)
    return (found[1], found[4]) if found else None


class OpenShards:
    """The shards that were read last: rows come by part, so each is read once. For several threads."""

    def __init__(self, store: Store) -> None:
        """Read from this output."""
        self._store, self._lock = store, threading.Lock()
        self._open: OrderedDict[str, Members] = OrderedDict()
        self.num_members: dict[str, int] = {}
        """Of every shard that was read."""

    def members(self, shard: str) -> Members:
        """Return its images. Raises ObjectNotFoundError where there is none, StorageError where it is damaged."""
        with self._lock:
            if shard not in self._open:
                self._open[shard] = read_members(shard, self._store.read(shard))
                self.num_members[shard] = len(self._open[shard])
                if len(self._open) > _OPEN_SHARDS:
                    self._open.popitem(last=False)
            return self._open[shard]


def _placed(store: Store, key: str, row: ManifestRow, upload_s: float) -> ManifestRow:
    member = member_name(key, row.image_key, row.out_format or "")
    return dataclasses.replace(row, output_uri=f"{store.uri(key)}#{member}", output_shard=key, upload_s=upload_s)


def _part_of(shard: str) -> str:
    found = _SHARD.fullmatch(shard)
    return part_key(found[1].removeprefix("part-")) if found else ""


def _pack_tar(key: str, done: Iterable[tuple[ManifestRow, bytes]]) -> bytes:
    def files() -> Iterator[tuple[str, bytes]]:
        for row, file in done:
            name = member_name(key, row.image_key, row.out_format or "")
            yield name, file
            told = {column: getattr(row, column) for column in _TOLD}
            yield f"{name.rpartition('.')[0]}.json", json.dumps(told, ensure_ascii=False).encode()

    return _tar(files())


def _tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _files_of_tar(data: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                yield member.name, file.read()


def _members_of_tar(data: bytes) -> Members:
    return {name: file for name, file in _files_of_tar(data) if not name.endswith(".json")}


def _keep_in_tar(data: bytes, wanted: Collection[str]) -> bytes:
    samples = {name.partition(".")[0] for name in wanted}
    return _tar((name, file) for name, file in _files_of_tar(data) if name.partition(".")[0] in samples)


def _parquet_schema() -> pa.Schema:
    told = [pa.field(name, MANIFEST_SCHEMA.field(name).type) for name in _TOLD]
    image = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    features: dict[str, dict[str, str]] = {"image": {"_type": "Image"}}
    features |= {field.name: {"_type": "Value", "dtype": _DTYPES[field.type]} for field in told}
    return pa.schema([image, *told], {"huggingface": json.dumps({"info": {"features": features}})})


SHARD_SCHEMA = _parquet_schema()
"""Of Parquet shards."""


def _pack_parquet(key: str, done: Iterable[tuple[ManifestRow, bytes]]) -> bytes:
    def rows() -> Iterator[dict[str, object]]:
        for row, file in done:
            path = result_key(row.image_key, row.out_format or "").removeprefix(IMAGES)
            yield {"image": {"bytes": file, "path": path}} | {name: getattr(row, name) for name in _TOLD}

    out, all_rows = io.BytesIO(), list(rows())
    # Groups of a few rows: a reader that shuffles wants some images and not the file.
    with pq.ParquetWriter(out, SHARD_SCHEMA, compression="none") as writer:
        for first in range(0, len(all_rows), _ROWS_PER_GROUP):
            writer.write_table(pa.Table.from_pylist(all_rows[first : first + _ROWS_PER_GROUP], schema=SHARD_SCHEMA))
    return out.getvalue()


def _members_of_parquet(data: bytes) -> Members:
    table = pq.read_table(io.BytesIO(data), columns=["image", "image_key"])
    return {row["image_key"]: row["image"]["bytes"] for row in table.to_pylist()}


def _keep_in_parquet(data: bytes, wanted: Collection[str]) -> bytes:
    table = pq.read_table(io.BytesIO(data))
    kept = table.take([i for i, key in enumerate(table["image_key"].to_pylist()) if key in wanted])
    out = io.BytesIO()
    pq.write_table(kept, out, compression="none", row_group_size=_ROWS_PER_GROUP)
    return out.getvalue()


_PACK = {"webdataset": _pack_tar, "parquet": _pack_parquet}
_KEEP = {".tar": _keep_in_tar, ".parquet": _keep_in_parquet}
