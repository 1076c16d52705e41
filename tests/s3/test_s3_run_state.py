"""Key lists and the ledger on S3: what a run leaves behind is what the next run finds."""

import pytest

from tss_ray.errors import ImageError, SpecError
from tss_ray.records import ManifestRow, table_to_rows
from tss_ray.storage.inputs import list_inputs
from tss_ray.storage.key_list import read_key_file, write_key_list
from tss_ray.storage.layout import output_key
from tss_ray.storage.ledger import read_ledger, read_rows, write_part
from tss_ray.storage.stores import open_store

pytestmark = pytest.mark.s3

KEYS = ["a b.jpg", "naïve/ü%20.jpg", "x/y.jpg"]


@pytest.fixture
def places(bucket, s3_spec):
    source, output = f"s3://{bucket}/in", f"s3://{bucket}/out"
    for key in KEYS:
        open_store(source, s3_spec).write(key, b"x")
    return source, open_store(output, s3_spec)


def row(key, spec_hash="abc", status="done"):
    return ManifestRow(image_key=key, input_uri=f"s3://b/{key}", spec_hash=spec_hash, status=status)


def test_a_resumed_run_lists_only_what_has_no_row(places, s3_spec):
    source, store = places

    def todo():
        done = read_ledger(store, "abc").names
        listed = write_key_list(store, "abc", "png", lambda: list_inputs(source, s3_spec), done.__contains__)
        assert listed.num_listed == 3
        return [item.image_key for name in listed.names for item in read_key_file(store, name)]

    assert sorted(todo()) == KEYS
    first = write_part(store, [row(KEYS[1]), row(KEYS[0], status="pending")])
    assert todo() == [KEYS[0], KEYS[2]]
    assert write_part(store, [row(KEYS[0]), row(KEYS[1])]) == first
    write_part(store, [row(KEYS[2])])
    assert todo() == []
    rows = [r for table in read_rows(store) for r in table_to_rows(table)]
    assert sorted(r.image_key for r in rows) == KEYS


def test_results_lie_where_the_layout_says(places):
    _, store = places
    for key in KEYS:
        store.write(output_key(key, "webp"), b"x", "image/webp")
    found = [info.key for info in store.list()]
    assert sorted(found) == ["images/a b.webp", "images/naïve/ü%20.webp", "images/x/y.webp"]
    with pytest.raises(ImageError, match="rename"):
        store.write(output_key("../escape.png", "png"), b"x")


def test_collisions_and_rows_of_another_spec_stop_the_run(places, s3_spec):
    source, store = places
    open_store(source, s3_spec).write("x/y.png", b"x")
    with pytest.raises(SpecError, match=r"x/y\.jpg and x/y\.png would both"):
        write_key_list(store, "abc", "png", lambda: list_inputs(source, s3_spec), {"x/y.jpg"}.__contains__)
    write_part(store, [row("a", spec_hash="old")])
    with pytest.raises(SpecError, match="choose another output folder"):
        read_ledger(store, "abc")
