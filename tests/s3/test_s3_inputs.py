"""What `input` means on S3: prefixes, single objects, globs and list files."""

import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tss_ray.errors import ImageError, InputError, ObjectNotFoundError, StorageError
from tss_ray.storage.inputs import list_inputs, read_uri
from tss_ray.storage.stores import open_store

pytestmark = pytest.mark.s3

KEYS = ["a.jpg", "b 100%20.png", "notes.txt", "x/c#1.jpg", "x/y/d?.jpg"]


@pytest.fixture
def root(bucket, s3_spec):
    store = open_store(f"s3://{bucket}/in", s3_spec)
    for key in KEYS:
        store.write(key, key.encode())
    open_store(f"s3://{bucket}/in-out", s3_spec).write("other.jpg", b"x")
    return f"s3://{bucket}/in"


def keys(source, spec):
    return sorted(item.image_key for item in list_inputs(source, spec))


def test_a_prefix_is_what_lies_below_it_with_or_without_a_slash(root, s3_spec):
    assert keys(root, s3_spec) == keys(root + "/", s3_spec) == KEYS
    for item in list_inputs(root, s3_spec):
        assert read_uri(item.uri, s3_spec) == item.image_key.encode()
        assert item.size_bytes == len(item.image_key)
        assert item.uri == f"{root}/{item.image_key}"


def test_a_single_object_is_keyed_by_its_name(root, s3_spec):
    (item,) = list_inputs(f"{root}/x/c#1.jpg", s3_spec)
    assert (item.image_key, item.uri, item.size_bytes) == ("c#1.jpg", f"{root}/x/c#1.jpg", 9)
    assert keys(f"{root}/x/y/d?.jpg", s3_spec) == ["d?.jpg"]


def test_globs_are_keyed_from_their_first_wildcard(root, s3_spec):
    assert keys(f"{root}/*.jpg", s3_spec) == ["a.jpg"]
    assert keys(f"{root}/**/*.jpg", s3_spec) == ["a.jpg", "x/c#1.jpg", "x/y/d?.jpg"]
    assert keys(f"{root}/x/c*", s3_spec) == ["c#1.jpg"]
    assert keys(f"{root[:-2]}in*/a.jpg", s3_spec) == ["in/a.jpg"]


@pytest.mark.parametrize("extension", ["txt", "csv", "parquet"])
def test_list_files_on_s3_name_absolute_and_relative_entries(root, s3_spec, extension, tmp_path):
    entries = ["a.jpg", f"{root}/x/c#1.jpg"]
    if extension == "parquet":
        out = io.BytesIO()
        pq.write_table(pa.table({"uri": entries, "id": [1, 2]}), out)
        data = out.getvalue()
    else:
        data = "\n".join(["uri"] * (extension == "csv") + entries).encode()
    open_store(root, s3_spec).write(f"list.{extension}", data)
    items = list(list_inputs(f"{root}/list.{extension}", s3_spec))
    assert [(i.image_key, i.uri) for i in items] == [(k, f"{root}/{k}") for k in ("a.jpg", "x/c#1.jpg")]
    assert [read_uri(i.uri, s3_spec) for i in items] == [b"a.jpg", b"x/c#1.jpg"]


def test_nothing_there_is_told_as_such(root, s3_spec):
    for source in (f"{root}/none", f"{root}/none/", f"{root}/*.bmp", f"{root}/none.jpg"):
        with pytest.raises(InputError, match="nothing found at s3://"):
            keys(source, s3_spec)
    with pytest.raises(InputError, match="named like an image"):
        keys(f"{root}/notes.txt*", s3_spec)
    with pytest.raises(ObjectNotFoundError, match="no bucket"):
        keys("s3://no-such-bucket-here/in", s3_spec)


def test_reading_keeps_to_the_limit(root, s3_spec):
    with pytest.raises(ImageError, match="limit"):
        read_uri(f"{root}/a.jpg", s3_spec, max_bytes=1)


@pytest.mark.parametrize("layout", ["webdataset", "parquet"])
def test_images_of_shards_are_fetched_by_range(bucket, s3_spec, layout):
    files = {f"x/{i}.png": bytes([i]) * (100 + i) for i in range(30)}
    store, shard = open_store(f"s3://{bucket}/in", s3_spec), io.BytesIO()
    if layout == "webdataset":
        with tarfile.open(fileobj=shard, mode="w") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    else:
        rows = [{"bytes": data, "path": name} for name, data in files.items()]
        pq.write_table(pa.table({"image": rows}), shard, row_group_size=8)
    store.write("a b#1.tar" if layout == "webdataset" else "a b#1.parquet", shard.getvalue())
    found = {item.image_key: read_uri(item.uri, s3_spec) for item in list_inputs(f"s3://{bucket}/in", s3_spec, layout)}
    assert found == {f"a b#1/{name}": data for name, data in files.items()}
    with pytest.raises(StorageError, match="of 10 bytes are there"):
        store.read_range("a b#1.tar" if layout == "webdataset" else "a b#1.parquet", len(shard.getvalue()) - 5, 10)
