import os
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tss_ray.errors import ImageError, InputError, SpecError
from tss_ray.spec import StoreSpec
from tss_ray.storage import inputs
from tss_ray.storage.inputs import list_inputs, read_uri
from tss_ray.storage.protocol import ObjectInfo

SPEC = StoreSpec()


@pytest.fixture
def photos(tmp_path):
    for key in ("a.jpg", "b.PNG", "notes.txt", ".hidden.png", "x/c.jpg", "x/y/d.jpg"):
        path = tmp_path / "photos" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    return tmp_path / "photos"


def keys(source):
    return [item.image_key for item in list_inputs(str(source), SPEC)]


def test_a_folder_is_all_that_is_not_hidden_images_or_not(photos):
    items = list(list_inputs(f"{photos}/", SPEC))
    assert [item.image_key for item in items] == ["a.jpg", "b.PNG", "notes.txt", "x/c.jpg", "x/y/d.jpg"]
    for item in items:
        assert read_uri(item.uri, SPEC) == item.image_key.encode()
        assert item.size_bytes == len(item.image_key)
    assert keys(f"file://{photos}") == keys(photos)


def test_a_single_file_is_keyed_by_its_name(photos):
    (item,) = list_inputs(str(photos / "x" / "c.jpg"), SPEC)
    assert (item.image_key, item.size_bytes) == ("c.jpg", 7)
    assert read_uri(item.uri, SPEC) == b"x/c.jpg"
    assert keys(photos / ".hidden.png") == [".hidden.png"]


def test_globs_are_keyed_from_their_first_wildcard(photos, monkeypatch):
    assert keys(photos / "*.jpg") == ["a.jpg"]
    assert keys(photos / "**" / "*.jpg") == ["a.jpg", "x/c.jpg", "x/y/d.jpg"]
    assert keys(photos / "x" / "*.jpg") == ["c.jpg"]
    monkeypatch.chdir(photos)
    (item,) = list_inputs("*.jpg", SPEC)
    assert item.uri == str(photos / "a.jpg")


def test_a_name_that_exists_is_not_a_pattern(tmp_path):
    (tmp_path / "in [2020]").mkdir()
    (tmp_path / "in [2020]" / "a?.png").write_bytes(b"x")
    assert keys(tmp_path / "in [2020]") == keys(tmp_path / "in [2020]" / "a?.png") == ["a?.png"]


def test_sample_photos_are_inputs_like_any_other():
    items = list(list_inputs("sample://photos", SPEC))
    assert "astronaut.png" in [item.image_key for item in items]
    assert read_uri(items[0].uri, SPEC).startswith(b"\x89PNG")
    assert keys("sample://photos/chelsea.png") == keys("sample://photos/ch*.png") == ["chelsea.png"]


def test_the_three_kinds_of_list_name_the_same_inputs(photos):
    entries = [str(photos / "a.jpg"), f"file://{photos}/x/c.jpg", "x/y/d.jpg"]
    (photos / "list.txt").write_text("# mine\n\n" + "\n".join(entries) + "\n")
    (photos / "list.csv").write_text("id,uri\n" + "\n".join(f"{n},{e}" for n, e in enumerate(entries)))
    (photos / "bare.csv").write_text("\n".join(entries))
    pq.write_table(pa.table({"path": entries}), photos / "list.parquet")
    for name in ("list.txt", "list.csv", "bare.csv", "list.parquet"):
        items = list(list_inputs(str(photos / name), SPEC))
        assert [item.image_key for item in items] == ["a.jpg", "x/c.jpg", "x/y/d.jpg"], name
        assert [read_uri(item.uri, SPEC) for item in items] == [b"a.jpg", b"x/c.jpg", b"x/y/d.jpg"]


def test_listed_keys_follow_the_longest_common_folder_across_stores(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("s3://b/in/a 1/x.jpg\ns3://b/in/a 2/y%20.jpg\ns3://b/in/a 2/z//w.jpg\n")
    assert keys(listed) == ["a 1/x.jpg", "a 2/y%20.jpg", "a 2/z//w.jpg"]
    listed.write_text("s3://b/in/x.jpg\ns3://c/in/x.jpg\n")
    assert keys(listed) == ["b/in/x.jpg", "c/in/x.jpg"]
    listed.write_text("s3://b/in/x\n")
    assert keys(listed) == ["x"]  # named one by one: no extension needed


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("l.txt", "a.jpg\nb.jpg\n./b.jpg\na.jpg\n", r"names .*/b\.jpg more than once"),
        ("l.txt", "# nothing\n", "nothing found"),
        ("l.txt", "gs://b/a.jpg\n", "not served"),
        ("l.csv", "a,b\n1,2\n", "no column `uri`"),
        ("l.csv", "", "no column `uri`"),
        ("l.csv", "id,uri\n1,\n", "entry 1 is empty"),
        ("l.parquet", "not parquet", "cannot be read as a list"),
    ],
)
def test_a_list_at_fault_says_where(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=says):
        keys(tmp_path / name)


def test_a_list_with_a_column_that_is_no_text_says_so(tmp_path):
    pq.write_table(pa.table({"uri": [1, 2]}), tmp_path / "l.parquet")
    with pytest.raises(InputError, match="string column"):
        keys(tmp_path / "l.parquet")


def test_nothing_to_do_is_an_error_that_says_what_was_looked_at(tmp_path, photos):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.md").write_bytes(b"")
    for source, says in (
        (tmp_path / "none", "none does not exist; correct the path"),
        (tmp_path / "empty", "nothing found at .*empty"),
        (photos / "*.bmp", r"nothing found at .*\*.bmp"),
        (tmp_path / "text", "none of the 1 objects .* is named like an image .*png.*; correct"),
        ("sample://photos/dog.png", "nothing found"),
    ):
        with pytest.raises(InputError, match=says):
            keys(source)
    with pytest.raises(SpecError, match="not served"):
        keys("gs://bucket/x")


def test_a_file_name_that_is_no_unicode_is_refused_before_the_run(tmp_path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.png", "wb"):
        pass
    with pytest.raises(InputError, match="not UTF-8; rename"):
        keys(tmp_path)


def test_the_size_limit_reaches_the_store(photos):
    with pytest.raises(ImageError, match="limit"):
        read_uri(str(photos / "a.jpg"), SPEC, max_bytes=2)


def test_two_hundred_thousand_keys_stream_in_bounded_memory(monkeypatch):
    class Endless:
        def list(self, prefix=""):
            return (ObjectInfo(f"folder/{n:09d}.png", n, "etag") for n in range(200_000))

        def uri(self, key):
            return f"s3://bucket/{key}"

    monkeypatch.setattr(inputs, "store_at", lambda where, spec: Endless())
    tracemalloc.start()
    try:
        num_items = sum(1 for _ in list_inputs("s3://bucket/", SPEC))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert num_items == 200_000
    assert peak_bytes < 1_000_000


def test_a_real_tree_of_thousands_is_listed_once_each_in_bounded_memory(tmp_path):
    for folder in range(30):
        (tmp_path / f"{folder:02d}").mkdir()
        for n in range(100):
            (tmp_path / f"{folder:02d}" / f"{n:03d}.png").touch()
    tracemalloc.start()
    try:
        listed = sum(1 for _ in list_inputs(str(tmp_path), SPEC))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert listed == 3000
    assert peak_bytes < 200_000
    assert keys(tmp_path) == sorted(f"{f:02d}/{n:03d}.png" for f in range(30) for n in range(100))
