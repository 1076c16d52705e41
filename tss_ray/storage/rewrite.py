"""Taking rows back: a part that holds them is written again without them, under its own name, in one atomic write.

So a reader sees an image's old row or none, and the new row only in a part of another name that is written after the
old row is gone: a crash in between leaves nothing doubled. A row that was taken back is simply not there, and whichever
run comes next does its image.
"""

import hashlib
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tss_ray.errors import ImageError, ObjectNotFoundError
from tss_ray.storage.fingerprints import digest128
from tss_ray.storage.layout import result_key
from tss_ray.storage.ledger import read_part, read_parts, replace_part
from tss_ray.storage.parallel import ordered_map
from tss_ray.storage.protocol import Store
from tss_ray.storage.shards import keep_members, member_name

_Row = dict[str, Any]
_COLUMNS = ["image_key", "status", "out_format", "output_sha256", "finished_at", "output_shard"]


def take_back_quarantined(store: Store, kinds: frozenset[str]) -> int:
    """Remove the quarantined rows of these kinds (none named: of all); return how many there were."""

    def without(name: str) -> int:
        table = read_part(store, name)
        wanted = _quarantined(table, kinds)
        replace_part(store, name, table.filter(pc.invert(wanted)))
        return int(pc.sum(wanted).as_py() or 0)

    parts = read_parts(store, ["status", "error_kind"])
    names = (name for name, table in parts if pc.any(_quarantined(table, kinds)).as_py())
    return sum(ordered_map(without, names))


def drop_doubled(store: Store, repeated: frozenset[bytes]) -> int:
    """Leave one row of every image whose digest is `repeated`; return how many rows were removed.

    Such rows appear only if a run was taken over between looking at its lease and writing a part. The row that its
    object agrees with stays; if the object agrees with none, none stays, and the image is done again.
    """
    found: dict[str, list[tuple[str, int, _Row]]] = defaultdict(list)
    for name, table in read_parts(store, _COLUMNS):
        at = [i for i, key in enumerate(table["image_key"].to_pylist()) if digest128(key) in repeated]
        for i, row in zip(at, table.take(at).to_pylist(), strict=True):
            found[row["image_key"]].append((name, i, row))
    dropped: dict[str, set[int]] = defaultdict(set)
    for rows in found.values():
        kept = _kept(store, [row for _, _, row in rows])
        for name, i, row in rows:
            if row is not kept:
                dropped[name].add(i)
    for name, indices in dropped.items():
        table = read_part(store, name)
        kept = table.take([i for i in range(table.num_rows) if i not in indices])
        replace_part(store, name, kept)
        for shard in table["output_shard"].drop_null().unique().to_pylist():
            left = [row for row in kept.select(_COLUMNS).to_pylist() if row["output_shard"] == shard]
            keep_members(store, shard, {member_name(shard, row["image_key"], row["out_format"]) for row in left})
    return sum(map(len, dropped.values()))


def _quarantined(table: pa.Table, kinds: frozenset[str]) -> pa.ChunkedArray:
    wanted = pc.equal(table["status"], "quarantined")
    if kinds:
        wanted = pc.and_(wanted, pc.is_in(table["error_kind"], value_set=pa.array(sorted(kinds), pa.string())))
    return wanted


def _kept(store: Store, rows: list[_Row]) -> _Row | None:
    """Return the row that the object agrees with, or the latest one if none of them claims an object."""
    latest_first = sorted(rows, key=lambda row: row["finished_at"] or datetime.min.replace(tzinfo=UTC), reverse=True)
    done = [row for row in latest_first if row["status"] == "done"]
    if not done:
        return latest_first[0]
    if done[0]["output_shard"]:  # each row's own shard has what it tells of
        return done[0]
    try:
        data = store.read(result_key(done[0]["image_key"], done[0]["out_format"]))
    except (ImageError, ObjectNotFoundError):
        return None
    digest = hashlib.sha256(data).hexdigest()
    return next((row for row in done if row["output_sha256"] == digest), None)
