"""Promises of starting anew: a reader never finds a row without its object, and a crash leaves nothing half."""

import pytest

from tss_ray.records import ManifestRow, table_to_rows
from tss_ray.spec import StoreSpec
from tss_ray.storage.ledger import read_rows, write_part
from tss_ray.storage.overwrite import finish_overwrite, overwrite
from tss_ray.storage.stores import open_store

KEPT = {"images/theirs.png": b"no row names it", "manifest/notes.txt": b"not ours", "other/a.png": b"not ours"}


@pytest.fixture
def store(tmp_path):
    store = open_store(str(tmp_path / "out"), StoreSpec())
    for key, data in KEPT.items():
        store.write(key, data)
    for n in range(3):
        keys = [f"{n}/a.jpg", f"{n}/b.png"]
        for key in keys:
            store.write(f"images/{key.rpartition('.')[0]}.webp", b"x")
        write_part(store, [*(row(key) for key in keys), row(f"{n}/rotten").quarantined("corrupt", "")])
    store.write("run/0123456789abcdef/keys-000000.parquet", b"x")
    store.write("run/summary.json", b"{}")
    store.write("run/spec.json", b"{}")
    return store


def row(key):
    return ManifestRow(image_key=key, input_uri=key, spec_hash="abc", status="done", out_format="WEBP")


def contents(store):
    return {info.key: store.read(info.key) for info in store.list()}


def check_rows_have_objects(store):
    rows = [r for table in read_rows(store) for r in table_to_rows(table)]
    assert all(store.exists(f"images/{r.image_key[:3]}.webp") for r in rows if r.status == "done")
    assert len({r.image_key for r in rows}) == len(rows)


def test_rows_and_their_objects_go_and_nothing_else_does(store):
    overwrite(store)
    assert contents(store) == {**KEPT, "run/spec.json": b"{}"}
    overwrite(store)
    finish_overwrite(store)
    assert contents(store) == {**KEPT, "run/spec.json": b"{}"}


@pytest.mark.parametrize("broken_at", range(16))
def test_broken_off_anywhere_it_leaves_whole_rows_and_is_finished_later(store, monkeypatch, broken_at):
    calls = []

    def dying(method):
        def wrapped(self, *arguments):
            calls.append(arguments)
            if len(calls) > broken_at:
                raise KeyboardInterrupt
            return method(self, *arguments)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr("tss_ray.storage.overwrite.ordered_map", lambda function, items: map(function, items))
        for name in ("write", "delete"):
            patch.setattr(type(store), name, dying(getattr(type(store), name)))
        with pytest.raises(KeyboardInterrupt):
            overwrite(store)
    check_rows_have_objects(store)
    before = {key for key in contents(store) if key.startswith("manifest/")}
    finish_overwrite(store)  # what a run without --overwrite does
    check_rows_have_objects(store)
    assert {key for key in contents(store) if key.startswith("manifest/")} == before
    named = {f"images/{r.image_key[:3]}.webp" for t in read_rows(store) for r in table_to_rows(t) if r.status == "done"}
    assert {key for key in contents(store) if key.endswith(".webp")} == named
    assert not [key for key in contents(store) if key.startswith("run/overwritten/")]
    overwrite(store)
    assert contents(store) == {**KEPT, "run/spec.json": b"{}"}
