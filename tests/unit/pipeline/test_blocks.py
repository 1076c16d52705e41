"""Promises of how work is cut into blocks."""

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.pipeline.blocks import SHARES, block_sizes
from tss_ray.pipeline.graph import _QUEUE_PER_ACTOR
from tss_ray.pipeline.source import slices
from tss_ray.storage.key_list import ROWS_PER_FILE, KeyList


@settings(deadline=None)
@given(st.integers(0, 100_000), st.integers(1, 64), st.integers(1, 200), st.sampled_from([16, 64]))
def test_blocks_hold_every_image_once_and_never_grow(num_images: int, largest: int, actors: int, shares: int) -> None:
    sizes = list(block_sizes(num_images, largest, actors, shares))
    assert sum(sizes) == num_images
    assert sizes == sorted(sizes, reverse=True)
    assert all(0 < size <= largest for size in sizes)


def test_much_work_comes_in_large_blocks_and_its_end_in_small_ones() -> None:
    sizes = list(block_sizes(1_000_000, 32, 4))
    assert len(sizes) < 1.02 * 1_000_000 / 32
    assert sizes[-1] == 1


def test_a_large_pool_gets_no_blocks_of_one() -> None:
    assert set(block_sizes(8192, 32, 64)) == {8}


@settings(deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20))
def test_slices_cover_the_files_in_order_and_never_two_of_them_at_once(sizes: list[int]) -> None:
    num_keys = sum(sizes)
    names = tuple(f"keys-{i}" for i in range(-(-num_keys // ROWS_PER_FILE)))
    rows = [
        (int(name.removeprefix("keys-")), offset + i)
        for name, offset, count in slices(KeyList(names, num_keys, num_keys), sizes)
        for i in range(count)
    ]
    assert rows == [divmod(i, ROWS_PER_FILE) for i in range(num_keys)]


def time_taken(sizes: list[int], seconds: list[float], queue: int) -> float:
    """Hand blocks to the actor that holds the fewest, at most `queue` each, as Ray does; return when the last ends."""
    held = [0] * len(seconds)
    free = [0.0] * len(seconds)
    ends: list[tuple[float, int]] = []
    waiting = iter(sizes)
    block = next(waiting, None)
    now = 0.0
    while block is not None or ends:
        while block is not None and min(held) < queue:
            actor = held.index(min(held))
            free[actor] = max(free[actor], now) + block * seconds[actor]
            held[actor] += 1
            heapq.heappush(ends, (free[actor], actor))
            block = next(waiting, None)
        now, actor = heapq.heappop(ends)
        held[actor] -= 1
    return now


@pytest.mark.parametrize("num_images", [300, 400, 2000, 20_000])
def test_nobody_waits_long_for_an_actor_that_is_four_times_slower(num_images: int) -> None:
    ideal = num_images / (1 / 1 + 1 / 4)
    sizes = list(block_sizes(num_images, 32, 2))
    assert time_taken(sizes, [1.0, 4.0], _QUEUE_PER_ACTOR) < 1.1 * ideal
    assert time_taken([32] * (num_images // 32), [1.0, 4.0], _QUEUE_PER_ACTOR) > time_taken(
        sizes, [1.0, 4.0], _QUEUE_PER_ACTOR
    )


def test_what_an_actor_holds_is_a_small_part_of_its_share() -> None:
    assert SHARES > 2 * _QUEUE_PER_ACTOR
