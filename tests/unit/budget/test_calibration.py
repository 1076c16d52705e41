"""Promises of the calibration: bins, strata, curves and intervals from what was measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibrations import FACTS, make_calibration, scanned_image

from tss_ray.budget.calibration import Calibration, RungTaken, bin_edges, stratified
from tss_ray.budget.files import read_calibration, read_plan, write_calibration, write_plan
from tss_ray.errors import InputError, SpecError, StorageError


def test_bins_hold_as_many_images_each() -> None:
    scores = [n / 100 for n in range(100)]
    edges = bin_edges(scores, 4, 1000)
    assert np.bincount(np.searchsorted(edges, scores, side="right")).tolist() == [25, 25, 25, 25]


def test_images_of_one_kind_are_one_bin_and_few_samples_make_few_bins() -> None:
    assert bin_edges([0.3] * 50, 6, 100) == ()
    assert len(bin_edges([n / 100 for n in range(100)], 6, 10)) == 1
    assert bin_edges([0.0] * 90 + [0.5] * 10, 3, 100) == ()
    assert bin_edges([0.0] * 50 + [0.5] * 50, 2, 100) == (0.5,)


def test_nothing_readable_is_an_error_with_the_remedy() -> None:
    with pytest.raises(InputError, match="correct the input, or raise --scan"):
        bin_edges([], 6, 100)


def test_every_bin_is_sampled_alike_and_what_one_lacks_the_others_give() -> None:
    seen = [scanned_image(f"{n}", texture=0.1) for n in range(50)] + [scanned_image("x", texture=0.9)]
    seen.append(scanned_image("rotten", error_kind="corrupt"))
    chosen = stratified(seen, (0.5,), 10)
    assert [each.image_key for each in chosen] == ["0", "x", *(f"{n}" for n in range(1, 9))]
    assert len(stratified(seen, (0.5,), 500)) == 51


def test_weights_are_tiles_of_the_whole_dataset_and_unreadable_images_have_none() -> None:
    seen = [scanned_image(f"{n}", texture=0.9 if n < 2 else 0.1, num_tiles=3) for n in range(8)]
    seen += [scanned_image("a", error_kind="empty"), scanned_image("b", error_kind="empty")]
    calibration = Calibration(FACTS, tuple(seen), (), (0.5,))
    assert calibration.weights[0].tolist() == [6 * 3 * 100, 2 * 3 * 100]
    assert calibration.weights[1:, 1].std() > 0
    assert calibration.readable_share == 0.8


def test_a_rung_that_another_model_ran_costs_what_was_measured_on_it() -> None:
    facts = replace(FACTS, one_step_sha256="1" * 64)
    taken = {0: 0.0, 1: 0.3, 4: 0.42, 8: 0.82}
    calibration = make_calibration(seconds=taken.__getitem__, facts=facts)
    assert calibration.costs[0] == pytest.approx([0.0, 0.3, 0.42, 0.82])
    assert calibration.costs[0][1] != pytest.approx(make_calibration(seconds=taken.__getitem__).costs[0][1])


def test_a_one_step_model_as_dear_as_steps_of_the_other_is_refused_with_those_rungs() -> None:
    facts = replace(FACTS, one_step_sha256="1" * 64)
    dear = make_calibration(seconds=lambda steps: 0.5 if steps == 1 else 0.1 * steps, facts=facts)
    with pytest.raises(SpecError, match=r"takes 0\.5 device-seconds a tile, no less than 4 steps .* leave 2 to 4 out"):
        _ = dear.costs


def test_costs_are_the_line_through_the_rungs() -> None:
    calibration = make_calibration(seconds=lambda steps: 0.02 + 0.1 * steps if steps else 0.0)
    assert calibration.costs[0] == pytest.approx([0.0, 0.12, 0.42, 0.82])
    through_zero = make_calibration(seconds=lambda steps: 0.1 * steps**1.2)
    assert through_zero.costs[0][0] == 0
    assert (np.diff(through_zero.costs, axis=1) > 0).all()


def test_a_curve_is_the_mean_weighted_by_tiles() -> None:
    seen = (scanned_image("a", num_tiles=1), scanned_image("b", num_tiles=3))
    rungs = [RungTaken(key, s, 4, 0.1 * s, q, 1.0) for key, q in (("a", 0.0), ("b", 1.0)) for s in FACTS.ladder]
    calibration = Calibration(FACTS, seen, tuple(rungs), ())
    assert calibration.qualities[0, 0].tolist() == [0.75] * 4
    assert calibration.curves()[0].weight == 1000 * 2.0


def test_more_images_make_narrower_intervals_and_the_same_images_the_same() -> None:
    def width(num: int) -> float:
        found = make_calibration(num=num).qualities[:, 0, 1]
        low, high = np.percentile(found[1:], [2.5, 97.5])
        return float(high - low)

    assert width(320) < 0.6 * width(40)
    assert width(40) == width(40)


def test_a_calibration_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    calibration = make_calibration(num=12, unreadable=2)
    write_calibration(tmp_path / "deep" / "c.parquet", calibration)
    found = read_calibration(tmp_path / "deep" / "c.parquet")
    assert found == calibration
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["c.parquet"]


def test_files_that_are_something_else_are_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(SpecError, match="make it again with tss-ray plan"):
        read_calibration(tmp_path / "x.parquet")
    with pytest.raises(StorageError, match="give the file that tss-ray plan wrote"):
        read_calibration(tmp_path / "none.parquet")
    (tmp_path / "plan.json").write_text('{"version": 0, "target": {}}')
    with pytest.raises(SpecError, match="make it again with tss-ray plan"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(SpecError, match=r"give the plan\.json"):
        read_plan(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="give another folder to --out"):
        write_plan(tmp_path / "file" / "plan.json", {})
