"""How well the graph and its actors scale: with a model of known cost that sleeps, and with real compute.

    python jobs/benchmarks/scaling.py [--quick] [--out out/bench] [--actors 1,2,4,8,16,32,64] [--compute]
    python jobs/benchmarks/scaling.py --actors 1,16,64 --sleep-ms 1000 --images 240 --tiny-images 0

What is measured
- `sleeping`: the product's graph (key list, blocks, actor pool, commit of Parquet parts) in which an image costs
  `--sleep-ms` of an actor, one image after the other, and no core. Every actor has `--images` images to do, so the
  ideal time is images · sleep whatever the number of actors; efficiency is that / the time taken.
- `tiny`: `--tiny-images` images of 10 ms on 16 actors, in blocks as a job has them; the same efficiency, and images/s.
- `compute` (with --compute): the product's job on the embedded model and the sample photographs, 7 steps, with 1 and
  with 2 actors of 1 thread. On fewer cores than actors it says what sharing costs, not how it scales.

The protocol
- Ray gets eight logical CPUs, whatever the machine has, and actors share two of them: sleeping takes none. Some eight
  blocks are then prepared at once, where a cluster of that many actors would prepare more. Fetching and decoding are
  left out (dataplane.py has them), and nothing is encoded: an actor's process imports no torch.
- Blocks shrink towards the end of a job, and the smallest go out one after the other: what is lost there, and while the
  first ones go out, is seconds whatever the job's length. A job of seconds shows these, one of minutes the rest.
- All actors are up before the first block goes out. The clock runs from the first image that any actor begins to the
  last that one ends, by their own clocks: starting processes is not in it, distributing blocks and the tail are.
- Rounds go up and down the numbers of actors; a figure is the median over the rounds.
- A worker's process takes about --mib-per-actor MiB; numbers of actors that do not fit into the free memory are left
  out, and a line says so.

The last line of stdout is one JSON object: efficiency_N for every N, tiny_efficiency_16, tiny_images_per_s,
compute_speedup_2; null is what was not measured.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from measured import Row, available_mib, own_ray, report
from ray.data import DataContext

from tss_ray.pipeline.graph import run_graph
from tss_ray.pipeline.monitor import MonitorLink, Tally, start_monitor
from tss_ray.pipeline.resources import ResourcePlan
from tss_ray.pipeline.rows import PreparedImage, prepared_images, prepared_table
from tss_ray.records import ManifestRow, rows_to_table
from tss_ray.spec import JobSpec, load_spec
from tss_ray.storage.inputs import InputItem
from tss_ray.storage.key_list import write_key_list
from tss_ray.storage.lease import hold_lease
from tss_ray.storage.stores import open_store

TINY_ACTORS, TINY_S = 16, 0.01
_STORE_BYTES = 200_000_000
_CPUS, _ACTORS_CPUS = 8, 2
"""Logical ones: Ray starts a worker for each when it starts."""
_MEMORY_BYTES = 2**40
"""Logical too: actors declare what a real one takes, and 64 of those would not fit."""


@dataclass(frozen=True)
class PassOn:
    """In the place of `Prepare`: rows without pixels."""

    def __call__(self, keys: pa.Table) -> pa.Table:
        """Return the block's rows."""
        rows = [ManifestRow(image_key=k["image_key"], input_uri=k["uri"], spec_hash="0") for k in keys.to_pylist()]
        return prepared_table([PreparedImage(row) for row in rows])


class Sleeper:
    """In the place of `Upscaler`: calls share one device, which sleeps so many µs for an image as `spec.seed` says."""

    def __init__(self, spec: JobSpec, use_gpu: bool, threads: int, monitor: Any) -> None:  # noqa: ANN401
        """Take the seconds of an image."""
        self._image_s, self._link, self._device = spec.seed / 1e6, MonitorLink(monitor), threading.Lock()

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the block's rows, each after its time on the device."""
        return rows_to_table([self._work(image.row) for image in prepared_images(block)])

    def _work(self, row: ManifestRow) -> ManifestRow:
        with self._device:
            began = datetime.now(UTC)
            time.sleep(self._image_s)
            ended = datetime.now(UTC)
        self._link.count(Tally(1, 0, 0))
        return replace(row, status="done", started_at=began, finished_at=ended)


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    counts = _that_fit(arguments.actors, arguments.mib_per_actor)
    rows: list[Row] = []
    figures: Row = {f"efficiency_{count}": None for count in arguments.actors}
    figures |= {"tiny_efficiency_16": None, "tiny_images_per_s": None, "compute_speedup_2": None}
    with own_ray(_CPUS, _STORE_BYTES, _MEMORY_BYTES):
        for number in range(arguments.rounds):
            for actors in counts if number % 2 == 0 else counts[::-1]:
                rows.append(
                    run_sleeping(actors, arguments.images * actors, arguments.sleep_ms / 1000) | {"round": number}
                )
                print(rows[-1], file=sys.stderr)
        if TINY_ACTORS in counts and arguments.tiny_images:
            rows.append(run_sleeping(TINY_ACTORS, arguments.tiny_images, TINY_S) | {"what": "tiny", "round": 0})
            print(rows[-1], file=sys.stderr)
    for actors in counts:
        found = [row["efficiency"] for row in rows if row["what"] == "sleeping" and row["actors"] == actors]
        figures[f"efficiency_{actors}"] = statistics.median(found)
    for row in rows:
        if row["what"] == "tiny":
            figures |= {"tiny_efficiency_16": row["efficiency"], "tiny_images_per_s": row["images_per_s"]}
    if arguments.compute:
        rows += [run_compute(actors, arguments.steps) for actors in (1, 2)]
        figures["compute_speedup_2"] = rows[-2]["seconds"] / rows[-1]["seconds"]
    print(report(arguments.out, "scaling", rows, figures))
    return 0


def run_sleeping(actors: int, num_images: int, image_s: float) -> Row:
    """Run the graph over images that sleep; return its row. Ray must be up."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        spec = load_spec(None, {"input": folder, "output": folder, "seed": round(image_s * 1e6)})
        store = open_store(spec.output, spec.store)
        items = [InputItem(f"{number:07d}.png", f"file:///{number:07d}.png", 1) for number in range(num_images)]
        key_list = write_key_list(store, "0", "png", lambda: items, lambda key: False)
        resources = ResourcePlan(actors, int(1000 * _ACTORS_CPUS / actors) / 1000, 0.0, 1, 0.5, 0.25)
        DataContext.get_current().wait_for_min_actors_s = 600
        monitor = start_monitor()
        with hold_lease(store) as lease:
            deque(run_graph(spec, "0", key_list, resources, monitor, lease.run_id, None, PassOn(), Sleeper), maxlen=0)
        ray.kill(monitor)
        times = pq.read_table(Path(folder) / "manifest", columns=["started_at", "finished_at"])
    taken_s = (max(times["finished_at"].to_pylist()) - min(times["started_at"].to_pylist())).total_seconds()
    return {
        "what": "sleeping",
        "actors": actors,
        "images": times.num_rows,
        "image_s": image_s,
        "seconds": taken_s,
        "efficiency": times.num_rows * image_s / actors / taken_s,
        "images_per_s": times.num_rows / taken_s,
        "with_start_s": time.perf_counter() - began,
    }


def run_compute(actors: int, num_steps: int) -> Row:
    """Run the product's job on the sample photographs; seconds from the first image begun to the last one ended."""
    from tss_ray.pipeline.job import run_job

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"compute.actors": actors, "compute.threads_per_actor": 1, "compute.block_images": 1}
        budget = {"budget.policy": "fixed", "budget.num_steps": num_steps}
        run_job(load_spec(None, {"input": "sample://photos", "output": folder} | settings | budget))
        times = pq.read_table(Path(folder) / "manifest", columns=["started_at", "finished_at"])
    taken_s = (max(times["finished_at"].to_pylist()) - min(times["started_at"].to_pylist())).total_seconds()
    about = {"what": "compute", "actors": actors, "images": times.num_rows, "seconds": taken_s}
    return about | {"images_per_s": times.num_rows / taken_s, "with_start_s": time.perf_counter() - began}


def _that_fit(counts: list[int], mib_per_actor: int) -> list[int]:
    free = available_mib()
    fitting = [count for count in counts if count * mib_per_actor <= free]
    for count in sorted(set(counts) - set(fitting)):
        print(f"{count} actors left out: {count} · {mib_per_actor} MiB of {free} MiB free", file=sys.stderr)
    return fitting or [1]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Efficiency against the number of actors.")
    parser.add_argument("--actors", help="numbers of actors; default: 1,2,4,8,16,32,64, quick: 1,2")
    parser.add_argument("--images", type=int, help="for each actor; default: 128, quick: 8")
    parser.add_argument("--sleep-ms", type=float, default=100.0, help="what an image costs")
    parser.add_argument("--tiny-images", type=int, help="0: none; default: 10000, quick: 0")
    parser.add_argument("--rounds", type=int, default=1, help="up and down the numbers of actors")
    parser.add_argument("--mib-per-actor", type=int, default=150, help="of a worker's process that sleeps")
    parser.add_argument("--compute", action="store_true", help="the real model too, with 1 and 2 actors")
    parser.add_argument("--steps", type=int, default=7, help="of the real model")
    parser.add_argument("--out", type=Path, help="folder for scaling.parquet and scaling.md")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    arguments = parser.parse_args()
    usual: dict[str, tuple[Any, Any]] = {
        "actors": ("1,2,4,8,16,32,64", "1,2"),
        "images": (128, 8),
        "tiny_images": (10_000, 0),
    }
    for name, (default, quick) in usual.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, quick if arguments.quick else default)
    arguments.actors = [int(count) for count in arguments.actors.split(",")]
    return arguments


if __name__ == "__main__":
    sys.exit(main())
