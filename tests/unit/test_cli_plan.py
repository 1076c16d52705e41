"""Promises of `tss-ray plan`: what the user meets, and what is refused before anything is measured."""

import json
import sys
from pathlib import Path

import pytest
from calibrations import make_calibration
from typer.testing import CliRunner

from tss_ray.budget.files import target_overrides, write_calibration
from tss_ray.cli import app, main
from tss_ray.cli_plan import hours
from tss_ray.errors import SpecError
from tss_ray.spec import load_spec


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "c.parquet"
    write_calibration(path, make_calibration(num=60))
    return path


def test_a_calibration_and_a_goal_become_a_table_a_page_and_a_plan_that_a_job_takes(
    calibration: Path, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("devices: {mine: 2.0, rival: 1.0}\nstorage: {usd_per_1000_writes: 0.005}\n")
    goal = ["--max-cost-usd", "0.05", "--prices", str(prices), "--device", "mine"]
    arguments = ["plan", "--calibration", str(calibration), "--out", str(tmp_path / "plan"), *goal]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "at most 0.05 USD" in result.stdout
    assert "1 USD/h (rival)" in result.stdout
    assert "\x1b" not in result.stdout
    plan = json.loads((tmp_path / "plan" / "plan.json").read_text())
    assert plan["predicted"]["usd"]["value"] == pytest.approx(0.05, rel=1e-6)
    assert (tmp_path / "plan" / "plan.html").read_text().startswith("<!doctype html>")
    overrides = target_overrides(tmp_path / "plan" / "plan.json", False, {"input": "in", "output": "out"})
    job = load_spec(None, overrides)
    assert job.budget.policy == "target"
    assert job.budget.target is not None
    assert not job.budget.target.controller
    assert job.budget.target.cap == pytest.approx((0.05 - plan["storage"]["usd"]) / 2 * 3600, rel=1e-2)
    with pytest.raises(SpecError, match="contradict each other; give one of them"):
        target_overrides(tmp_path / "plan" / "plan.json", True, {"budget.num_steps": 7})


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["--max-cost-usd", "5"], "give --device-usd-per-hour"),
        (["--max-cost-usd", "5", "--deadline", "6h"], "a plan has one goal"),
        (["--deadline", "soon"], "such as 6h; correct it"),
        (["--max-device-hours", "0.000001"], "raise it, lower --min-steps, or shrink --holdout"),
        (["--min-quality", "2"], "lower --min-quality"),
        (["--min-steps", "99"], "calibrate a longer ladder"),
        (["--device-usd-per-hour", "-1"], "need a price above 0"),
        (["--device", "none-such"], "in the file of --prices"),
        (["--prices", "none-such.yaml"], "write a line such as"),
    ],
)
def test_what_cannot_be_planned_ends_with_2_and_the_remedy(
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    remedy: str,
) -> None:
    call = ["tss-ray", "plan", "--calibration", str(calibration), "--out", str(tmp_path / "plan"), *arguments]
    monkeypatch.setattr(sys, "argv", call)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert remedy in capsys.readouterr().err
    assert not (tmp_path / "plan" / "plan.json").exists()


def test_durations_have_units() -> None:
    assert [hours(text) for text in ("90m", "6h", "2d", "1.5 h", "3600s")] == [1.5, 6, 48, 1.5, 1]
