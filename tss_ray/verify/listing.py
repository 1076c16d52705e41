"""What listings can prove: every input has one row, every row that says done its object, and every object a row.

Names are compared as 64-bit fingerprints, in tables on disk (`spill`), and only what is amiss is named, in a second
pass. Of 100 million names, two share a fingerprint with a chance of 3e-4, which would be reported as a doubled row.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tss_ray.errors import StorageError
from tss_ray.storage.fingerprints import fingerprint64
from tss_ray.storage.inputs import InputItem
from tss_ray.storage.layout import IMAGES, MANIFEST, result_key
from tss_ray.storage.ledger import read_part
from tss_ray.storage.parallel import ordered_map
from tss_ray.storage.protocol import Store, is_hidden
from tss_ray.verify.findings import EXAMPLES, Kind, Report
from tss_ray.verify.spill import NUM_BUCKETS, Spill, doubled, join

_COLUMNS = ["image_key", "spec_hash", "status", "out_format", "output_shard", "output_bytes", "input_bytes"]

Row = dict[str, object]
ListInputs = Callable[[], Iterable[InputItem]]


class Suspects:
    """Fingerprints of what is amiss: all are counted, some are kept to be named."""

    def __init__(self, report: Report) -> None:
        """Count into this report."""
        self._report = report
        self._kept: dict[Kind, set[int]] = {}

    def add(self, kind: Kind, prints: NDArray[np.uint64]) -> None:
        """Count findings."""
        if len(prints):
            self._report.counts[kind] += len(prints)
            kept = self._kept.setdefault(kind, set())
            kept.update(prints[: EXAMPLES - len(kept)].tolist())

    def name(self, kinds: tuple[Kind, ...], named: Iterable[tuple[str, int]]) -> None:
        """Name what was kept of these kinds, once each, of (key, fingerprint) pairs, read no further than necessary."""
        wanted = {kind: self._kept[kind] for kind in kinds if self._kept.get(kind)}
        for key, fingerprint in named if wanted else ():
            for kind, prints in list(wanted.items()):
                if fingerprint in prints:
                    prints.discard(fingerprint)
                    self._report.name(kind, key)
                    if not prints:
                        del wanted[kind]
            if not wanted:
                return


def verify_listings(store: Store, report: Report, list_items: ListInputs | None) -> None:
    """Compare rows, objects and inputs (None: leave inputs out) and add what is found to the report."""
    suspects = Suspects(report)
    with tempfile.TemporaryDirectory(prefix="tss-ray-verify-") as folder:
        tables = [Spill(Path(folder), name) for name in ("row-objects", "objects", "rows", "inputs")]
        row_objects, objects, rows, inputs = tables
        # Rows first: while a job runs, what a row names is there when the objects are listed.
        _spill_rows(store, report, row_objects, rows)
        with ThreadPoolExecutor(2, thread_name_prefix="verify") as pool:
            lists = [pool.submit(_spill_objects, store, objects)]
            if list_items is not None:
                lists.append(pool.submit(_spill_inputs, list_items, inputs))
            for listed in lists:
                listed.result()
        for table in tables:
            table.close()
        for index in range(NUM_BUCKETS):
            missing, extra, sizes = join(row_objects.bucket(index), objects.bucket(index))
            suspects.add("missing_object", np.unique(missing))
            suspects.add("extra_object", extra)
            suspects.add("object_size", np.unique(sizes))
            of_keys = rows.bucket(index)
            suspects.add("doubled_row", doubled(of_keys))
            if list_items is not None:
                gone, without_row, changed = join(of_keys, inputs.bucket(index))
                suspects.add("gone_input", np.unique(gone))
                suspects.add("missing_row", without_row)
                suspects.add("changed_input", np.unique(changed))
    report.objects, report.inputs = objects.num_records, None if list_items is None else inputs.num_records
    _name(store, suspects, list_items)


def read_rows(store: Store, columns: list[str], report: Report | None = None) -> Iterator[Row]:
    """Yield every row's columns; parts that cannot be read, or hold rows of another spec, go to the report."""

    def read(name: str) -> tuple[str, list[Row] | str]:
        try:
            return name, read_part(store, name, columns).to_pylist()
        except StorageError as error:
            return name, str(error)

    names = (info.key for info in store.list(MANIFEST) if info.key.endswith(".parquet"))
    for name, rows in ordered_map(read, names):
        if isinstance(rows, str):
            if report is not None:
                report.add("unreadable_part", name, rows)
            continue
        if report is not None and any(row["spec_hash"] != report.spec_hash for row in rows):
            report.add("other_spec", name)
        yield from rows


def object_key(row: Row) -> str:
    """Return the key of a done row's object; several rows may have one shard."""
    if row["output_shard"] is not None:
        return str(row["output_shard"])
    return result_key(str(row["image_key"]), str(row["out_format"]))


def _spill_rows(store: Store, report: Report, row_objects: Spill, rows: Spill) -> None:
    for row in read_rows(store, _COLUMNS, report):
        report.rows += 1
        rows.add(fingerprint64(str(row["image_key"])), _size(row["input_bytes"]))
        if row["status"] != "done":
            report.quarantined += 1
            continue
        report.done += 1
        key = object_key(row)
        if is_hidden(key):  # no listing shows it
            if not store.exists(key):
                report.add("missing_object", str(row["image_key"]))
            continue
        row_objects.add(fingerprint64(key), None if row["output_shard"] else _size(row["output_bytes"]))


def _spill_objects(store: Store, objects: Spill) -> None:
    for info in store.list(IMAGES):
        objects.add(fingerprint64(info.key), info.size_bytes)


def _spill_inputs(list_items: ListInputs, inputs: Spill) -> None:
    for item in list_items():
        inputs.add(fingerprint64(item.image_key), item.size_bytes)


def _size(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _name(store: Store, suspects: Suspects, list_items: ListInputs | None) -> None:
    columns = ["image_key", "status", "out_format", "output_shard"]
    done = (row for row in read_rows(store, columns) if row["status"] == "done")
    by_object = ((str(row["image_key"]), fingerprint64(object_key(row))) for row in done)
    suspects.name(("missing_object", "object_size"), by_object)
    keys = (str(row["image_key"]) for row in read_rows(store, ["image_key"]))
    suspects.name(("doubled_row", "gone_input", "changed_input"), ((key, fingerprint64(key)) for key in keys))
    suspects.name(("extra_object",), ((info.key, fingerprint64(info.key)) for info in store.list(IMAGES)))
    if list_items is not None:
        suspects.name(("missing_row",), ((i.image_key, fingerprint64(i.image_key)) for i in list_items()))
