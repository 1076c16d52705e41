"""What is done: rows as committed Parquet parts, each written once, whole, under a name of its own."""

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tss_ray.errors import EngineError, SpecError, StorageError
from tss_ray.records import ManifestRow, rows_to_table
from tss_ray.storage.fingerprints import NameSet
from tss_ray.storage.layout import MANIFEST, SPEC_KEY, part_key
from tss_ray.storage.parallel import ordered_map
from tss_ray.storage.protocol import Store

_PARQUET = "application/vnd.apache.parquet"


def write_part(store: Store, rows: list[ManifestRow]) -> str | None:
    """Commit the rows that are not pending; return the part's key, or None where nothing is left to commit.

    The name is made of the spec_hash and all image_keys, pending ones too, so that a retry of the same rows overwrites
    itself whatever became of them the first time. Raises EngineError for rows that no honest graph makes: two
    of one image_key, or of two specs.
    """
    finished = [row for row in rows if row.status != "pending"]
    if not finished:
        return None
    name = part_key(part_digest(rows))
    replace_part(store, name, rows_to_table(finished))
    return name


def part_digest(rows: list[ManifestRow]) -> str:
    """Return 16 hex digits that rows of these keys are committed under. Raises EngineError as `write_part` does."""
    keys = sorted(row.image_key for row in rows)
    if len({row.spec_hash for row in rows}) > 1 or len(set(keys)) < len(keys):
        raise EngineError("rows of one part share an image_key or differ in spec_hash; this is a bug, please report it")
    # NUL parts the names: "a","bc" is not "ab","c".
    return hashlib.sha256("\0".join((rows[0].spec_hash, *keys)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is committed: the names at 16 bytes each, the rest as counts."""

    names: NameSet
    """image_keys that have a row, whatever its status."""
    parts: int
    done: int
    quarantined: dict[str, int]
    """Number of rows by error_kind."""
    output_bytes: int

    @property
    def num_rows(self) -> int:
        """Rows, doubled ones counted as often as they stand there: `names.repeated` tells which those are."""
        return self.done + sum(self.quarantined.values())


def read_ledger(store: Store, spec_hash: str) -> Ledger:
    """Return what is committed. Raises SpecError where rows of another spec lie there."""
    names, kinds, parts, output_bytes = NameSet(), Counter[str](), 0, 0
    for name, table in read_parts(store, ["image_key", "spec_hash", "status", "error_kind", "output_bytes"]):
        others = set(table["spec_hash"].unique().to_pylist()) - {spec_hash}
        if others:
            raise SpecError(
                f"the output holds rows of another spec ({', '.join(sorted(others))} in {store.uri(name)}; this one is "
                f"{spec_hash}); choose another output folder, run with the settings of {store.uri(SPEC_KEY)}, or start "
                "anew with --overwrite"
            )
        names.update(table["image_key"].to_pylist())
        quarantined = table.filter(pc.equal(table["status"], "quarantined"))
        kinds.update(kind or "unknown" for kind in quarantined["error_kind"].to_pylist())
        output_bytes += pc.sum(table["output_bytes"]).as_py() or 0
        parts += 1
    num_quarantined = sum(kinds.values())
    names.freeze()
    return Ledger(names, parts, names.num_added - num_quarantined, dict(sorted(kinds.items())), output_bytes)


def read_rows(store: Store, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the committed parts as tables of MANIFEST_SCHEMA, or of some of its columns, in order of their names.

    Raises StorageError for a part that is not Parquet.
    """
    for _, table in read_parts(store, columns):
        yield table


def read_parts(
    store: Store, columns: list[str] | None = None, folder: str = MANIFEST
) -> Iterator[tuple[str, pa.Table]]:
    """As `read_rows`, each with its key; a few parts are fetched ahead."""
    names = (info.key for info in store.list(folder) if info.key.endswith(".parquet"))
    return ordered_map(lambda name: (name, read_part(store, name, columns)), names)


def read_part(store: Store, name: str, columns: list[str] | None = None) -> pa.Table:
    """Return one part. Raises StorageError if it is none."""
    try:
        return pq.read_table(io.BytesIO(store.read(name)), columns=columns)
    except pa.ArrowException as error:
        raise StorageError(
            f"{store.uri(name)} is not a readable part: {error}; delete it, and the next run redoes its images"
        ) from error


def replace_part(store: Store, name: str, table: pa.Table) -> None:
    """Write a part again with fewer rows, in one atomic write under its name; without any left it is deleted."""
    if not table.num_rows:
        store.delete(name)
        return
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    store.write(name, out.getvalue(), _PARQUET)
