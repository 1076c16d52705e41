"""What every benchmark of speed shares: rounds side by side, the machine in words, Parquet and a Markdown table."""

import json
import os
import platform
import statistics
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

Row = dict[str, Any]


def alternate(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every way once a round, in alternating order (A B, B A, …), and return what each returned, by round.

    What else runs on the machine then slows all alike.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways) if number % 2 == 0 else reversed(list(ways)):
            found[name].append(ways[name]())
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def machine() -> Row:
    """Return what a figure must not be read without."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": gpu,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@contextmanager
def own_ray(
    num_cpus: int | None, store_bytes: int, memory_bytes: int | None = None, num_gpus: int | None = None
) -> Iterator[None]:
    """Run a quiet Ray of our own while the block runs, even where another runs on the machine."""
    import ray

    ray.init(
        address="local",
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        object_store_memory=store_bytes,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _memory=memory_bytes,
    )
    try:
        yield
    finally:
        ray.shutdown()


def report(out: Path | None, name: str, rows: Sequence[Row], figures: Row) -> str:
    """Write `name`.parquet and `name`.md into `out` (nothing if None); return the last line: one JSON object."""
    where = machine()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([row | where for row in rows]), out / f"{name}.parquet")
        (out / f"{name}.md").write_text(_markdown(name, rows, figures, where), encoding="utf-8")
    return json.dumps({key: _short(value) for key, value in figures.items()})


def _markdown(name: str, rows: Sequence[Row], figures: Row, where: Row) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"# {name}", "", ", ".join(f"{key} {value}" for key, value in where.items() if value is not None), ""]
    lines += [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(str(_short(row.get(column, ''))) for column in columns)} |" for row in rows]
    lines += ["", *(f"- {key}: {_short(value)}" for key, value in figures.items()), ""]
    return "\n".join(lines)


def _short(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def available_mib() -> int:
    """Return the memory that new processes may take, in MiB; Linux."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:"))


def own_mib() -> int:
    """Return what this process and all below it hold, in MiB; shared pages are divided among those who share; Linux."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended since
                stat = (folder / "stat").read_text(encoding="ascii", errors="replace")
                parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(map(_share_kib, family)) // 1024


def _share_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


class Peak:
    """The most of what `look` returned while the block ran: memory of this process and all below it, if not told."""

    def __init__(self, look: Callable[[], float] = own_mib, every_s: float = 1.0) -> None:
        """Look so often."""
        self._look, self._every_s, self._over = look, every_s, threading.Event()
        self.most = 0.0

    def __enter__(self) -> "Peak":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.most = max(self.most, self._look())
            if self._over.wait(self._every_s):
                return
