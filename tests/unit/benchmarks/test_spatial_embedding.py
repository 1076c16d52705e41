"""Promises of the benchmark of timestep maps: it runs both ways on one batch and ends with figures for a machine."""

import json
from pathlib import Path

import pytest
import spatial_embedding
import torch


def test_the_last_line_holds_the_overhead_of_the_forward_and_of_the_step(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(tiny_model_folder), "--rounds", "2", "--max-batch", "2", "--levels", "3", "--cpu"]
    monkeypatch.setattr("sys.argv", ["spatial_embedding.py", *arguments])
    assert spatial_embedding.main() == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.keys() == {
        *("sds_overhead", "forward_seconds", "sds_forward_seconds"),
        *("sds_step_overhead", "step_seconds", "sds_step_seconds"),
    }
    assert all(figures[name] > 0 for name in figures if name.endswith("seconds"))


def test_the_overhead_is_the_median_of_the_rounds_own_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    # rounds of a machine that gets slower and slower: 10% more in each but one
    seconds = {"ordinary": iter([9, 1, 2, 4, 8, 16]), "spatial": iter([1, 1.1, 2.2, 9, 8.8, 17.6])}
    monkeypatch.setattr(spatial_embedding, "_seconds", lambda run, device: next(seconds[run()]))
    passes = (lambda: "ordinary", lambda: "spatial")
    found = spatial_embedding._measure(*passes, torch.device("cpu"), rounds=5, warm_up=1)
    assert found == pytest.approx((4, 8.8, 0.1))
