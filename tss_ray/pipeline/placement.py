"""Whether the nodes that there are can hold what the job asks for, watched while it runs.

Ray lets what fits no node wait for ever, and says so only in its own logs: a job whose last GPU node went away would
look like one that works.
"""

import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from tss_ray.errors import PlacementError
from tss_ray.pipeline.resources import ResourcePlan

log = logging.getLogger(__name__)

WARN_S = 10.0
"""A node that restarts, or one that is replaced at once, is nobody's business."""
LIMIT_S = 600.0
"""Where no autoscaler is told of (compute.wait_nodes_s): long enough for a machine to start again."""
AGAIN_S = 300.0
"""How often what still lacks is told."""
_LOOK_S = 2.0
_EPSILON = 1e-6
_GIB = 2**30

Resources = Mapping[str, float]
"""Ray's names: CPU, GPU, memory (bytes)."""


class Placement:
    """Compares what is asked for with what there is; told the time, so that it can be tested without waiting."""

    def __init__(self, plan: ResourcePlan, warn: Callable[[str], None], limit_s: float | None) -> None:
        """`limit_s`: after so many seconds without any place there is an error; None: never, nodes may come."""
        self._asked = {
            "a super-resolution actor": _resources(plan.actor_args()),
            "a task that fetches and decodes": _resources(plan.prepare_args()),
            "a task that writes rows": _resources(plan.commit_args()),
        }
        self._min_actors, self._warn, self._limit_s = plan.min_actors, warn, limit_s
        self._since: dict[str, float] = {}
        self._warned: dict[str, float] = {}

    def look(self, nodes: Sequence[Resources], now_s: float) -> str | None:
        """Compare with the nodes that live at `now_s`; return why the job cannot go on, or None."""
        for name, asked in self._asked.items():
            wanted = f"{name} asks for {described(asked)}"
            told = f"{wanted}, and no node has that; there are: {summary(nodes)}"
            lacking_s = self._lacking(name, not room(asked, nodes), told, now_s)
            if self._limit_s is not None and lacking_s >= self._limit_s:
                return (
                    f"{told}, for {lacking_s:.0f} s; what was done is kept: add such a node and run the same command "
                    "again, or lower compute.gpus_per_actor; where an autoscaler brings nodes set compute.wait_nodes_s"
                )
        actor = self._asked["a super-resolution actor"]
        places = room(actor, nodes)
        told = f"only {places} of {self._min_actors} actors find a place ({described(actor)} each): {summary(nodes)}"
        self._lacking("some", 0 < places < self._min_actors, told, now_s)
        return None

    def _lacking(self, name: str, lacking: bool, told: str, now_s: float) -> float:
        """Note whether something lacks, warn of it now and then, and return for how many seconds it has lacked."""
        if not lacking:
            self._since.pop(name, None)
            self._warned.pop(name, None)
            return 0.0
        since = self._since.setdefault(name, now_s)
        if now_s - since >= WARN_S and now_s - self._warned.get(name, -AGAIN_S) >= AGAIN_S:
            self._warned[name] = now_s
            self._warn(f"waiting for nodes: {told}; `ray status` on the head says more")
        return now_s - since


def room(asked: Resources, nodes: Sequence[Resources]) -> int:
    """Return how many of what asks for these resources the nodes hold at once, were they empty."""
    return sum(_room(asked, node) for node in nodes)


def _room(asked: Resources, node: Resources) -> int:
    return int(min(node.get(name, 0.0) / amount + _EPSILON for name, amount in asked.items()))


def described(asked: Resources) -> str:
    """Return resources in words, like `1 GPUs, 0.5 CPUs, 1.2 GiB`."""
    return f"{asked.get('GPU', 0.0):g} GPUs, {asked.get('CPU', 0.0):g} CPUs, {asked.get('memory', 0.0) / _GIB:.3g} GiB"


def summary(nodes: Sequence[Resources]) -> str:
    """Return the nodes in words, those alike together."""
    alike = Counter(described(node) for node in nodes)
    return "; ".join(f"{count} × {words}" for words, count in alike.most_common()) or "no nodes"


def _resources(args: dict[str, Any]) -> dict[str, float]:
    asked = {"CPU": args["num_cpus"], "GPU": args.get("num_gpus", 0.0), "memory": args["memory"]}
    return {name: float(amount) for name, amount in asked.items() if amount}


def living_nodes() -> list[Resources]:
    """Return what the nodes that live have in all."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@contextmanager
def watched_placement(plan: ResourcePlan, nodes_may_come: bool) -> Iterator[None]:
    """Warn while something finds no place; raise PlacementError after LIMIT_S, unless nodes may still come.

    The block must run in the main thread to be ended; elsewhere there are warnings only.
    """
    is_main = threading.current_thread() is threading.main_thread()
    placement = Placement(plan, log.warning, None if nodes_may_come else LIMIT_S)
    over, faults = threading.Event(), list[str]()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            fault = placement.look(living_nodes(), time.monotonic())
            if fault is not None and is_main:
                faults.append(fault)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # as if somebody stopped the job
                return

    thread = threading.Thread(target=watch, name="placement", daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt:
        if faults:
            raise PlacementError(faults[0]) from None
        raise
    finally:
        over.set()
        thread.join()
    if faults:
        raise PlacementError(faults[0])
