"""What grows with the number of images: the real graph over many logical nodes, with models that do nothing.

    python jobs/benchmarks/scale.py [--quick] [--images 10000,100000] [--nodes 4] [--out out/bench]

What is measured, each size in a process and on a Ray cluster of its own
- `driver_mib`: the most that the driver held while the graph ran, and `driver_before_mib` what it held before: Ray, its
  workers' handles, the plan. Sampled every 0.2 s from the process's resident pages.
- `store_mib`: the most that the object stores of all nodes held. An image carries `--side-px`² · 3 bytes of pixels from
  the operator that would decode it to the actor that would enlarge it.
- `graph_s`: from the first block to the last committed part, `blocks`, and from both what one block costs the driver.
- `list_s`, `ledger_s`, `ledger_mib`: writing the key list of a listing that is made up in memory, and reading the
  ledger back as every start does; `row_bytes`: of a committed row, on disk. Rows of real images are fuller.

Nodes are raylets on this machine, with 2 logical CPUs and one actor each; every core of the machine is shared by all.
`growth_bytes`: what one more image costs the driver, from the smallest size to the largest.
The last line of stdout is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from measured import Peak, Row, report
from ray._private.internal_api import get_memory_info_reply, get_state_from_address  # no public way to a store's use
from ray.cluster_utils import Cluster
from ray.data import DataContext

from tss_ray.pipeline.blocks import block_sizes
from tss_ray.pipeline.graph import run_graph
from tss_ray.pipeline.monitor import start_monitor
from tss_ray.pipeline.resources import plan_resources
from tss_ray.pipeline.rows import PreparedImage, prepared_images, prepared_table
from tss_ray.records import ManifestRow, rows_to_table
from tss_ray.spec import JobSpec, load_spec
from tss_ray.storage.inputs import InputItem
from tss_ray.storage.key_list import write_key_list
from tss_ray.storage.lease import hold_lease
from tss_ray.storage.ledger import read_ledger
from tss_ray.storage.stores import open_store

_MIB = 2**20
_STORE_BYTES = 100 * _MIB
_LOOK_S = 0.2


@dataclass(frozen=True)
class Paint:
    """In the place of `Prepare`: rows with black pixels."""

    side_px: int

    def __call__(self, keys: pa.Table) -> pa.Table:
        """Return the block's rows."""
        pixels = np.zeros((self.side_px, self.side_px, 3), np.uint8)
        now = datetime.now(UTC)
        rows = [
            ManifestRow(
                image_key=k["image_key"],
                input_uri=k["uri"],
                spec_hash="0",
                started_at=now,
                in_width=self.side_px,
                in_height=self.side_px,
            )
            for k in keys.to_pylist()
        ]
        return prepared_table([PreparedImage(row, pixels) for row in rows])


class Nothing:
    """In the place of `Upscaler`: every image is done at once."""

    def __init__(self, spec: JobSpec, use_gpu: bool, threads: int, monitor: Any) -> None:  # noqa: ANN401
        """Take nothing."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the block's rows."""
        return rows_to_table(
            [replace(image.row, status="done", finished_at=datetime.now(UTC)) for image in prepared_images(block)]
        )


def own_resident_mib() -> float:
    """Return what this process alone holds; Linux."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


def store_mib() -> float:
    """Return what the object stores of all nodes hold."""
    state = get_state_from_address()
    replies = [
        get_memory_info_reply(state, node["NodeManagerAddress"], node["NodeManagerPort"])
        for node in ray.nodes()
        if node["Alive"]
    ]
    return float(sum(reply.store_stats.object_store_bytes_used for reply in replies) / _MIB)


@contextmanager
def many_nodes(count: int) -> Iterator[None]:
    """Run a cluster of a head without CPUs and so many nodes."""
    head = {"num_cpus": 0, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(count):
        cluster.add_node(num_cpus=2, object_store_memory=_STORE_BYTES)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def measure(num_images: int, num_nodes: int, side_px: int) -> Row:
    """Run one size; return its row."""
    row: Row = {"images": num_images, "nodes": num_nodes, "side_px": side_px}
    with tempfile.TemporaryDirectory() as folder, many_nodes(num_nodes):
        spec = load_spec(None, {"input": folder, "output": folder})
        store = open_store(spec.output, spec.store)
        began = time.perf_counter()
        key_list = write_key_list(store, "0", "png", lambda: _listing(num_images), lambda key: False)
        row["list_s"] = time.perf_counter() - began
        plan = plan_resources(spec.compute, [2.0] * num_nodes, 0)
        DataContext.get_current().wait_for_min_actors_s = 600
        monitor = start_monitor()
        row["driver_before_mib"] = own_resident_mib()
        began = time.perf_counter()
        with hold_lease(store) as lease, Peak(own_resident_mib, _LOOK_S) as driver, Peak(store_mib, _LOOK_S) as stores:
            parts = run_graph(spec, "0", key_list, plan, monitor, lease.run_id, None, Paint(side_px), Nothing)
            deque(parts, maxlen=0)
        row |= {"graph_s": time.perf_counter() - began, "driver_mib": driver.most, "store_mib": stores.most}
        row["blocks"] = sum(1 for _ in block_sizes(num_images, spec.compute.block_images, plan.actors))
        began, before = time.perf_counter(), own_resident_mib()
        ledger = read_ledger(store, "0")
        assert len(ledger.names) == num_images, f"{len(ledger.names)} rows of {num_images} images"
        row |= {"ledger_s": time.perf_counter() - began, "ledger_mib": own_resident_mib() - before}
        parts_on_disk = list((Path(folder) / "manifest").glob("*.parquet"))
        row["row_bytes"] = sum(path.stat().st_size for path in parts_on_disk) / num_images
        return row | {"images_per_s": num_images / row["graph_s"], "block_ms": 1000 * row["graph_s"] / row["blocks"]}


def _listing(num_images: int) -> Iterator[InputItem]:
    for number in range(num_images):
        key = f"{number // 1000:06d}/{number:09d}.png"
        yield InputItem(key, f"file:///{key}", 1)


def main() -> int:
    """Measure every size in a process of its own, report, and return the exit code."""
    parser = argparse.ArgumentParser(description="What grows with the number of images.")
    parser.add_argument("--images", help="sizes; default: 10000,100000, quick: 500,2000")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--side-px", type=int, default=64, help="of the pixels that an image carries")
    parser.add_argument("--out", type=Path, help="folder for scale.parquet and scale.md")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.nodes, arguments.side_px)))
        return 0
    sizes = [int(n) for n in (arguments.images or ("500,2000" if arguments.quick else "10000,100000")).split(",")]
    rows: list[Row] = []
    for size in sizes:
        command = [sys.executable, __file__, "--one", str(size), "--nodes", str(arguments.nodes)]
        done = subprocess.run(
            [*command, "--side-px", str(arguments.side_px)], stdout=subprocess.PIPE, text=True, check=True
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], file=sys.stderr)
    figures: Row = {f"driver_mib_{row['images']}": row["driver_mib"] for row in rows}
    figures |= {f"block_ms_{row['images']}": row["block_ms"] for row in rows}
    more = rows[-1]["images"] - rows[0]["images"]
    figures["growth_bytes"] = (rows[-1]["driver_mib"] - rows[0]["driver_mib"]) * _MIB / more if more else None
    print(report(arguments.out, "scale", rows, figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
