"""Promises of `tss-ray compare`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tss_ray.cli import app, main
from tss_ray.errors import InputError
from tss_ray.quality.bootstrap import interval
from tss_ray.report.compare import Change, compare_runs
from tss_ray.report.figures import as_json
from tss_ray.spec import StoreSpec

Written = Callable[..., Path]


def changes(a: Path, b: Path) -> dict[str, Change]:
    return {change.column: change for change in compare_runs(str(a), str(b), StoreSpec()).changes}


def test_differences_are_paired_and_have_the_interval_of_the_project(write_output: Written, make_row) -> None:
    rng = np.random.RandomState(0)
    base, gain = rng.normal(40, 10, 30), rng.normal(0.5, 0.2, 30)
    a = write_output([make_row(f"{k:02}", lr_consistency_psnr=base[k]) for k in range(30)], "a")
    b = write_output([make_row(f"{k:02}", lr_consistency_psnr=base[k] + gain[k]) for k in reversed(range(30))], "b")
    found, by_hand = changes(a, b)["lr_consistency_psnr"], interval(gain.tolist())
    assert by_hand is not None
    assert found.images == 30
    assert found.difference == pytest.approx(gain.mean())
    assert (found.low, found.high) == pytest.approx((by_hand.low, by_hand.high))
    assert (found.mean_a, found.mean_b) == pytest.approx((base.mean(), (base + gain).mean()))
    assert found.verdict == "B is higher"


def test_more_images_than_groups_have_the_same_interval_but_for_chance(
    write_output: Written, make_row, monkeypatch: pytest.MonkeyPatch
) -> None:
    differences = np.random.RandomState(1).normal(0, 1, 400)
    a = write_output([make_row(f"{k:03}") for k in range(400)], "a")
    b = write_output([make_row(f"{k:03}", device_seconds=2.0 + d) for k, d in enumerate(differences)], "b")
    alone = changes(a, b)["device_seconds"]
    monkeypatch.setattr("tss_ray.report.compare._NUM_GROUPS", 100)
    grouped = changes(a, b)["device_seconds"]
    assert grouped.images == alone.images == 400
    assert grouped.difference == pytest.approx(alone.difference)
    widths = [(change.high or 0) - (change.low or 0) for change in (alone, grouped)]
    assert widths[1] == pytest.approx(widths[0], rel=0.25)
    assert widths[1] != widths[0]


def test_only_images_done_in_both_are_compared_and_the_others_are_told(
    write_output: Written, make_row, make_fault
) -> None:
    a = write_output([make_row("a"), make_row("b"), make_row("c"), make_fault("d")], "a")
    b = write_output([make_row("a", num_steps=9), make_row("b", num_steps=5), make_fault("c"), make_row("e")], "b")
    found = compare_runs(str(a), str(b), StoreSpec())
    assert found.statuses == (
        ("done", "done", 2), ("done", "quarantined", 1), ("quarantined", None, 1), (None, "done", 1)
    )  # fmt: skip
    steps = {change.column: change for change in found.changes}["num_steps"]
    assert (steps.images, steps.mean_a, steps.mean_b, steps.difference) == (2, 7, 7, 0)
    assert steps.verdict == "cannot be told"


def test_a_metric_is_compared_where_both_have_it_and_it_is_finite(write_output: Written, make_row) -> None:
    outputs = []
    for name, values, other in (("a", [3.0, 4.0, None], "musiq"), ("b", [2.0, float("nan"), 1.0], "clipiqa")):
        output = write_output([make_row("x"), make_row("y")], name)
        (part,) = (output / "manifest").iterdir()
        table = pq.read_table(part)
        table = pa.concat_tables([table, table.slice(0, 1).set_column(0, table.schema.field(0), pa.array(["z"]))])
        table = table.append_column("niqe", pa.array(values)).append_column(other, pa.array([1.0] * 3))
        pq.write_table(table, part)
        outputs.append(output)
    found = changes(*outputs)
    assert list(found) == ["num_steps", "nfe", "device_seconds", "lr_consistency_psnr", "niqe"]
    assert (found["niqe"].images, found["niqe"].difference) == (1, -1.0)
    assert (found["niqe"].low, found["niqe"].verdict) == (None, "cannot be told")
    assert found["nfe"].verdict == "the same"


def test_what_the_runs_were_made_with_is_told_where_it_differs(write_output: Written, make_row) -> None:
    a = write_output([make_row("a", model_id="one", seed=0)], "a")
    b = write_output([make_row("a", model_id="two", seed=0, plan_n_min=2.0)], "b")
    assert compare_runs(str(a), str(b), StoreSpec()).origins == {
        "model_id": (("one",), ("two",)),
        "plan_n_min": ((None,), (2.0,)),
    }


def test_runs_without_a_common_image_are_refused(write_output: Written, make_row, make_fault) -> None:
    a, b = write_output([make_row("a"), make_row("b")], "a"), write_output([make_fault("a"), make_row("c")], "b")
    with pytest.raises(InputError, match="compare runs over the same input"):
        compare_runs(str(a), str(b), StoreSpec())


def test_the_command_prints_and_writes_the_same(write_output: Written, make_row, tmp_path: Path) -> None:
    a = write_output([make_row(f"{k}") for k in range(4)], "a[x]")
    b = write_output([make_row(f"{k}", nfe=14, num_steps=3) for k in range(4)], "b")
    arguments = ["compare", str(a), str(b), "--json", str(tmp_path / "c.json")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert f"A  {a}" in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("nfe")]
    assert line.split() == ["nfe", "4", "28", "14", "-14", "-14", "…", "-14", "B", "is", "lower"]
    assert json.loads((tmp_path / "c.json").read_text()) == as_json(compare_runs(str(a), str(b), StoreSpec()))


def test_compare_ends_with_2_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tss-ray", "compare", str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "give the OUTPUT of a run" in " ".join(capsys.readouterr().err.split())
