"""Promises of the synthetic manifest: rows like those of a run, or its figures say nothing."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import report
from report_rows import synthetic_rows, write_manifest

from tss_ray.records import MANIFEST_SCHEMA, table_to_rows
from tss_ray.report.manifest import COPIED, ORIGINS
from tss_ray.spec import StoreSpec
from tss_ray.storage.ledger import read_rows
from tss_ray.storage.stores import open_store

ASKED = {*COPIED, *ORIGINS, "in_width", "in_height", "out_width", "out_height", "started_at", "finished_at"}


def test_rows_have_the_schema_and_fill_what_a_report_asks_about() -> None:
    table = synthetic_rows(0, 2000, np.random.default_rng(0))
    assert table.schema == MANIFEST_SCHEMA
    assert [name for name in ASKED if table[name].null_count == len(table)] == []
    assert len(set(table["image_key"].to_pylist())) == 2000


def test_a_row_is_done_with_its_work_or_quarantined_with_its_reason() -> None:
    rows = table_to_rows(synthetic_rows(0, 3000, np.random.default_rng(0)))
    faults = [row for row in rows if row.status == "quarantined"]
    assert 0 < len(faults) < 60
    assert all(row.error_kind and row.num_steps is None and row.output_uri is None for row in faults)
    for row in rows:
        if row.status == "done":
            assert row.nfe == (row.num_tiles or 0) * (row.num_steps or 0)
            assert row.error_kind is None
            assert row.started_at is not None
            assert row.finished_at is not None
            stages = (row.fetch_s, row.decode_s, row.probe_s, row.queue_s, row.denoise_s, row.encode_s, row.upload_s)
            assert sum(stage or 0 for stage in stages) <= (row.finished_at - row.started_at).total_seconds()


def test_parts_hold_all_rows_and_compress_as_real_ones_do(tmp_path: Path) -> None:
    assert write_manifest(tmp_path, 2500, 1000) == 3
    tables = list(read_rows(open_store(str(tmp_path), StoreSpec())))
    assert sorted(len(table) for table in tables) == [500, 1000, 1000]
    assert len({key for table in tables for key in table["image_key"].to_pylist()}) == 2500
    buffer = io.BytesIO()
    pq.write_table(tables[0].select(["input_sha256"]), buffer, compression="zstd")
    assert buffer.tell() > 32 * len(tables[0])  # a sha256 holds 32 bytes that nothing compresses


@pytest.mark.parametrize(("rows", "name"), [(10_000_000, "10m"), (200_000, "200k"), (1500, "1500"), (7, "7")])
def test_the_line_names_the_rows_asked_for(rows: int, name: str) -> None:
    assert report.short(rows) == name


def test_one_image_in_twenty_has_two_metrics_and_quarantined_ones_have_none() -> None:
    rows = table_to_rows(synthetic_rows(0, 3000, np.random.default_rng(0)))
    measured = [row for row in rows if row.metrics is not None]
    assert 100 < len(measured) < 200
    assert all(row.status == "done" for row in measured)
    assert all([value["name"] for value in row.metrics or ()] == ["niqe", "piqe"] for row in measured)
    assert len({value["after"] for row in measured for value in row.metrics or ()}) == 2 * len(measured)
