import tracemalloc

import pytest

from tss_ray.errors import SpecError
from tss_ray.spec import StoreSpec
from tss_ray.storage import key_list
from tss_ray.storage.inputs import InputItem
from tss_ray.storage.key_list import read_key_file, write_key_list
from tss_ray.storage.stores import open_store


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path), StoreSpec())


def items(*keys):
    return lambda: [InputItem(key, f"/in/{key}", 7) for key in keys]


def nothing_done(_):
    return False


def test_only_what_is_not_done_is_written(store):
    listed = write_key_list(store, "abc", "png", items("a.jpg", "b.jpg", "c.jpg"), {"b.jpg"}.__contains__)
    assert (listed.num_listed, listed.num_todo) == (3, 2)
    assert listed.names == ("run/abc/keys-000000.parquet",)
    assert read_key_file(store, listed.names[0]) == [
        InputItem("a.jpg", "/in/a.jpg", 7),
        InputItem("c.jpg", "/in/c.jpg", 7),
    ]


def test_a_second_run_finds_nothing_to_do(store):
    listed = write_key_list(store, "abc", "png", items("a.jpg"), lambda _: True)
    assert (listed.num_listed, listed.num_todo, listed.names) == (1, 0, ())


def test_files_hold_so_many_rows_each_and_keep_the_order(store, monkeypatch):
    monkeypatch.setattr(key_list, "ROWS_PER_FILE", 4)
    names = [f"{n}.jpg" for n in range(9)]
    listed = write_key_list(store, "abc", "png", items(*names), nothing_done)
    files = [[item.image_key for item in read_key_file(store, name)] for name in listed.names]
    assert files == [names[:4], names[4:8], names[8:]]


def test_two_inputs_of_one_output_name_are_refused_before_the_run(store):
    with pytest.raises(SpecError, match=r"a/x\.jpg and a/x\.png would both be written as images/a/x\.webp; rename"):
        write_key_list(store, "abc", "webp", items("a/x.jpg", "b.jpg", "a/x.png"), nothing_done)


def test_same_collides_only_where_a_format_has_no_writer(store):
    assert write_key_list(store, "abc", "same", items("x.jpg", "x.png", "x.tif"), nothing_done).num_todo == 3
    with pytest.raises(SpecError, match=r"x\.gif and x\.png would both be written as images/x\.png"):
        write_key_list(store, "abd", "same", items("x.gif", "x.jpg", "x.png"), nothing_done)


def test_done_inputs_take_part_in_collisions(store):
    with pytest.raises(SpecError, match=r"x\.jpg and x\.png"):
        write_key_list(store, "abc", "png", items("x.jpg", "x.png"), {"x.jpg"}.__contains__)


def test_equal_fingerprints_of_different_names_are_no_collision(store, monkeypatch):
    monkeypatch.setattr(key_list, "fingerprint64", lambda name: 1)
    monkeypatch.setattr("tss_ray.storage.fingerprints.fingerprint64", lambda name: 1)
    assert write_key_list(store, "abc", "png", items("a.jpg", "b.jpg"), nothing_done).num_todo == 2


def test_keys_that_cannot_be_output_names_are_listed_for_their_rows(store):
    hostile = ["../x.png", "../x.jpg", "a\nb.png", "a\0.png"]
    listed = write_key_list(store, "abc", "png", items(*hostile), nothing_done)
    assert [item.image_key for item in read_key_file(store, listed.names[0])] == hostile


def test_a_size_that_nobody_knows_stays_unknown(store):
    listed = write_key_list(store, "abc", "png", lambda: [InputItem("a.jpg", "/a.jpg", None)], nothing_done)
    assert read_key_file(store, listed.names[0])[0].size_bytes is None


def test_a_hundred_thousand_keys_are_written_in_bounded_memory(store):
    def many():
        return (InputItem(f"folder/{n:09d}.png", f"s3://bucket/folder/{n:09d}.png", n) for n in range(100_000))

    write_key_list(store, "warm", "png", items("a.png"), nothing_done)  # what is imported at first use is not counted
    tracemalloc.start()
    try:
        listed = write_key_list(store, "abc", "png", many, nothing_done)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (listed.num_todo, len(listed.names)) == (100_000, 13)
    assert peak_bytes < 6_000_000  # one file's rows, and 8 bytes a key
