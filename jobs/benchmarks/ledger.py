"""Measure what a start and a verify of a large output take: reading its ledger, and joining it with listings.

python jobs/benchmarks/ledger.py [--rows 100000] [--part-rows 256] [--folder DIR]

Parts with every column of a manifest are written into a folder (a temporary one, unless named: then they are kept and
used again). Objects and inputs are listings that a function makes up, so that no million files are needed: what is
measured is our own work, not a store's. Each measurement runs in a process of its own; the memory is what its highest
resident size exceeds that of one that only imports.

The last line is JSON: `rows`, `parts`, `part_bytes` (mean), `read_s` and `read_mib` (`read_ledger`), `bytes_per_row`
(of read_mib), `ask_us` (one look-up), `verify_s` and `verify_mib` (`verify_listings`, inputs included),
`verify_disk_mib`. Seconds ending in `_cpu_s` are of the process's threads together: a busy machine does not raise them.
"""

import argparse
import hashlib
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tss_ray.records import ManifestRow, rows_to_table
from tss_ray.spec import StoreSpec
from tss_ray.storage.inputs import InputItem
from tss_ray.storage.layout import IMAGES, output_key, part_key
from tss_ray.storage.ledger import read_ledger, replace_part
from tss_ray.storage.local import LocalStore
from tss_ray.storage.protocol import ObjectInfo, Store
from tss_ray.storage.stores import open_store
from tss_ray.verify.findings import Report
from tss_ray.verify.listing import verify_listings

_SPEC_HASH = "0" * 16
_BYTES = 123_456
_ASKED = 100_000
_MIB = 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--part-rows", type=int, default=256)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = str(arguments.folder or temporary)
        num_parts, num_bytes = _write_parts(open_store(folder, StoreSpec()), arguments.rows, arguments.part_rows)
        base = _measured(_imported, folder, arguments.rows)
        read = _measured(_read, folder, arguments.rows)
        verified = _measured(_verify, folder, arguments.rows)
    read_mib = read["peak_mib"] - base["peak_mib"]
    line = {
        "rows": arguments.rows,
        "parts": num_parts,
        "part_bytes": round(num_bytes / num_parts),
        "read_s": round(read["seconds"], 2),
        "read_cpu_s": round(read["cpu_s"], 2),
        "read_mib": round(read_mib, 1),
        "bytes_per_row": round(read_mib * _MIB / arguments.rows, 1),
        "ask_us": round(1e6 * read["ask_s"], 2),
        "verify_s": round(verified["seconds"], 2),
        "verify_cpu_s": round(verified["cpu_s"], 2),
        "verify_mib": round(verified["peak_mib"] - base["peak_mib"], 1),
        "verify_disk_mib": round(4 * 16 * arguments.rows / _MIB, 1),
    }
    print(json.dumps(line))


def _key(n: int) -> str:
    """Return an image_key as data sets have them: a shard and a name of 32 digits."""
    return f"shard-{n // 10_000:05d}/{hashlib.md5(str(n).encode(), usedforsecurity=False).hexdigest()}.jpg"


def _write_parts(store: Store, num_rows: int, part_rows: int) -> tuple[int, int]:
    """Write what is not there yet; return the number of parts and of bytes."""
    now = datetime.now(UTC)
    row = ManifestRow(
        image_key="",
        input_uri="",
        spec_hash=_SPEC_HASH,
        status="done",
        out_format="PNG",
        input_bytes=_BYTES,
        output_bytes=_BYTES,
        texture_score=0.4,
        num_steps=7,
        nfe=28,
        device_seconds=0.1,
        started_at=now,
        finished_at=now,
    )
    template = rows_to_table([row] * part_rows)
    num_bytes = 0
    for index, first in enumerate(range(0, num_rows, part_rows)):
        name = part_key(f"{index:016x}")
        if not store.exists(name):
            keys = [_key(n) for n in range(first, min(first + part_rows, num_rows))]
            replace_part(store, name, _filled(template.slice(0, len(keys)), keys))
        num_bytes += Path(store.uri(name)).stat().st_size
    return -(-num_rows // part_rows), num_bytes


def _filled(table: pa.Table, keys: list[str]) -> pa.Table:
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    columns = {
        "image_key": keys,
        "input_uri": [f"s3://bucket/lr/{key}" for key in keys],
        "output_uri": [f"s3://bucket/sr/{output_key(key, 'png')}" for key in keys],
        "input_sha256": digests,
        "output_sha256": digests[::-1],
    }
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), pa.array(values))
    return table


def _measured(measure: Callable[[str, int], dict[str, float]], folder: str, num_rows: int) -> dict[str, float]:
    """Run in a fresh process, whose highest resident size is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_peak, (measure, folder, num_rows))


def _with_peak(measure: Callable[[str, int], dict[str, float]], folder: str, num_rows: int) -> dict[str, float]:
    figures = measure(folder, num_rows)
    return figures | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _imported(folder: str, num_rows: int) -> dict[str, float]:
    """Read one part, so that what Arrow loads late is loaded."""
    store = open_store(folder, StoreSpec())
    store.read(next(store.list("manifest/")).key)
    return {}


def _read(folder: str, num_rows: int) -> dict[str, float]:
    began, cpu = time.perf_counter(), time.process_time()
    names = read_ledger(open_store(folder, StoreSpec()), _SPEC_HASH).names
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    if len(names) != num_rows:
        raise SystemExit(f"{len(names)} names of {num_rows} rows; give another --folder")
    asked = [_key(n) for n in range(0, num_rows, max(1, num_rows // _ASKED))]
    cpu = time.process_time()
    if not all(key in names for key in asked):
        raise SystemExit("a row is not known; this is a bug")
    return {"seconds": seconds, "cpu_s": cpu_s, "ask_s": (time.process_time() - cpu) / len(asked)}


class _ListedStore(LocalStore):
    """Parts of a folder, and objects that are only listed."""

    def __init__(self, root: str, num_rows: int) -> None:
        super().__init__(root)
        self._num_rows = num_rows

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        if prefix != IMAGES:
            yield from super().list(prefix)
            return
        for n in range(self._num_rows):
            yield ObjectInfo(output_key(_key(n), "png"), _BYTES, None)


def _verify(folder: str, num_rows: int) -> dict[str, float]:
    def inputs() -> Iterator[InputItem]:
        for n in range(num_rows):
            yield InputItem(_key(n), "", _BYTES)

    report = Report(folder, _SPEC_HASH, deep=False)
    began, cpu = time.perf_counter(), time.process_time()
    verify_listings(_ListedStore(folder, num_rows), report, inputs)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    if not report.ok:
        told: dict[str, Any] = report.as_json()["findings"]
        raise SystemExit(f"found what is not there: {told}; this is a bug")
    return {"seconds": seconds, "cpu_s": cpu_s}


if __name__ == "__main__":
    main()
