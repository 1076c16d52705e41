"""Promises of taking rows back: nothing lost, nothing twice, wherever it is broken off."""

import hashlib
from datetime import UTC, datetime

import pytest

from tss_ray.records import ManifestRow, table_to_rows
from tss_ray.spec import StoreSpec
from tss_ray.storage.ledger import read_ledger, read_rows, write_part
from tss_ray.storage.rewrite import drop_doubled, take_back_quarantined
from tss_ray.storage.stores import open_store

SOON, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "out"), StoreSpec())


def row(key, status="done", **more):
    return ManifestRow(image_key=key, input_uri=f"/in/{key}", spec_hash="abc", status=status, **more)


def rotten(key, kind="corrupt"):
    return row(key).quarantined(kind, "it is rotten; replace it")


def done(key, data, finished_at=SOON, **more):
    digest = hashlib.sha256(data).hexdigest()
    return row(key, output_sha256=digest, out_format="PNG", finished_at=finished_at, **more)


def committed(store):
    return sorted(r.image_key for table in read_rows(store) for r in table_to_rows(table))


def parts(store):
    return {info.key: store.read(info.key) for info in store.list("manifest/")}


def test_quarantined_rows_go_and_the_others_stay_under_the_same_name(store):
    first = write_part(store, [row("a"), rotten("b"), rotten("c", "not_found")])
    untouched = write_part(store, [row("d")])
    before = parts(store)
    assert take_back_quarantined(store, frozenset()) == 2
    assert committed(store) == ["a", "d"]
    assert parts(store).keys() == {first, untouched}
    assert parts(store)[untouched] == before[untouched]
    assert parts(store)[first] != before[first]


def test_only_the_kinds_that_were_asked_for_are_taken_back(store):
    write_part(store, [row("a"), rotten("b"), rotten("c", "not_found"), rotten("d", "fetch_failed")])
    assert take_back_quarantined(store, frozenset({"not_found", "fetch_failed"})) == 2
    assert committed(store) == ["a", "b"]
    assert take_back_quarantined(store, frozenset({"not_found"})) == 0


def test_a_part_without_rows_left_is_deleted_and_its_retry_may_have_its_name(store):
    name = write_part(store, [rotten("a"), rotten("b")])
    assert take_back_quarantined(store, frozenset()) == 2
    assert parts(store) == {}
    assert write_part(store, [row("a"), row("b")]) == name


@pytest.mark.parametrize("broken_at", range(3))
def test_broken_off_anywhere_it_is_finished_by_the_next_one_without_doubles(store, monkeypatch, broken_at):
    for n in range(3):
        write_part(store, [row(f"a{n}"), rotten(f"b{n}")])
    write, calls = type(store).write, []

    def dying(self, *arguments):
        calls.append(arguments)
        if len(calls) > broken_at:
            raise KeyboardInterrupt
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "write", dying)
        patch.setattr("tss_ray.storage.rewrite.ordered_map", lambda function, items: map(function, items))
        with pytest.raises(KeyboardInterrupt):
            take_back_quarantined(store, frozenset())
    ledger = read_ledger(store, "abc")
    assert ledger.done == 3
    assert sum(ledger.quarantined.values()) == 3 - broken_at
    assert not ledger.names.repeated
    assert take_back_quarantined(store, frozenset()) == 3 - broken_at
    assert committed(store) == ["a0", "a1", "a2"]


def test_of_doubled_rows_the_one_that_its_object_agrees_with_stays(store):
    store.write("images/a.png", b"first")
    write_part(store, [done("a.jpg", b"first", node="kept"), row("b")])
    write_part(store, [done("a.jpg", b"second", LATE), row("c"), row("d")])
    ledger = read_ledger(store, "abc")
    assert ledger.num_rows == len(ledger.names) + 1
    assert drop_doubled(store, ledger.names.repeated) == 1
    assert committed(store) == ["a.jpg", "b", "c", "d"]
    assert [r.node for table in read_rows(store) for r in table_to_rows(table) if r.image_key == "a.jpg"] == ["kept"]
    assert not read_ledger(store, "abc").names.repeated


def test_without_an_object_that_agrees_no_doubled_row_stays_and_the_image_is_done_again(store):
    store.write("images/a.png", b"third")
    write_part(store, [done("a", b"first"), done("gone", b"x"), row("b")])
    write_part(store, [done("a", b"second"), done("gone", b"x"), row("c")])
    assert drop_doubled(store, read_ledger(store, "abc").names.repeated) == 4
    assert committed(store) == ["b", "c"]


def test_of_doubled_quarantined_rows_the_latest_stays(store):
    write_part(store, [row("a", finished_at=SOON).quarantined("corrupt", ""), row("b")])
    write_part(store, [row("a", finished_at=LATE).quarantined("not_found", ""), row("c")])
    assert drop_doubled(store, read_ledger(store, "abc").names.repeated) == 1
    assert read_ledger(store, "abc").quarantined == {"not_found": 1}
