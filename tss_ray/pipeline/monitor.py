"""One tiny actor that everybody can reach: counts for the display, the word to stop, and the crash journal."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tss_ray.pipeline.journal import CrashJournal, Trial


@dataclass(frozen=True)
class Tally:
    """What has happened so far. For the display only: a retried block counts again, the manifest does not."""

    done: int = 0
    quarantined: int = 0
    steps: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.done + other.done, self.quarantined + other.quarantined, self.steps + other.steps)


class Monitor:
    """Wrapped into an actor by `start_monitor`; holds a few numbers, one flag, and one line per block in flight."""

    def __init__(self) -> None:
        """Start at zero."""
        self._tally, self._stopping = Tally(), False
        self._journal = CrashJournal(_node_lives)

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
        return self._journal.begin(stage, block, node)

    def alone(self, stage: str, block: str, image_key: str | None) -> None:
        """Note who is alone in its worker."""
        self._journal.alone(stage, block, image_key)

    def end(self, stage: str, block: str) -> None:
        """Close a block."""
        self._journal.end(stage, block)


def _node_lives(node: str) -> bool:
    return any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())


def start_monitor() -> Any:  # noqa: ANN401 - Ray's actor handles have no static type
    """Start the actor: no CPU, because it must run when every CPU is taken, and restarted without end.

    On the driver's node, so that it outlives the others.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    return ray.remote(Monitor).options(**options).remote()


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
