"""Promises of shards: readers of the formats' own libraries find in them what was made, and rows where it is."""

import hashlib
import io
import json
from collections import Counter
from dataclasses import replace

import datasets
import numpy as np
import pytest
from outputs import SPEC_HASH, Output, enlarged, found, row
from photos import photo_bytes
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from tss_ray.errors import ImageError, ObjectNotFoundError, SpecError, StorageError
from tss_ray.pipeline.commit import Commit
from tss_ray.pipeline.rows import FILE
from tss_ray.records import rows_to_table, table_to_rows
from tss_ray.spec import StoreSpec
from tss_ray.storage.inputs import InputItem, read_uri
from tss_ray.storage.key_list import write_key_list
from tss_ray.storage.ledger import part_digest, read_ledger, read_part, read_parts, write_part
from tss_ray.storage.overwrite import overwrite
from tss_ray.storage.rewrite import drop_doubled
from tss_ray.storage.shards import delete_orphans, read_members, sample_key, shard_key, split_member, write_shard
from tss_ray.storage.stores import open_store

LAYOUTS = ["webdataset", "parquet"]
KEYS = ["a.png", "b.v1/c.d.png", "b.v1/c.e.png", "100%.png", "ünï cödé.png", f"{'long/' * 40}x.png", "x/a.png"]


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "out"), StoreSpec())


def made(store, layout, keys=KEYS, **changes):
    """Commit a part of these keys and a quarantined one, as the graph does; return its rows and files by key."""
    files = {key: enlarged(photo_bytes(n, 8, 6)) for n, key in enumerate(keys)}
    rows = [replace(row(key, photo_bytes(n, 8, 6), files[key]), **changes) for n, key in enumerate(keys)]
    rows.append(row("rotten.png", b"rotten"))
    placed = write_shard(store, layout, part_digest(rows), rows, [*files.values(), None])
    write_part(store, placed)
    return placed, files


def shards_of(store):
    return [info.key for info in store.list("images/")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_tells_where_its_image_is(store, layout):
    rows, files = made(store, layout)
    (shard,) = shards_of(store)
    for each in rows[:-1]:
        assert each.output_shard == shard
        assert each.output_uri.startswith(f"{store.uri(shard)}#")
        assert read_uri(each.output_uri, StoreSpec()) == files[each.image_key]
    assert (rows[-1].output_uri, rows[-1].output_shard) == (None, None)
    with pytest.raises(ObjectNotFoundError, match="does not hold"):
        read_uri(f"{store.uri(shard)}#another", StoreSpec())
    store.write(shard, b"torn")
    with pytest.raises(StorageError, match="the next run redoes its images"):
        read_uri(rows[0].output_uri, StoreSpec())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_retry_overwrites_itself_with_the_same_bytes(store, layout):
    made(store, layout)
    before = {key: store.read(key) for key in shards_of(store)}
    made(store, layout, fetch_s=7.0)
    assert {key: store.read(key) for key in shards_of(store)} == before


def test_webdataset_reads_one_sample_for_each_image(store):
    _, files = made(store, "webdataset")
    (shard,) = shards_of(store)
    with open(store.uri(shard), "rb") as stream:  # as a WebDataset reads it, which leaves its own stream open
        samples = list(group_by_keys(tar_file_expander([{"url": shard, "stream": stream}])))
    assert len(samples) == len(KEYS)
    for sample in samples:
        told = json.loads(sample["json"])
        assert sample["png"] == files[told["image_key"]]
        assert sample["__key__"] == sample_key(told["image_key"], "png")
        assert (told["out_width"], told["out_height"]) == (32, 24)


def test_datasets_loads_images_of_parquet_offline(store, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    _, files = made(store, "parquet")
    made(store, "parquet", ["second.png"])
    loaded = datasets.load_dataset(
        "parquet", data_files=f"{store.root}/images/*.parquet", cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert isinstance(loaded.features["image"], datasets.Image)
    assert Counter(loaded["image_key"]) == Counter([*KEYS, "second.png"])
    for sample in loaded:
        if sample["image_key"] in files:
            with Image.open(io.BytesIO(files[sample["image_key"]])) as image:
                assert np.array_equal(np.asarray(sample["image"]), np.asarray(image))
            assert sample["image"].size == (sample["out_width"], sample["out_height"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_verify_finds_what_is_missing_changed_or_too_many(tmp_path, layout):
    output = Output(tmp_path, StoreSpec())
    parts = []
    for name in output.parts:  # the same output, in shards
        rows = table_to_rows(read_part(output.store, name))
        files = [output.store.read(f"images/{r.image_key}") if r.status == "done" else None for r in rows]
        write_part(output.store, write_shard(output.store, layout, part_digest(rows), rows, files))
        parts.append((rows, files))
        for each in rows:
            output.store.delete(f"images/{each.image_key}")
    assert found(output.verify(deep=True)) == set()
    (rows, files), (other_rows, other_files), *_ = parts
    first, second = (shard_key(layout, part_digest(each)) for each in (rows, other_rows))
    output.store.write(shard_key(layout, "0" * 16), output.store.read(first))
    assert found(output.verify()) == {("extra_object", shard_key(layout, "0" * 16))}
    output.store.delete(shard_key(layout, "0" * 16))
    write_shard(output.store, layout, part_digest(other_rows), [*rows, *other_rows], [*files, *other_files])
    assert found(output.verify(deep=True)) == {("extra_object", second)}
    output.store.write(second, output.store.read(first))
    assert output.verify().ok, "a listing cannot tell"
    assert found(output.verify(deep=True)) == {("missing_object", each.image_key) for each in other_rows}
    output.store.write(second, b"torn")
    assert {kind for kind, _ in found(output.verify(deep=True))} == {"unreadable_object"}
    output.store.delete(second)
    assert [kind for kind, _ in found(output.verify())] == ["missing_object"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_shard_without_its_part_is_deleted_and_nothing_else(store, layout):
    made(store, layout)
    kept = shards_of(store)
    orphan = shard_key(layout, "0" * 16)
    store.write(orphan, b"x")
    store.write("images/theirs.tar", b"x")
    assert delete_orphans(store) == 1
    assert set(shards_of(store)) == {*kept, "images/theirs.tar"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_overwriting_deletes_shards(store, layout):
    made(store, layout)
    overwrite(store)
    assert list(store.list()) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_doubled_rows_leave_their_shards_with_the_others(store, layout):
    made(store, layout, ["a.png", "b.png"])
    made(store, layout, ["b.png", "c.png"])
    assert drop_doubled(store, read_ledger(store, SPEC_HASH).names.repeated) == 2
    told = [r for _, table in read_parts(store) for r in table.to_pylist()]
    assert Counter(r["image_key"] for r in told) == Counter(["a.png", "b.png", "c.png", "rotten.png"])
    for each in told:
        if each["status"] == "done":
            data = read_uri(each["output_uri"], StoreSpec())
            assert hashlib.sha256(data).hexdigest() == each["output_sha256"]
    names = [r["image_key"] for r in told if r["status"] == "done"]
    held = [name for shard in shards_of(store) for name in read_members(shard, store.read(shard))]
    assert sorted(held) == sorted(names)


def test_without_a_done_row_there_is_no_shard(store):
    made(store, "parquet", [])
    assert shards_of(store) == []


def test_two_inputs_of_one_sample_are_refused_before_the_run(store):
    def listed(layout):
        items = [InputItem("x.jpg", "/x.jpg", 1), InputItem("x.png", "/x.png", 1)]
        return write_key_list(store, "0", "same", lambda: items, lambda key: False, layout=layout)

    assert listed("files").num_todo == 2
    with pytest.raises(SpecError, match=r"x\.jpg and x\.png would both be written as x;"):
        listed("webdataset")


def test_only_a_shard_of_ours_has_members():
    assert split_member(f"s3://b/images/{'part-' + '0' * 16}.tar#a#b") == (f"s3://b/images/part-{'0' * 16}.tar", "a#b")
    assert split_member("s3://b/images/a.tar#b.png") is None
    with pytest.raises(ImageError):
        sample_key("../x.png", "png")


def test_the_last_operator_writes_the_shard_before_its_part(store, monkeypatch):
    written = []
    monkeypatch.setattr("tss_ray.pipeline.commit.check_lease", lambda *_: None)
    monkeypatch.setattr("tss_ray.pipeline.commit.open_store", lambda *_: store)
    write = store.write
    monkeypatch.setattr(store, "write", lambda key, *rest: (written.append(key), write(key, *rest)))
    data = photo_bytes(0, 8, 6)
    rows = [row("a.png", data, enlarged(data))]
    block = rows_to_table(rows).append_column(FILE, [[enlarged(data)]])
    (totals,) = Commit(store.root, StoreSpec(), "run", "webdataset")(block).to_pylist()
    assert totals["done"] == 1
    assert [key.partition("/")[0] for key in written] == ["images", "manifest"]
