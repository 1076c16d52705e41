"""A Ray cluster of several raylets on one machine, and who in it can be killed."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

_STORE_BYTES = 100 * 2**20
_OF_RAY = ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "ray::_", "ray::ActorLocationTracker")
"""Ray's own helpers, which die with their node: not ours to harden."""


class ChaosCluster:
    """A head that is never killed, because it holds Ray's own memory, and nodes that are."""

    def __init__(self, num_nodes: int, **head: Any) -> None:  # noqa: ANN401 - Ray's own names for what a head has
        """Start it: one CPU on the head, two on each of the nodes; `head` says more of the head."""
        self._cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": _STORE_BYTES} | head
        )
        self._nodes = [self._add() for _ in range(num_nodes)]

    @property
    def address(self) -> str:
        """Return what RAY_ADDRESS takes."""
        return str(self._cluster.address)

    def close(self) -> None:
        """Kill all of it."""
        self._cluster.shutdown()

    def workers(self) -> list[tuple[int, str]]:
        """Return (pid, title) of every process that works for a job."""
        raylets = {_raylet(node) for node in (self._cluster.head_node, *self._nodes)}
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with suppress(OSError, IndexError):
                    title = (folder / "cmdline").read_text(errors="replace").strip("\0 ")
                    parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                    if parent in raylets and title.startswith("ray::") and not title.startswith(_OF_RAY):
                        found.append((int(folder.name), title))
        return sorted(found)

    def kill_worker(self, chance: random.Random, part_of_title: str = "") -> str | None:
        """SIGKILL a worker by chance; return its title, or None where there is no such worker."""
        candidates = [worker for worker in self.workers() if part_of_title in worker[1]]
        if not candidates:
            return None
        pid, title = chance.choice(candidates)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return title

    def replace_node(self, chance: random.Random) -> None:
        """SIGKILL a node and all that runs on it, and add another, as a spot market does."""
        self.lose_node(chance.randrange(len(self._nodes)))
        self.add_node()

    def lose_node(self, which: int = 0) -> None:
        """SIGKILL a node and all that runs on it."""
        self._cluster.remove_node(self._nodes.pop(which), allow_graceful=False)

    def add_node(self) -> None:
        """Bring another."""
        self._nodes.append(self._add())

    def _add(self) -> Any:  # noqa: ANN401 - Ray's nodes have no static type
        return self._cluster.add_node(num_cpus=2, object_store_memory=_STORE_BYTES, wait=True)


def _raylet(node: Any) -> int:  # noqa: ANN401
    return int(node.all_processes["raylet"][0].process.pid)


class Killer:
    """Kills workers, actors and nodes every few seconds. In the main thread, where Ray starts nodes."""

    def __init__(self, cluster: ChaosCluster, chance: random.Random, pause_s: tuple[float, float]) -> None:
        """`pause_s`: shortest and longest time between two kills."""
        self._cluster, self._chance, self._pause_s = cluster, chance, pause_s
        self.killed: list[str] = []

    def rage(self, process: "subprocess.Popen[str]", seconds: float) -> bool:
        """Kill for a while, and no longer than a process runs; return whether it has ended."""
        until = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < until:
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(self._chance.uniform(*self._pause_s), max(0.0, until - time.monotonic())))
            if process.poll() is None and time.monotonic() < until:
                self._kill()
        return process.poll() is not None

    def _kill(self) -> None:
        """One time in five a whole node."""
        if self._chance.random() < 0.2:
            self._cluster.replace_node(self._chance)
            self.killed.append("node")
        elif title := self._cluster.kill_worker(self._chance, self._chance.choice(("", "Upscaler", "Prepare"))):
            self.killed.append(title)
