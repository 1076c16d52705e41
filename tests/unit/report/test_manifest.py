"""Promises of opening a manifest: whatever runs left, or a message that says what to do."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tss_ray.errors import InputError, StorageError
from tss_ray.records import MANIFEST_SCHEMA
from tss_ray.report import queries
from tss_ray.report.build import ReportOptions, ask_figures
from tss_ray.report.manifest import open_manifest, open_manifests
from tss_ray.spec import StoreSpec
from tss_ray.storage.layout import part_key


def test_all_parts_are_one_table_and_nothing_stays_on_disk(
    write_output: Callable[..., Path], make_row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with open_manifest(str(write_output([make_row(f"{k}") for k in range(5)])), StoreSpec()) as manifest:
        assert manifest.ask_one("select count(*) as num from rows") == {"num": 5}
        assert manifest.metrics == ("lr_consistency_psnr",)
        assert list((tmp_path / "temporary").iterdir())
    assert not list((tmp_path / "temporary").iterdir())


def test_older_parts_lack_columns_and_metrics_are_what_records_do_not_define(
    write_output: Callable[..., Path], make_row
) -> None:
    output = write_output([make_row("a"), make_row("b")])
    table = pq.read_table(next((output / "manifest").iterdir()))
    older = table.drop_columns(["num_steps_top_rung", "queue_s", "started_at", "model_id", "in_width"])
    older = older.set_column(0, "image_key", pa.array(["c", "d"]))
    pq.write_table(older.append_column("niqe", pa.array([3.5, None])), output / part_key("0"))
    figures = ask_figures(str(output), ReportOptions())
    assert figures.totals.images == 4
    assert figures.totals.run_px_top_rung == 2 * 4 * 15 * 64**2
    assert [(spread.name, spread.num, spread.p50) for spread in figures.quality] == [
        ("lr_consistency_psnr", 4, 40.0),
        ("niqe", 1, 3.5),
    ]


def test_a_manifest_of_the_least_columns_can_be_reported_on(tmp_path: Path) -> None:
    (tmp_path / "manifest").mkdir()
    least = pa.table({"image_key": ["a"], "status": ["done"], "input_uri": ["/a"], "output_uri": ["/b"]})
    pq.write_table(least, tmp_path / part_key("0"))
    figures = ask_figures(str(tmp_path), ReportOptions())
    assert figures.totals.done == 1
    assert (figures.random[0].input_uri, figures.random[0].num_steps) == ("/a", 0)
    assert figures.cost.device_s_per_1000_images == 0
    assert any("no top rung" in sentence for sentence in figures.not_known)


def test_every_column_that_is_asked_about_is_one_of_the_records() -> None:
    from tss_ray.report.manifest import COPIED, ORIGINS

    assert {*COPIED, *ORIGINS} <= set(MANIFEST_SCHEMA.names)


@pytest.mark.parametrize("name", ["o*[ut]", "o'ut", "naïve ü"])
def test_names_of_folders_mean_themselves(name: str, write_output: Callable[..., Path], make_row) -> None:
    output = write_output([make_row("a"), make_row("b"), make_row("c")], name)
    with open_manifest(str(output), StoreSpec()) as manifest:
        assert queries.ask_totals(manifest).images == 3


def test_two_manifests_lie_beside_each_other(write_output: Callable[..., Path], make_row) -> None:
    outputs = [str(write_output([make_row("a")], "one")), str(write_output([make_row("a"), make_row("b")], "two"))]
    with open_manifests(outputs, StoreSpec()) as (one, _):
        assert one.ask_one("select count(*) as num from rows_0 join rows_1 using (image_key)") == {"num": 1}
        assert one.ask_one("select count(*) as num from rows_1") == {"num": 2}


def test_no_manifest_and_a_damaged_part_are_told_with_the_remedy(
    tmp_path: Path, write_output: Callable[..., Path], make_row
) -> None:
    with pytest.raises(InputError, match="give the OUTPUT of a run"), open_manifest(str(tmp_path), StoreSpec()):
        pass
    output = write_output([make_row("a")])
    (output / part_key("f")).write_bytes(b"no parquet at all")
    with pytest.raises(StorageError, match="delete a damaged part"), open_manifest(str(output), StoreSpec()):
        pass
    other = tmp_path / "other"
    (other / "manifest").mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), other / part_key("0"))
    with pytest.raises(StorageError, match="no column image_key"), open_manifest(str(other), StoreSpec()):
        pass
