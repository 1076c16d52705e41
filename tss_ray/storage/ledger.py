"""What is done: rows as committed Parquet parts, each written once, whole, under a name of its own."""

import hashlib
import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from tss_ray.errors import EngineError, SpecError, StorageError
from tss_ray.records import ManifestRow, rows_to_table
from tss_ray.storage.fingerprints import NameSet
from tss_ray.storage.layout import MANIFEST, SPEC_KEY, part_key
from tss_ray.storage.protocol import Store

_READERS = 16
"""Parts fetched at once: a ledger of 100,000 parts on S3 would take half an hour one after the other."""


def write_part(store: Store, rows: list[ManifestRow]) -> str | None:
    """Commit the rows that are not pending; return the part's key, or None where nothing is left to commit.

    The name is made of the spec_hash and all image_keys, pending ones too, so that a retry of the same rows overwrites
    itself whatever became of them the first time. Raises EngineError for rows that no honest graph makes: two
    of one image_key, or of two specs.
    """
    finished = [row for row in rows if row.status != "pending"]
    if not finished:
        return None
    keys = sorted(row.image_key for row in rows)
    if len({row.spec_hash for row in rows}) > 1 or len(set(keys)) < len(keys):
        raise EngineError("rows of one part share an image_key or differ in spec_hash; this is a bug, please report it")
    # NUL parts the names: "a","bc" is not "ab","c".
    digest = hashlib.sha256("\0".join((rows[0].spec_hash, *keys)).encode()).hexdigest()[:16]
    out = io.BytesIO()
    pq.write_table(rows_to_table(finished), out, compression="zstd")
    name = part_key(digest)
    store.write(name, out.getvalue(), "application/vnd.apache.parquet")
    return name


def read_done(store: Store, spec_hash: str) -> NameSet:
    """Return the image_keys that have a committed row. Raises SpecError where rows of another spec lie there."""
    return NameSet(_done_keys(store, spec_hash))


def read_rows(store: Store, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the committed parts as tables of MANIFEST_SCHEMA, or of some of its columns, in order of their names.

    Raises StorageError for a part that is not Parquet.
    """
    for _, table in _parts(store, columns):
        yield table


def _done_keys(store: Store, spec_hash: str) -> Iterator[str]:
    for name, table in _parts(store, ["image_key", "spec_hash"]):
        others = set(table["spec_hash"].unique().to_pylist()) - {spec_hash}
        if others:
            raise SpecError(
                f"the output holds rows of another spec ({', '.join(sorted(others))} in {store.uri(name)}; this one is "
                f"{spec_hash}); choose another output folder, or run with the settings of {store.uri(SPEC_KEY)}"
            )
        yield from table["image_key"].to_pylist()


def _parts(store: Store, columns: list[str] | None) -> Iterator[tuple[str, pa.Table]]:
    """Yield (key, table) part by part, a few fetched ahead."""
    names = (info.key for info in store.list(MANIFEST) if info.key.endswith(".parquet"))
    ahead: deque[tuple[str, Future[pa.Table]]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="ledger") as threads:
        for name in names:
            ahead.append((name, threads.submit(_read, store, name, columns)))
            if len(ahead) > _READERS:
                done, table = ahead.popleft()
                yield done, table.result()
        while ahead:
            done, table = ahead.popleft()
            yield done, table.result()


def _read(store: Store, name: str, columns: list[str] | None) -> pa.Table:
    try:
        return pq.read_table(io.BytesIO(store.read(name)), columns=columns)
    except pa.ArrowException as error:
        raise StorageError(
            f"{store.uri(name)} is not a readable part: {error}; delete it, and the next run redoes its images"
        ) from error
