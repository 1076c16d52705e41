"""Promises of `tss-ray verify`: each fault is found, counted and named, and a whole output is found whole."""

import dataclasses
import json

import pytest
from outputs import Output, enlarged, found
from photos import photo_bytes
from typer.testing import CliRunner

from tss_ray.cli import app
from tss_ray.errors import SpecError
from tss_ray.spec import StoreSpec
from tss_ray.storage.layout import MANIFEST, SPEC_KEY, SUMMARY_KEY, part_key
from tss_ray.storage.ledger import write_part
from tss_ray.storage.stores import open_store
from tss_ray.verify.check import verify
from tss_ray.verify.findings import EXAMPLES


@pytest.fixture
def output(tmp_path):
    return Output(tmp_path, StoreSpec())


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_output_is_found_whole(output, deep, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    report = verify("out", StoreSpec(), None, deep=deep)
    assert report.ok
    assert found(report) == set()
    assert (report.inputs, report.rows, report.done, report.quarantined, report.objects) == (13, 13, 12, 1, 12)
    assert report.complete


def test_listings_show_what_is_missing_extra_and_of_another_size(output):
    output.store.delete("images/0/0.png")
    output.store.write("images/theirs.png", b"x")
    output.store.write("images/1/1.png", b"x")
    output.source.write("late.png", b"x")
    output.source.delete("2/2.png")
    output.source.write("0/3.png", b"x")
    wanted = {
        ("missing_object", "0/0.png"),
        ("extra_object", "images/theirs.png"),
        ("object_size", "1/1.png"),
        ("missing_row", "late.png"),
        ("gone_input", "2/2.png"),
        ("changed_input", "0/3.png"),
    }
    assert found(output.verify()) == wanted
    assert found(output.verify(deep=True)) == wanted, "what the listing told was told again"
    assert found(output.verify(inputs=False)) == {(kind, key) for kind, key in wanted if "object" in kind}


def test_only_the_bytes_show_what_was_changed_in_place(output):
    def flip(store, key):
        data = bytearray(store.read(key))
        data[-1] ^= 1
        store.write(key, bytes(data))

    flip(output.store, "images/0/0.png")
    flip(output.source, "1/1.png")
    assert output.verify().ok
    assert found(output.verify(deep=True)) == {("object_sha256", "0/0.png"), ("changed_input", "1/1.png")}
    assert found(output.verify(deep=True, inputs=False)) == {("object_sha256", "0/0.png")}


def test_deep_decodes_what_its_row_tells(output):
    data = photo_bytes(1, 20, 20)
    for key, result in (("cut.png", enlarged(data)[:-300]), ("small.png", data)):
        write_part(output.store, [output.add(key, data, result)])
    output.store.delete(SUMMARY_KEY)
    assert output.verify().ok
    assert found(output.verify(deep=True)) == {("unreadable_object", "cut.png"), ("unreadable_object", "small.png")}


def test_rows_that_contradict_each_other_are_told(output):
    data = photo_bytes(0, 12, 10)
    again = output.add("0/0.png", data, enlarged(data))
    other = output.add("late.png", data, None)
    write_part(output.store, [again, other])
    write_part(output.store, [dataclasses.replace(output.add("old.png", data, None), spec_hash="other")])
    torn = part_key("0" * 16)
    output.store.write(torn, b"PAR1 torn")
    mixed = {info.key for info in output.store.list(MANIFEST)} - {*output.parts, torn}
    report = output.verify(deep=True)
    assert found(report) - {("other_spec", key) for key in mixed} == {
        ("doubled_row", "0/0.png"),
        ("unreadable_part", torn),
        ("wrong_summary", "run/summary.json"),
    }
    assert report.counts["other_spec"] == 1


def test_all_are_counted_where_only_some_are_named(output):
    for n in range(3 * EXAMPLES):
        output.store.write(f"images/extra/{n}.png", b"x")
    report = output.verify()
    assert report.counts == {"extra_object": 3 * EXAMPLES}
    assert len({finding.key for finding in report.examples}) == EXAMPLES


def test_a_hidden_input_that_was_asked_for_by_name_is_no_missing_object(output):
    data = photo_bytes(0, 12, 10)
    write_part(output.store, [output.add(".hidden.png", data, enlarged(data))])
    output.store.delete(SUMMARY_KEY)
    assert found(output.verify(inputs=False)) == set()
    output.store.delete("images/.hidden.png")
    assert found(output.verify(inputs=False)) == {("missing_object", ".hidden.png")}


def test_where_no_run_has_been_there_is_nothing_to_verify(tmp_path):
    with pytest.raises(SpecError, match="correct the output"):
        verify(str(tmp_path), StoreSpec(), None)
    open_store(str(tmp_path), StoreSpec()).write(SPEC_KEY, b"{}")
    with pytest.raises(SpecError, match="damaged"):
        verify(str(tmp_path), StoreSpec(), None)


def test_the_command_ends_with_1_where_something_is_wrong_and_prints_one_object(output):
    fine = CliRunner().invoke(app, ["verify", output.store.root, "--deep"])
    assert fine.exit_code == 0
    assert "all is well" in fine.stdout
    output.store.delete("images/0/0.png")
    wrong = CliRunner().invoke(app, ["verify", output.store.root])
    assert wrong.exit_code == 1
    assert "missing_object" in wrong.stdout
    assert "0/0.png" in wrong.stdout
    told = CliRunner().invoke(app, ["verify", output.store.root, "--json"])
    assert told.exit_code == 1
    report = json.loads(told.stdout)
    assert (report["ok"], report["rows"], report["findings"]["missing_object"]) == (False, 13, 1)
    assert report["examples"] == [{"kind": "missing_object", "key": "0/0.png", "detail": ""}]
