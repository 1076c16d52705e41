"""Who runs in the next forward: a decision without torch.

Continuous batching as language-model servers do it (Yu et al., "Orca", OSDI 2022): a finished item frees its slot
before the next forward, and the longest-waiting item takes it. Nothing is bucketed, nothing waits for a batch to end.
"""

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """A fixed number of slots and a queue before them, first in, first out."""

    def __init__(self, max_batch: int) -> None:
        """Make `max_batch` empty slots, at least one."""
        self._slots: list[T | None] = [None] * max_batch
        self._waiting: deque[T] = deque()
        self._slots_run = self._slots_useful = 0

    def add(self, items: Iterable[T]) -> None:
        """Queue items in order."""
        self._waiting.extend(items)

    def admit(self) -> list[tuple[int, T]]:
        """Fill free slots from the queue; return what was newly placed and where."""
        placed = []
        for slot, item in enumerate(self._slots):
            if item is None and self._waiting:
                self._slots[slot] = self._waiting.popleft()
                placed.append((slot, self._slots[slot]))
        return placed  # type: ignore[return-value]

    def running(self) -> list[tuple[int, T]]:
        """Return the occupied slots in order."""
        return [(slot, item) for slot, item in enumerate(self._slots) if item is not None]

    def ran(self) -> None:
        """Count one forward over the present slots."""
        self._slots_run += len(self._slots)
        self._slots_useful += len(self.running())

    def release(self, slot: int) -> None:
        """Free a slot."""
        self._slots[slot] = None

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._waiting and not self.running()

    @property
    def occupancy(self) -> float:
        """Useful slots / slots run, in [0,1]; 1 before the first forward."""
        return self._slots_useful / self._slots_run if self._slots_run else 1.0
