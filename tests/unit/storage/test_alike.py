"""Promises of the order in which copies meet."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tss_ray.spec import StoreSpec
from tss_ray.storage.alike import alike_together, block_start
from tss_ray.storage.inputs import InputItem, list_inputs
from tss_ray.storage.key_list import read_key_file, write_key_list
from tss_ray.storage.stores import open_store

ALIKE = st.lists(st.sampled_from(["a", "b", "c", None]), max_size=60)


def items(kinds):
    return [InputItem(f"{n:03d}.png", f"/in/{n:03d}.png", n, kind) for n, kind in enumerate(kinds)]


def test_what_is_alike_follows_the_first_of_its_kind_and_nothing_else_moves():
    found = [item.image_key[:3] for item in alike_together(items(["x", "y", None, "x", None, "z", "y", "x"]))]
    assert found == ["000", "003", "007", "001", "006", "002", "004", "005"]


@given(ALIKE)
def test_every_item_comes_once_and_as_it_was(kinds):
    before, after = items(kinds), list(alike_together(items(kinds)))
    assert sorted(after, key=lambda item: item.image_key) == before
    runs = [kind for n, kind in enumerate(i.alike for i in after) if n == 0 or kind != after[n - 1].alike]
    assert all(number == 1 for kind, number in Counter(runs).items() if kind is not None)


@given(ALIKE, st.integers(1, 9), st.integers(1, 9))
def test_every_item_is_in_one_block_and_a_small_group_too(kinds, block, most):
    alike = [item.alike for item in alike_together(items(kinds))]
    starts = [block_start(alike, min(at, len(alike)), most) for at in range(0, len(alike) + block, block)]
    assert starts[0] == 0
    assert starts[-1] == len(alike)
    assert starts == sorted(starts)
    for kind, number in Counter(alike).items():
        if kind is not None and number <= most:
            first = alike.index(kind)
            assert not [start for start in starts if first < start < first + number]


def test_of_files_the_size_tells_what_is_alike(tmp_path):
    for name, data in {"a.png": b"one", "b.png": b"four", "c.png": b"two"}.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    found = list(list_inputs(str(tmp_path / "in"), StoreSpec()))
    assert [item.alike for item in found] == ["3", "4", "3"]
    store = open_store(str(tmp_path / "out"), StoreSpec())
    for together, keys in ((True, ["a.png", "c.png", "b.png"]), (False, ["a.png", "b.png", "c.png"])):
        listed = write_key_list(store, "0", "png", lambda: found, lambda key: False, together)
        assert [item.image_key for item in read_key_file(store, listed.names[0])] == keys
        assert (listed.num_listed, listed.num_todo) == (3, 3)
