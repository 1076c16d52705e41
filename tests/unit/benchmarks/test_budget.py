"""Promises of the budget benchmark: the whole of it on an untrained network, and figures that follow from numbers."""

import json
from dataclasses import replace
from pathlib import Path

import budget
import pytest
from calibrations import FACTS, make_calibration

from tss_ray.budget.policy import choose_steps
from tss_ray.pipeline.probe import probe
from tss_ray.spec import BudgetSpec

FIGURES = {"nfe_share_at_equal_quality", "quality_gain_at_equal_nfe", "cap_error", "noisy_flat_steps"}


def test_the_last_line_holds_the_figures(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--quick", "--model", str(tiny_model_folder), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["budget.py", *arguments])
    assert budget.main() == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.keys() >= FIGURES
    assert figures["noisy_flat_steps"] is not None
    assert figures["clean_flat_steps"] is not None
    assert (tmp_path / "budget.parquet").exists()


def test_where_steps_help_only_texture_less_nfe_is_needed_and_the_cap_is_met() -> None:
    facts = replace(FACTS, ladder=BudgetSpec().ladder)
    figures = budget.compare(make_calibration(num=90, facts=facts, reach=15))
    assert figures["nfe_share_at_equal_quality"] <= 1
    assert figures["quality_gain_at_equal_nfe"] > 0.008
    assert figures["quality_gain_folds"] > 0.008
    assert abs(figures["cap_error"]) < 0.02


def test_every_image_is_judged_once_and_never_by_a_plan_that_saw_a_copy_of_it() -> None:
    everything = make_calibration(num=90)
    thirds = [budget._split(everything, fold) for fold in range(3)]
    assert sorted(e.image_key for third, _ in thirds for e in third) == sorted(e.image_key for e in everything.readable)
    for third, others in thirds:
        inside, outside = ({e.image_key.rpartition("-")[0] or e.image_key for e in each} for each in (third, others))
        assert inside
        assert not inside & outside


@pytest.mark.parametrize("std", [0.02, 0.05])
def test_noisy_copies_of_flat_pictures_get_no_more_steps_than_the_clean_ones(
    std: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "NOISE_STD", std)
    for number in range(12):
        lr, _ = budget.flat(number)
        scores = [probe(pixels).texture_score for pixels in (lr, budget.noisy(lr, f"{number}"))]
        clean, noisy = (choose_steps(BudgetSpec(), score, "") for score in scores)
        assert noisy <= clean <= 1
