import json

import pytest

from tss_ray.records import ManifestRow
from tss_ray.spec import StoreSpec
from tss_ray.storage.layout import SUMMARY_KEY
from tss_ray.storage.ledger import read_ledger, write_part
from tss_ray.storage.stores import open_store
from tss_ray.storage.summary import clear_summary, read_summary, write_summary


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "out"), StoreSpec())


def row(key, **more):
    return ManifestRow(image_key=key, input_uri=key, spec_hash="abc", status="done", **more)


def test_the_summary_counts_what_is_committed(store):
    write_part(store, [row("a", output_bytes=3), row("b", output_bytes=4), row("c").quarantined("corrupt", "")])
    write_part(store, [row("d").quarantined("empty", ""), row("e").quarantined("corrupt", "")])
    write_summary(store, "abc", 5, read_ledger(store, "abc"))
    summary = json.loads(store.read(SUMMARY_KEY))
    assert summary.pop("finished_at").endswith("+00:00")
    assert summary == {
        "spec_hash": "abc",
        "inputs": 5,
        "rows": 5,
        "done": 2,
        "quarantined": 3,
        "quarantined_by_kind": {"corrupt": 2, "empty": 1},
        "parts": 2,
        "output_bytes": 7,
    }


def test_a_summary_that_says_the_same_stays_and_another_replaces_it(store):
    write_part(store, [row("a")])
    write_summary(store, "abc", 1, read_ledger(store, "abc"))
    old = store.read(SUMMARY_KEY).replace(b"20", b"19", 1)
    store.write(SUMMARY_KEY, old)
    write_summary(store, "abc", 1, read_ledger(store, "abc"))
    assert store.read(SUMMARY_KEY) == old
    write_part(store, [row("b")])
    write_summary(store, "abc", 2, read_ledger(store, "abc"))
    assert read_summary(store).rows == 2


def test_a_damaged_summary_is_as_good_as_none(store):
    assert read_summary(store) is None
    store.write(SUMMARY_KEY, b"{")
    assert read_summary(store) is None
    clear_summary(store)
    assert not store.exists(SUMMARY_KEY)
