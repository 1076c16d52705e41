"""Promises of a run's beginning: what it may do to an output before it does any image."""

import hashlib
from pathlib import Path

import pytest

from tss_ray.errors import InputError, SpecError
from tss_ray.pipeline.job import Start, _begin
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec
from tss_ray.storage.layout import SUMMARY_KEY
from tss_ray.storage.ledger import read_ledger, write_part
from tss_ray.storage.protocol import Store
from tss_ray.storage.stores import open_store
from tss_ray.storage.summary import write_summary

HASH = "abc"


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"x")
    return JobSpec(input=str(tmp_path / "in"), output=str(tmp_path / "out"))


@pytest.fixture
def store(spec: JobSpec) -> Store:
    store = open_store(spec.output, spec.store)
    store.write("images/a.png", b"a")
    write_part(store, [row("a.png"), row("b.png").quarantined("corrupt", "it is rotten; replace it")])
    write_summary(store, HASH, 2, read_ledger(store, HASH))
    return store


def row(key: str, spec_hash: str = HASH) -> ManifestRow:
    digest = hashlib.sha256(b"a").hexdigest()
    return ManifestRow(
        image_key=key, input_uri=key, spec_hash=spec_hash, status="done", out_format="PNG", output_sha256=digest
    )


def contents(store: Store) -> dict[str, bytes]:
    return {info.key: store.read(info.key) for info in store.list()}


def test_a_plain_start_changes_nothing(spec: JobSpec, store: Store) -> None:
    before = contents(store)
    ledger, num_taken_back = _begin(spec, HASH, store, Start())
    assert (len(ledger.names), num_taken_back) == (2, 0)
    assert contents(store) == before


def test_another_try_of_what_is_not_there_changes_nothing(spec: JobSpec, store: Store) -> None:
    before = contents(store)
    _, num_taken_back = _begin(spec, HASH, store, Start(retry_quarantined=frozenset({"not_found"})))
    assert num_taken_back == 0
    assert contents(store) == before


def test_another_try_takes_back_rows_and_the_summary_that_counts_them(spec: JobSpec, store: Store) -> None:
    ledger, num_taken_back = _begin(spec, HASH, store, Start(retry_quarantined=frozenset()))
    assert num_taken_back == 1
    assert "b.png" not in ledger.names
    assert "a.png" in ledger.names
    assert not store.exists(SUMMARY_KEY)


def test_rows_of_another_spec_are_refused_before_any_is_taken_back(spec: JobSpec, store: Store) -> None:
    before = contents(store)
    with pytest.raises(SpecError, match="--overwrite"):
        _begin(spec, "other", store, Start(retry_quarantined=frozenset()))
    assert contents(store) == before


def test_a_wrong_input_costs_no_results(spec: JobSpec, store: Store) -> None:
    before = contents(store)
    with pytest.raises(InputError):
        _begin(spec.model_copy(update={"input": spec.input + "-wrong"}), HASH, store, Start(overwrite=True))
    assert contents(store) == before
    ledger, _ = _begin(spec, "other", store, Start(overwrite=True))
    assert len(ledger.names) == 0
    assert contents(store) == {}


def test_rows_that_a_lost_run_doubled_are_put_right(
    spec: JobSpec, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    write_part(store, [row("a.png"), row("c.png")])
    ledger, _ = _begin(spec, HASH, store, Start())
    assert (ledger.num_rows, len(ledger.names)) == (3, 3)
    assert "1 rows of images that have several were removed" in caplog.text
    assert not store.exists(SUMMARY_KEY)
