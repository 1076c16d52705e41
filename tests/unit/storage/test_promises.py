import pytest

from tss_ray.errors import StorageError
from tss_ray.spec import StoreSpec
from tss_ray.storage import promises
from tss_ray.storage.promises import PromiseBook, Promised, outstanding, read_promises
from tss_ray.storage.stores import open_store

ONE, OTHER = Promised(0.1, 0.3), Promised(1 / 3, 0.0)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path), StoreSpec())


def test_what_was_promised_is_read_back_to_the_bit_and_in_order(store):
    book = PromiseBook(store, "abc")
    book.add("b1", ["x.png", "y.png"], [ONE, OTHER])
    book.add("b2", ["z.png"], [OTHER])
    assert list(read_promises(store, "abc")) == [("b1", "x.png", ONE), ("b1", "y.png", OTHER), ("b2", "z.png", OTHER)]
    assert list(read_promises(store, "other")) == []


def test_files_fill_up_and_a_later_run_begins_a_new_one(store, monkeypatch):
    monkeypatch.setattr(promises, "ROWS_PER_FILE", 2)
    book = PromiseBook(store, "abc")
    for n in range(5):
        book.add(f"b{n}", [f"{n}.png"], [ONE])
    PromiseBook(store, "abc").add("late", ["late.png"], [OTHER])
    assert [info.key for info in store.list("run/")] == [f"run/abc/promises-{n:06d}.parquet" for n in range(4)]
    assert [key for _, key, _ in read_promises(store, "abc")] == [*(f"{n}.png" for n in range(5)), "late.png"]


def test_only_images_without_a_row_are_outstanding_and_the_first_promise_holds(store):
    book = PromiseBook(store, "abc")
    book.add("b1", ["x.png", "y.png"], [ONE, ONE])
    book.add("b2", ["y.png"], [OTHER])
    assert outstanding(store, "abc", {"x.png"}.__contains__) == {"y.png": ONE}


def test_a_damaged_file_says_what_to_do(store):
    store.write("run/abc/promises-000000.parquet", b"damaged")
    with pytest.raises(StorageError, match="delete it, and its images are promised anew"):
        list(read_promises(store, "abc"))
