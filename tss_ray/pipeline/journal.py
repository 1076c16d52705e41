"""The crash journal: what a worker was at when it died, so that the one input that kills is found and the others live.

A worker says when it begins a block and when it has ended one. A block that is begun again without having ended lost
its worker: its images are suspects, and from then on each is tried alone, with its name in the journal meanwhile. An
image that was there alone when the worker died, DEATHS_ALONE times, is the culprit and is not tried again.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

DEATHS_ALONE = 3
"""Deaths alone that convict. One would do if only inputs killed workers; but spot machines and the kernel's memory
killer do too, and whoever is alone at that moment is innocent. That the same one is it three times running is not
chance: an image is alone for a fraction of a second, and every death costs a worker's start of several."""

KILLED = "worker_killed"
"""The `error_kind` of a convicted image."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a worker is told when it begins a block."""

    suspect: bool = False
    """A worker died with this block: try its images one by one."""
    killers: frozenset[str] = frozenset()
    """Those of its images that are not to be tried again."""


@dataclass(slots=True)
class _Entry:
    node: str
    suspect: bool = False
    alone: str | None = None


class CrashJournal:
    """The book itself, without Ray: one entry per block in flight, one word per convicted image."""

    def __init__(self, node_lives: Callable[[str], bool]) -> None:
        """`node_lives` says whether a node is still there; who dies with its node is no suspect."""
        self._node_lives = node_lives
        self._open: dict[tuple[str, str], _Entry] = {}
        self._num_open: Counter[str] = Counter()
        self._deaths: Counter[tuple[str, str]] = Counter()
        self._killers: dict[str, set[str]] = {}

    def begin(self, stage: str, block: str, node: str) -> Trial:
        """Open a block, or open it again after whoever had it died."""
        before, entry = self._open.get((stage, block)), _Entry(node)
        if before is not None:
            died_with_node = not self._node_lives(before.node)
            entry.suspect = before.suspect or not died_with_node
            if before.alone is not None and not died_with_node:
                self._count_death(stage, before.alone)
        self._open[stage, block] = entry
        self._num_open[stage] += before is None
        return Trial(entry.suspect, frozenset(self._killers.get(stage, ())) if entry.suspect else frozenset())

    def alone(self, stage: str, block: str, image_key: str | None) -> None:
        """Note the image that is alone in its worker from now on; whoever was there before has survived."""
        entry = self._open.get((stage, block))
        if entry is None:  # this journal lost its memory with its own worker: nobody is accused on half a story
            return
        if entry.alone is not None:
            self._deaths.pop((stage, entry.alone), None)
        entry.alone = image_key

    def end(self, stage: str, block: str) -> None:
        """Close a block: all of it came through, or is convicted."""
        self.alone(stage, block, None)
        if self._open.pop((stage, block), None) is not None:
            self._num_open[stage] -= 1

    def num_open(self, stage: str) -> int:
        """Return how many blocks of a stage are in flight."""
        return self._num_open[stage]

    def _count_death(self, stage: str, image_key: str) -> None:
        self._deaths[stage, image_key] += 1
        if self._deaths[stage, image_key] >= DEATHS_ALONE:
            self._killers.setdefault(stage, set()).add(image_key)
            del self._deaths[stage, image_key]


class WatchedBlock:
    """A worker's side: one block under the journal's eye. One call that waits, one that does not.

    Only a return is an end: an exception that leaves the `with` is a program fault, and ends the job.
    """

    def __init__(self, monitor: Any, stage: str, image_keys: list[str]) -> None:  # noqa: ANN401
        """Open the block in the journal that `monitor` keeps."""
        self._monitor, self._stage = monitor, stage
        self._block = hashlib.sha256("\0".join(image_keys).encode(errors="surrogatepass")).hexdigest()[:16]
        node = ray.get_runtime_context().get_node_id()
        self.trial: Trial = ray.get(monitor.begin.remote(stage, self._block, node))

    def alone(self, image_key: str) -> None:
        """Say, before it is tried, which image is alone; returns when it is noted."""
        ray.get(self._monitor.alone.remote(self._stage, self._block, image_key))

    def survived(self) -> None:
        """Say that nobody is alone any more."""
        self._monitor.alone.remote(self._stage, self._block, None)

    def end(self) -> None:
        """Close the block."""
        self._monitor.end.remote(self._stage, self._block)
