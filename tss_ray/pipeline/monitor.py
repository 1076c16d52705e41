"""One tiny actor that everybody can reach: counts for the display, and the word to stop."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError


@dataclass(frozen=True)
class Tally:
    """What has happened so far. For the display only: a retried block counts again, the manifest does not."""

    done: int = 0
    quarantined: int = 0
    steps: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.done + other.done, self.quarantined + other.quarantined, self.steps + other.steps)


class Monitor:
    """Wrapped into an actor by `start_monitor`; holds a few numbers and one flag."""

    def __init__(self) -> None:
        """Start at zero."""
        self._tally, self._stopping = Tally(), False

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


def start_monitor() -> Any:  # noqa: ANN401 - Ray's actor handles have no static type
    """Start the actor: no CPU, because it must run when every CPU is taken, and restarted without end."""
    return ray.remote(Monitor).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()


class StopSignal:
    """A worker's cheap view of the flag: one thread asks once a second, everybody else reads a bool."""

    def __init__(self, monitor: Any) -> None:  # noqa: ANN401
        """Start asking."""
        self._monitor, self._stopping = monitor, threading.Event()
        threading.Thread(target=self._watch, name="stop-signal", daemon=True).start()

    def __bool__(self) -> bool:
        return self._stopping.is_set()

    def _watch(self) -> None:
        with suppress(RayError):  # the run is over and the monitor with it
            while not self._stopping.wait(1.0):
                if ray.get(self._monitor.stopping.remote()):
                    self._stopping.set()
