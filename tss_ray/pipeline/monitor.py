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


GRACE_S = 12.0
"""What has begun is finished after a stop was asked for, but not for longer than this: it stays pending then."""


class StopSignal:
    """A worker's cheap view of the flag: one thread asks once a second, everybody else reads a bool."""

    def __init__(self, monitor: Any) -> None:  # noqa: ANN401
        """Start asking."""
        self._monitor, self._stopping = monitor, threading.Event()
        self._since = 0.0
        threading.Thread(target=self._watch, name="stop-signal", daemon=True).start()

    def __bool__(self) -> bool:
        return self._stopping.is_set()

    @property
    def overdue(self) -> bool:
        """Whether the stop was heard of GRACE_S ago."""
        return bool(self) and time.monotonic() - self._since > GRACE_S

    def _watch(self) -> None:
        with suppress(RayError):  # the run is over and the monitor with it
            while not self._stopping.wait(1.0):
                if ray.get(self._monitor.stopping.remote()):
                    self._since = time.monotonic()
                    self._stopping.set()


@lru_cache(maxsize=1)
def stop_signal(monitor: Any) -> StopSignal:  # noqa: ANN401
    """Return this process's view of the flag: tasks come and go, one thread asks for all of them."""
    return StopSignal(monitor)
