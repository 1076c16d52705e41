"""Whether anybody waits for a slower device: the real graph on two actors, one of them 4 times slower.

    python jobs/benchmarks/heterogeneous.py [--quick] [--out out/bench]

What is measured
- The product's graph (key list, blocks, actor pool, commit of parts), as in scaling.py, in which an image costs
  `--sleep-ms` of one actor and `--slower` times that of the other, and no core.
- `over_ideal`: the time over that of the ideal split, in which both end together: images · sleep / (1 + 1/slower).
  The clock runs from the first image that any actor begins to the last that one ends.
- `slow_share`: the part of the images that the slow actor did; the ideal is 1 / (1 + slower).
- `freed_s`: how long before that end the fast actor's (logical) GPU had been given back.

A figure is the median over `--rounds`. The last line of stdout is one JSON object.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from measured import Row, own_ray, report
from ray.data import DataContext
from scaling import PassOn

from tss_ray.pipeline.graph import run_graph
from tss_ray.pipeline.monitor import start_monitor
from tss_ray.pipeline.resources import ResourcePlan
from tss_ray.pipeline.rows import prepared_images
from tss_ray.records import rows_to_table
from tss_ray.spec import JobSpec, load_spec
from tss_ray.storage.inputs import InputItem
from tss_ray.storage.key_list import write_key_list
from tss_ray.storage.lease import hold_lease
from tss_ray.storage.stores import open_store

SPEEDS = "speeds"
"""In the output folder: a folder whose files are named by the µs of an image; an actor takes one and keeps to it."""
_STORE_BYTES = 200_000_000
_LOOK_S = 0.2


class Uneven:
    """In the place of `Upscaler`: its calls share one device, whose speed is the next that is left in SPEEDS."""

    def __init__(self, spec: JobSpec, use_gpu: bool, threads: int, monitor: Any) -> None:  # noqa: ANN401
        """Take a speed: the slowest that nobody has, or spec.seed µs where all are taken."""
        self._image_s, self._device = spec.seed / 1e6, threading.Lock()
        for path in sorted((Path(spec.output) / SPEEDS).glob("*"), key=lambda p: -int(p.name.partition("-")[0])):
            with suppress(FileNotFoundError):
                path.unlink()
                self._image_s = int(path.name.partition("-")[0]) / 1e6
                break
        self._name = f"{self._image_s:g} s on {ray.get_runtime_context().get_actor_id()}"

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the block's rows, each after its time on the device."""
        rows = []
        for image in prepared_images(block):
            with self._device:
                began = datetime.now(UTC)
                time.sleep(self._image_s)
                ended = datetime.now(UTC)
            rows.append(replace(image.row, status="done", started_at=began, finished_at=ended, device=self._name))
        return rows_to_table(rows)


def run_uneven(plan: ResourcePlan, num_images: int, speeds_s: list[float], wait_s: float = 600) -> pa.Table:
    """Run the graph on actors of these speeds (later ones have the last); return its rows. Ray must be up.

    wait_s: how long the first actors may take to come up, before the first block goes out.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / SPEEDS).mkdir()
        for number, speed in enumerate(speeds_s):
            (Path(folder) / SPEEDS / f"{round(speed * 1e6)}-{number}").touch()
        spec = load_spec(None, {"input": folder, "output": folder, "seed": round(speeds_s[-1] * 1e6)})
        store = open_store(spec.output, spec.store)
        items = [InputItem(f"{number:07d}.png", f"file:///{number:07d}.png", 1) for number in range(num_images)]
        key_list = write_key_list(store, "0", "png", lambda: items, lambda key: False)
        DataContext.get_current().wait_for_min_actors_s = wait_s
        monitor = start_monitor()
        with hold_lease(store) as lease:
            deque(run_graph(spec, "0", key_list, plan, monitor, lease.run_id, None, PassOn(), Uneven), maxlen=0)
        ray.kill(monitor)
        return pq.read_table(Path(folder) / "manifest", columns=["image_key", "started_at", "finished_at", "device"])


@contextmanager
def free_gpus() -> Iterator[list[tuple[datetime, float]]]:
    """Note how many logical GPUs nobody has, every _LOOK_S while the block runs."""
    seen: list[tuple[datetime, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            seen.append((datetime.now(UTC), ray.available_resources().get("GPU", 0.0)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def seconds_free(seen: list[tuple[datetime, float]], ended: datetime) -> float:
    """Return for how many seconds before `ended` at least one GPU was free without a break."""
    since = ended
    for when, free in reversed([look for look in seen if look[0] <= ended]):
        if free < 1:
            break
        since = when
    return (ended - since).total_seconds()


def measure(num_images: int, image_s: float, slower: float) -> Row:
    """Run once; return the row."""
    plan = ResourcePlan(2, 0.5, 1.0, 1, 0.5, 0.25)
    with free_gpus() as seen:
        rows = run_uneven(plan, num_images, [image_s * slower, image_s])
    ended = max(rows["finished_at"].to_pylist())
    taken_s = (ended - min(rows["started_at"].to_pylist())).total_seconds()
    slow = sum(name.startswith(f"{image_s * slower:g} ") for name in rows["device"].to_pylist())
    ideal_s = num_images * image_s / (1 + 1 / slower)
    return {
        "images": rows.num_rows,
        "image_s": image_s,
        "slower": slower,
        "seconds": taken_s,
        "ideal_s": ideal_s,
        "over_ideal": taken_s / ideal_s,
        "slow_share": slow / num_images,
        "freed_s": seconds_free(seen, ended),
    }


def main() -> int:
    """Measure, report, and return the exit code."""
    parser = argparse.ArgumentParser(description="Two actors, one slower: the time over that of the ideal split.")
    parser.add_argument("--images", type=int, help="default: 800, quick: 100")
    parser.add_argument("--sleep-ms", type=float, default=50.0, help="what an image costs the fast actor")
    parser.add_argument("--slower", type=float, default=4.0, help="times, of the other")
    parser.add_argument("--rounds", type=int, help="default: 2, quick: 1")
    parser.add_argument("--out", type=Path, help="folder for heterogeneous.parquet and heterogeneous.md")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    arguments = parser.parse_args()
    num_images = arguments.images or (100 if arguments.quick else 800)
    rows: list[Row] = []
    with own_ray(4, _STORE_BYTES, num_gpus=2):
        for number in range(arguments.rounds or (1 if arguments.quick else 2)):
            rows.append(measure(num_images, arguments.sleep_ms / 1000, arguments.slower) | {"round": number})
            print(rows[-1], file=sys.stderr)
    figures: Row = {
        name: statistics.median(row[name] for row in rows) for name in ("over_ideal", "slow_share", "freed_s")
    }
    print(report(arguments.out, "heterogeneous", rows, figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
