"""Doing many small things to a store at once, a few ahead, without holding all of them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

NUM_THREADS = 16
"""Requests under way at once: 100,000 parts on S3 would take half an hour one after the other."""


def ordered_map(function: Callable[[T], R], items: Iterable[T], threads: int = NUM_THREADS) -> Iterator[R]:
    """Yield `function` of every item in order; `items` is read in this thread, at most 2 · `threads` ahead."""
    ahead: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="store") as pool:
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
