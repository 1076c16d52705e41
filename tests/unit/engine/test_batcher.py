"""Promises of the batcher."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.engine.batcher import Batcher


def batcher_of(max_batch: int, items: str) -> Batcher[str]:
    batcher: Batcher[str] = Batcher(max_batch)
    batcher.add(items)
    return batcher


def test_items_take_the_slots_in_the_order_they_came() -> None:
    batcher = batcher_of(3, "abcde")
    assert batcher.admit() == [(0, "a"), (1, "b"), (2, "c")]
    assert batcher.admit() == []
    assert batcher.running() == [(0, "a"), (1, "b"), (2, "c")]


def test_finished_item_frees_its_slot_before_the_next_forward() -> None:
    batcher = batcher_of(3, "abcde")
    batcher.admit()
    batcher.ran()
    batcher.release(1)
    assert batcher.admit() == [(1, "d")]
    assert batcher.running() == [(0, "a"), (1, "d"), (2, "c")]


def test_it_is_idle_only_when_nothing_runs_and_nothing_waits() -> None:
    batcher = batcher_of(2, "")
    assert batcher.idle
    batcher.add("a")
    assert not batcher.idle
    batcher.admit()
    assert not batcher.idle
    batcher.release(0)
    assert batcher.idle


def test_occupancy_is_useful_slots_of_slots_run() -> None:
    batcher = batcher_of(4, "abc")
    assert batcher.occupancy == 1
    batcher.admit()
    assert batcher.occupancy == 1  # nothing has run yet
    batcher.ran()
    assert batcher.occupancy == 3 / 4
    batcher.release(0)
    batcher.ran()
    assert batcher.occupancy == 5 / 8


@settings(deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(1, 9), max_size=30))
def test_every_item_runs_exactly_its_steps_and_no_slot_idles_while_one_waits(max_batch: int, steps: list[int]) -> None:
    batcher: Batcher[int] = Batcher(max_batch)
    batcher.add(range(len(steps)))
    left, begun, forwards = list(steps), [], 0
    while not batcher.idle:
        begun += [item for _, item in batcher.admit()]
        running = batcher.running()
        assert len(running) == min(max_batch, sum(n > 0 for n in left))
        batcher.ran()
        forwards += 1
        for slot, item in running:
            left[item] -= 1
            if not left[item]:
                batcher.release(slot)
    assert begun == list(range(len(steps)))  # first in, first out
    assert not any(left)
    if forwards:
        assert batcher.occupancy == sum(steps) / (forwards * max_batch)
