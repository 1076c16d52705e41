"""One tiny actor that everybody can reach: counts for the display, the word to stop, and the crash journal."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tss_ray.pipeline.journal import CrashJournal, Trial
from tss_ray.pipeline.meters import meters
from tss_ray.spec import TelemetrySpec
from tss_ray.telemetry.log import configure
from tss_ray.telemetry.names import BLOCKS, RETRIES


@dataclass(frozen=True)
class Tally:
    """What has happened so far. For the display only: a retried block counts again, the manifest does not."""

    done: int = 0
    quarantined: int = 0
    steps: int = 0
    device_seconds: float = 0.0

    @property
    def finished(self) -> int:
        """Images that have become rows."""
        return self.done + self.quarantined

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


class Monitor:
    """Wrapped into an actor by `start_monitor`; holds a few numbers, one flag, and one line per block in flight."""

    def __init__(self, run_id: str = "") -> None:
        """Start at zero."""
        self._run_id, self._tally, self._stopping = run_id, Tally(), False
        self._journal, self._meters = CrashJournal(_node_lives), meters()

    def run_id(self) -> str:
        """Return which run this is."""
        return self._run_id

    def add(self, tally: Tally) -> None:
        """Count more."""
        self._tally += tally

    def tally(self) -> Tally:
        """Return the counts so far."""
        return self._tally

    def stop(self) -> None:
        """Ask everybody to finish what has begun and to begin nothing."""
        self._stopping = True

    def stopping(self) -> bool:
        """Return whether somebody asked to stop."""
        return self._stopping

    def exchange(self, tally: Tally) -> bool:
        """Count more, and return whether somebody asked to stop."""
        self.add(tally)
        return self._stopping

    def begin(self, stage: str, block: str, node: str) -> Trial:
        """Open a block; see `journal`."""
        num_open = self._journal.num_open(stage)
        trial = self._journal.begin(stage, block, node)
        if self._journal.num_open(stage) == num_open:  # it was open: whoever had it is gone
            self._meters.count(RETRIES, reason="worker_died")
        self._tell_open(stage)
        return trial

    def alone(self, stage: str, block: str, image_key: str | None) -> None:
        """Note who is alone in its worker."""
        self._journal.alone(stage, block, image_key)

    def end(self, stage: str, block: str) -> None:
        """Close a block."""
        self._journal.end(stage, block)
        self._tell_open(stage)

    def _tell_open(self, stage: str) -> None:
        self._meters.set(BLOCKS, self._journal.num_open(stage), stage=stage)


def _node_lives(node: str) -> bool:
    return any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())


def start_monitor(run_id: str = "") -> Any:  # noqa: ANN401 - Ray's actor handles have no static type
    """Start the actor: no CPU, because it must run when every CPU is taken, and restarted without end.

    On the driver's node, so that it outlives the others.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    return ray.remote(Monitor).options(**options).remote(run_id)


_CALL_S = 1.0
GRACE_S = 12.0
"""What has begun is finished after a stop was asked for, but not for longer than this: it stays pending then."""


class MonitorLink:
    """A worker's cheap line to the monitor: one thread calls once a second, everybody else reads and adds here.

    A call for every image was the largest part of what small images cost besides their pixels.
    """

    def __init__(self, monitor: Any) -> None:  # noqa: ANN401
        """Start calling."""
        self._monitor, self._stopping = monitor, threading.Event()
        self._since = 0.0
        self._untold, self._lock = Tally(), threading.Lock()
        threading.Thread(target=self._call_often, name="monitor-link", daemon=True).start()

    @property
    def stopping(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stopping.is_set()

    @property
    def overdue(self) -> bool:
        """Whether the stop was heard of GRACE_S ago."""
        return self.stopping and time.monotonic() - self._since > GRACE_S

    def count(self, tally: Tally) -> None:
        """Have this added to the monitor's tally with the next call."""
        with self._lock:
            self._untold += tally

    def flush(self) -> None:
        """Tell what is still untold, without waiting for an answer."""
        if (untold := self._take()) != Tally():
            self._monitor.add.remote(untold)

    def _take(self) -> Tally:
        with self._lock:
            untold, self._untold = self._untold, Tally()
        return untold

    def _call_often(self) -> None:
        with suppress(RayError):  # the run is over and the monitor with it
            while True:
                time.sleep(_CALL_S)
                if ray.get(self._monitor.exchange.remote(self._take())) and not self.stopping:
                    self._since = time.monotonic()
                    self._stopping.set()


@lru_cache(maxsize=1)
def monitor_link(monitor: Any) -> MonitorLink:  # noqa: ANN401
    """Return this process's line: tasks come and go, one thread calls for all of them."""
    return MonitorLink(monitor)


@lru_cache(maxsize=1)
def worker_logs(settings: TelemetrySpec, monitor: Any) -> None:  # noqa: ANN401
    """Let this process log as the run was told to, once; asks who the run is only where lines are to say it."""
    who = {}
    if settings.log_format == "json":
        who = {"job_id": ray.get_runtime_context().get_job_id(), "run_id": ray.get(monitor.run_id.remote())}
    configure(settings.log_format, settings.log_level, **who)
