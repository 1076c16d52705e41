import dataclasses

import pytest

from tss_ray.errors import EngineError, SpecError, StorageError
from tss_ray.records import ManifestRow, table_to_rows
from tss_ray.spec import StoreSpec
from tss_ray.storage.ledger import read_ledger, read_rows, write_part
from tss_ray.storage.stores import open_store


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "out"), StoreSpec())


def row(key, status="done", spec_hash="abc", **more):
    return ManifestRow(image_key=key, input_uri=f"/in/{key}", spec_hash=spec_hash, status=status, **more)


def committed(store):
    return [r for table in read_rows(store) for r in table_to_rows(table)]


def test_a_committed_row_reads_back_as_it_was(store):
    rows = [row("a.png", in_width=3, texture_score=0.5), row("b.png").quarantined("decode", "no image")]
    name = write_part(store, rows)
    assert name.startswith("manifest/part-")
    assert name.endswith(".parquet")
    assert committed(store) == rows


def test_a_retried_write_overwrites_itself_in_any_order(store):
    first = write_part(store, [row("a.png", node="n1"), row("b.png")])
    again = write_part(store, [row("b.png"), row("a.png", node="n2")])
    assert first == again
    assert sorted(r.image_key for r in committed(store)) == ["a.png", "b.png"]
    assert {r.node for r in committed(store)} == {"n2", None}


def test_other_keys_or_another_spec_make_another_part(store):
    names = {write_part(store, [row(k, spec_hash=s) for k in ks]) for ks, s in (("a", "x"), ("b", "x"), ("a", "y"))}
    assert len(names | {write_part(store, [row("ab"), row("c")]), write_part(store, [row("a"), row("bc")])}) == 5


def test_pending_rows_are_never_committed_and_a_retry_that_ends_them_replaces_the_part(store):
    assert write_part(store, [row("a.png", "pending")]) is None
    assert write_part(store, []) is None
    assert committed(store) == []
    first = write_part(store, [row("a.png", "pending"), row("b.png")])
    assert [r.image_key for r in committed(store)] == ["b.png"]
    assert write_part(store, [row("a.png"), row("b.png")]) == first
    assert len(committed(store)) == 2


def test_done_is_what_has_a_row_whatever_its_status(store):
    assert len(read_ledger(store, "abc").names) == 0
    write_part(store, [row("a.png"), row("b.png").quarantined("decode", "no image")])
    for n in range(40):
        write_part(store, [row(f"{n}.png")])
    done = read_ledger(store, "abc").names
    assert len(done) == 42
    assert "a.png" in done
    assert "b.png" in done
    assert "39.png" in done
    assert "c.png" not in done


def test_rows_of_another_spec_are_not_mixed(store):
    write_part(store, [row("a.png", spec_hash="old")])
    with pytest.raises(SpecError, match=r"another spec \(old .*choose another output folder"):
        read_ledger(store, "new")


def test_what_no_honest_graph_makes_is_reported_as_a_bug(store):
    for rows in ([row("a"), row("a")], [row("a"), row("b", spec_hash="other")]):
        with pytest.raises(EngineError, match="report"):
            write_part(store, rows)


def test_a_damaged_part_says_that_it_may_be_deleted(store):
    store.write("manifest/part-0000000000000000.parquet", b"PAR1 torn")
    with pytest.raises(StorageError, match="delete it, and the next run"):
        read_ledger(store, "abc")


def test_images_beside_the_ledger_are_not_read(store):
    store.write("images/a.parquet", b"no part")
    write_part(store, [dataclasses.replace(row("a.png"), output_uri="x")])
    assert len(committed(store)) == 1
