"""Promises of the batcher."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.engine.batcher import Batcher, batch_sizes, split


def batcher_of(max_batch: int, items: str) -> Batcher[str]:
    batcher: Batcher[str] = Batcher(max_batch)
    batcher.add(items)
    return batcher


def test_items_take_the_places_in_the_order_they_came() -> None:
    batcher = batcher_of(3, "abcde")
    assert batcher.admit() == ["a", "b", "c"]
    assert batcher.admit() == []
    assert batcher.running() == ["a", "b", "c"]


def test_finished_item_frees_its_place_before_the_next_forward() -> None:
    batcher = batcher_of(3, "abcde")
    batcher.admit()
    batcher.release("b")
    assert batcher.admit() == ["d"]
    assert batcher.running() == ["a", "c", "d"]


def test_it_is_idle_only_when_nothing_runs_and_nothing_waits() -> None:
    batcher = batcher_of(2, "")
    assert batcher.idle
    batcher.add("a")
    assert not batcher.idle
    batcher.admit()
    assert not batcher.idle
    batcher.release("a")
    assert batcher.idle


def test_fill_counts_what_runs_and_what_waits() -> None:
    batcher = batcher_of(2, "abc")
    assert batcher.fill == 1.5
    batcher.admit()
    assert batcher.fill == 1.5
    batcher.release("a")
    assert batcher.fill == 1


def test_a_smaller_batch_admits_nothing_until_enough_is_done_and_drops_nothing() -> None:
    batcher = batcher_of(4, "abcdef")
    batcher.admit()
    batcher.shrink(2)
    assert batcher.running() == ["a", "b", "c", "d"]
    for item in "ab":
        batcher.release(item)
        assert batcher.admit() == []
    batcher.release("c")
    assert batcher.admit() == ["e"]


@settings(deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(1, 9), max_size=30))
def test_every_item_runs_exactly_its_steps_and_no_place_idles_while_one_waits(max_batch: int, steps: list[int]) -> None:
    batcher: Batcher[int] = Batcher(max_batch)
    batcher.add(range(len(steps)))
    left, begun = list(steps), []
    while not batcher.idle:
        begun += batcher.admit()
        running = batcher.running()
        assert len(running) == min(max_batch, sum(n > 0 for n in left))
        for item in running:
            left[item] -= 1
            if not left[item]:
                batcher.release(item)
    assert begun == list(range(len(steps)))  # first in, first out
    assert not any(left)


def test_sizes_are_powers_of_two_and_the_full_batch() -> None:
    assert batch_sizes(1) == (1,)
    assert batch_sizes(2) == (1, 2)
    assert batch_sizes(6) == (1, 2, 4, 6)
    assert batch_sizes(8) == (1, 2, 4, 8)


def test_a_small_remainder_does_not_pay_for_a_full_batch() -> None:
    sizes = (1, 2, 4, 8)
    assert [split(n, sizes) for n in (1, 2, 3, 4, 8)] == [[1], [2], [4], [4], [8]]
    assert split(5, sizes) == [4, 1]
    assert split(6, sizes) == [8]  # three quarters full: one forward costs less than two
    assert split(33, (1, 2, 4, 8, 16, 32, 64)) == [32, 1]


def test_sizes_that_change_bits_are_never_used() -> None:
    assert split(1, (4, 8)) == [4]
    assert split(5, (4, 8)) == [8]  # not 4 and 4, which is no less
    assert split(1, (8,)) == [8]


@given(st.integers(0, 200), st.integers(1, 64), st.data())
def test_batches_hold_everything_and_none_is_superfluous(num_items: int, max_batch: int, data: st.DataObject) -> None:
    every = batch_sizes(max_batch)
    kept = data.draw(st.sets(st.sampled_from(every)))
    sizes = tuple(sorted(kept | {max_batch}))
    batches = split(num_items, sizes)
    assert set(batches) <= set(sizes)
    assert sum(batches) >= num_items
    assert sum(batches[:-1]) < max(num_items, 1)
    if sizes == every and num_items:
        assert num_items / sum(batches) >= 3 / 4
