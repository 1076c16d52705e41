"""Who runs in the next forward, and in batches of which size: decisions without torch.

Continuous batching as language-model servers do it (Yu et al., "Orca", OSDI 2022): a finished item frees its place
before the next forward, and the longest-waiting item takes it. Nothing is bucketed, nothing waits for a batch to end.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

_LEAST_FILL = 3 / 4
"""A batch that would be emptier is split into smaller ones: what a forward costs is nearly proportional to its size."""


class Batcher(Generic[T]):
    """At most `max_batch` running items and a queue before them, first in, first out."""

    def __init__(self, max_batch: int) -> None:
        """Begin empty; `max_batch` is at least one."""
        self._max_batch = max_batch
        self._running: list[T] = []
        self._waiting: deque[T] = deque()

    def add(self, items: Iterable[T]) -> None:
        """Queue items in order."""
        self._waiting.extend(items)

    def admit(self) -> list[T]:
        """Fill free places from the queue; return what was newly placed."""
        free = max(0, self._max_batch - len(self._running))
        placed = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        self._running += placed
        return placed

    def running(self) -> list[T]:
        """Return what runs, in the order in which it came."""
        return list(self._running)

    def release(self, item: T) -> None:
        """Free an item's place."""
        self._running.remove(item)

    def shrink(self, max_batch: int) -> None:
        """Admit up to fewer from now on; what runs already goes on."""
        self._max_batch = max_batch

    @property
    def fill(self) -> float:
        """What the next forward could hold, as a share of `max_batch`; above 1 more is waiting than it takes."""
        return (len(self._running) + len(self._waiting)) / self._max_batch

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._waiting and not self._running


def batch_sizes(max_batch: int) -> tuple[int, ...]:
    """Return the sizes that a batch may have, ascending: powers of two below `max_batch`, and itself."""
    return (*(2**i for i in range((max_batch - 1).bit_length())), max_batch)


def split(num_items: int, sizes: Sequence[int]) -> list[int]:
    """Return sizes of batches that together hold `num_items`; sizes: ascending.

    A batch is at least three quarters full, unless the smallest size is larger than what is left. One batch is
    preferred to several that would not be smaller together.
    """
    batches, left = [], num_items
    while left > 0:
        full_enough = [size for size in sizes if min(left, size) >= _LEAST_FILL * size]
        batches.append(max(full_enough, default=min(sizes)))
        left -= batches[-1]
    whole = min((size for size in sizes if size >= num_items), default=None)
    return [whole] if num_items and whole is not None and whole <= sum(batches) else batches
