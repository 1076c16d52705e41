import json
import re
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import quality
import quality_judge
from tiny import write_tiny_model


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path, tmp_path: Path):
    """Return a function that runs the script on two tiny models with metrics that cost nothing."""
    one_step = write_tiny_model(tmp_path / "one-step", residual_scale=0.2, num_steps=[1])
    monkeypatch.setattr(quality_judge, "metric", lambda _: lambda picture, reference: float(picture.std()))
    monkeypatch.setattr(quality.logging, "basicConfig", lambda **_: None)

    def main(*arguments: str) -> int:
        models = ["--model", str(tiny_model_folder), "--one-step-model", str(one_step)]
        monkeypatch.setattr(sys, "argv", ["quality.py", *models, *arguments])
        return quality.main()

    return main


def test_a_quick_run_ends_with_the_figures_that_the_protocol_names(run, tmp_path: Path, capsys) -> None:
    assert run("--quick", "--limit", "1", "--out", str(tmp_path / "out")) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    listed = quality.__doc__.partition("null where something was not\nmeasured:")[2]
    assert set(re.findall(r"^  (\w+)", listed, re.MULTILINE)) == set(line)
    assert line["setting_best"] in {"one-step model", "one-step model, gain 2", "1 step", "7 tds", "15 tds"}
    assert line["niqe_realesrgan"] is line["niqe_ours_degraded"] is line["niqe_monotone"] is None
    rows = pq.read_table(tmp_path / "out/quality.parquet").to_pylist()
    ours = ["one-step model", "one-step model, gain 2", "1 step", "7 tds", "15 tds"]
    assert [row["method"] for row in rows] == ["bicubic", *ours, "original"]
    assert [row["num_steps"] for row in rows[1:4]] == [1, 1, 1]
    assert len({row["psnry"] for row in rows[:4]}) == 4  # each is of its own model, or gain
    assert rows[-1]["edges"] == rows[-1]["grain"] == 1
    assert rows[0]["piqe_distance"] == pytest.approx(abs(rows[0]["piqe"] - rows[-1]["piqe"]))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"quality.parquet", "pictures.html", "grid_0.png"}


def test_a_full_run_measures_clean_and_degraded_inputs_of_the_same_crops(run, capsys, tmp_path: Path) -> None:
    assert run("--limit", "1", "--crops", "1", "--out", str(tmp_path / "out")) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["niqe_ours_degraded"] is not None
    assert isinstance(line["niqe_monotone"], bool)
    rows = pq.read_table(tmp_path / "out/quality.parquet").to_pylist()
    clean, degraded = (
        {(r["photo"], r["top"], r["texture"]) for r in rows if r["inputs"] == inputs}
        for inputs in ("clean", "degraded")
    )
    assert clean == degraded
    bicubic = {r["inputs"]: r["psnry"] for r in rows if r["method"] == "bicubic"}
    assert bicubic["degraded"] < bicubic["clean"]


def test_without_a_one_step_model_there_is_no_row_of_one(run, capsys, tmp_path: Path) -> None:
    assert run("--quick", "--limit", "1", "--one-step-model", "none", "--out", str(tmp_path / "out")) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["psnry_gain_one_step_model"] is None
    rows = pq.read_table(tmp_path / "out/quality.parquet").to_pylist()
    assert [row["method"] for row in rows] == ["bicubic", "1 step", "7 tds", "15 tds", "original"]


def test_smooth_windows_are_of_the_photographs_with_room_for_two(run, tmp_path: Path) -> None:
    assert run("--quick", "--windows", "smooth", "--out", str(tmp_path / "out")) == 0
    rows = pq.read_table(tmp_path / "out/quality.parquet").to_pylist()
    assert {row["photo"] for row in rows} == {"hubble_deep_field", "retina"}


def test_where_no_photograph_has_room_the_run_says_so(run, capsys) -> None:
    assert run("--quick", "--windows", "smooth", "--limit", "1") != 0
    assert "raise --limit" in capsys.readouterr().err


def test_a_setting_out_of_bounds_is_refused_before_anything_is_measured(run, capsys) -> None:
    assert run("--n", "0.5") == 2
    assert "plan.n" in capsys.readouterr().err


def test_the_noise_of_the_sampler_is_what_eta_says(run, tmp_path: Path) -> None:
    for eta in ("0", "1"):
        assert run("--quick", "--limit", "1", "--eta", eta, "--out", str(tmp_path / eta)) == 0
    first, second = (pq.read_table(tmp_path / eta / "quality.parquet").to_pylist() for eta in ("0", "1"))
    changed = {a["method"] for a, b in zip(first, second, strict=True) if a["psnry"] != b["psnry"]}
    assert changed == {"7 tds", "15 tds"}
