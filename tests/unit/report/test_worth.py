"""Promises of what a report says of worth: gains, savings against the holdout, plans against what came."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tss_ray.records import ManifestRow, MetricValue
from tss_ray.report.build import ReportOptions, ask_figures
from tss_ray.report.figures import Figures
from tss_ray.report.manifest import before, open_manifest
from tss_ray.spec import StoreSpec
from tss_ray.storage.layout import SPEC_KEY
from tss_ray.storage.runs import Run, add_run, read_runs
from tss_ray.storage.stores import open_store

RNG = np.random.default_rng(0)


def niqe(low: float | None, high: float | None, fault: str | None = None) -> list[dict[str, Any]]:
    return [{"name": "ni'qe\"", "before": low, "after": high, "fault": fault}]


def asked(output: Path, **options: Any) -> Figures:
    return ask_figures(str(output), ReportOptions(images=False, **options))


def test_metrics_of_rows_are_columns_before_and_after(write_output: Callable[..., Path], make_row) -> None:
    rows = [make_row("a", metrics=niqe(6.0, 4.0)), make_row("b"), make_row("c", metrics=niqe(None, None, "too small"))]
    with open_manifest(str(write_output(rows)), StoreSpec()) as manifest:
        assert manifest.metrics == ("lr_consistency_psnr", "ni'qe\"")
        assert manifest.paired == ("ni'qe\"",)
        name = before("ni'qe\"").replace('"', '""')
        assert manifest.ask_one(f'select sum("ni\'qe""") as x, sum("{name}") as y from rows') == {"x": 4.0, "y": 6.0}


def test_gains_are_those_of_numpy_and_leave_holdouts_out(write_output: Callable[..., Path], make_row) -> None:
    one, other = RNG.normal(6, 1, 300), RNG.normal(4, 1, 300)
    rows = [make_row(f"{k}", metrics=niqe(float(one[k]), float(other[k]))) for k in range(300)]
    held = [make_row("held", holdout=True, metrics=niqe(0, 100)), make_row("nan", metrics=niqe(float("nan"), 1.0))]
    (gain,) = asked(write_output([*rows, *held])).gains
    assert gain.images == 300
    ends = (gain.before_p1, gain.before_p5, gain.before_p50, gain.after_p1, gain.after_p5, gain.after_p50)
    assert ends == pytest.approx([*np.percentile(one, [1, 5, 50]), *np.percentile(other, [1, 5, 50])])
    assert gain.gain is not None
    assert gain.gain.mean == pytest.approx((other - one).mean())
    spread = 1.96 * (other - one).std() / np.sqrt(300)
    assert gain.gain.half_width == pytest.approx(spread, rel=0.15)


def test_gains_by_texture_are_those_of_the_images_of_each_bin(write_output: Callable[..., Path], make_row) -> None:
    gained = {0.02: [-1.0, -2.0, -3.0], 0.51: [-4.0, -6.0], 0.99: [-8.0]}
    rows = [
        make_row(f"{score}-{k}", texture_score=score, metrics=niqe(9.0, 9.0 + gain))
        for score, gains in gained.items()
        for k, gain in enumerate(gains)
    ]
    held = make_row("held", holdout=True, texture_score=0.51, metrics=niqe(0, 100))
    low, middle = asked(write_output([*rows, held])).texture_gains  # one image has no interval
    assert (low.low, low.high, middle.low) == pytest.approx((0.0, 0.05, 0.5))
    assert (low.gain.mean, middle.gain.mean) == pytest.approx((-2.0, -5.0))
    assert low.gain.low < -2.0 < low.gain.high


def test_a_saving_is_told_with_the_quality_that_it_cost(write_output: Callable[..., Path], make_row) -> None:
    free = [
        make_row(f"{k}", holdout=False, nfe=28, num_tiles=4, metrics=niqe(6, float(RNG.normal(4, 0.1))))
        for k in range(200)
    ]
    held = [
        make_row(f"h{k}", holdout=True, nfe=60, num_tiles=4, metrics=niqe(6, float(RNG.normal(3, 0.1))))
        for k in range(50)
    ]
    saving = asked(write_output([*free, *held])).saving
    assert saving is not None
    assert saving.holdout == 50
    assert saving.nfe_saved is not None
    assert saving.nfe_saved.mean == pytest.approx(1 - 28 / 60)
    consistency, measured = saving.quality
    assert consistency.is_equal
    assert measured.is_equal is False
    assert measured.lost is not None
    assert measured.lost.mean == pytest.approx(-1, abs=0.05)
    assert measured.lost.high < 0


def test_a_saving_counts_tiles_by_their_area(write_output: Callable[..., Path], make_row) -> None:
    sizes = [{"tile_px": 64, "nfe": 60}, {"tile_px": 32, "nfe": 0}] * 20
    rows = [make_row(f"{k}", holdout=False, num_tiles=4, **size) for k, size in enumerate(sizes)]
    saving = asked(write_output([*rows, make_row("held", holdout=True, num_tiles=4, nfe=60)])).saving
    assert saving is not None
    assert saving.nfe_saved is not None
    assert saving.nfe_saved.mean == pytest.approx(1 / 5)


def test_a_run_without_a_holdout_tells_no_saving_and_no_plan(write_output: Callable[..., Path], make_row) -> None:
    figures = asked(write_output([make_row("a"), make_row("b")]))
    assert (figures.saving, figures.predictions, figures.gains) == (None, (), ())


def test_the_plan_is_compared_with_what_came(write_output: Callable[..., Path], make_row) -> None:
    output = write_output([make_row(f"{k}", budget_policy="target", nfe=28, num_tiles=4) for k in range(10)])
    bins = [{"weight": 20, "steps": (0, 7), "cost": (0.0, 0.4), "quality": (0.0, 1.0)}] * 2
    target = {"edges": [0.5], "bins": bins, "cap": 25, "tiles_per_image": 4, "multiplier": 0, "share": 0}
    measured = {"model_sha256": "", "tile_px": 64, "overlap_px": 16, "plan": ""}
    record = {"spec": {"budget": {"target": target | {"holdout_share": 0, "measured": measured}}}}
    (output / SPEC_KEY).parent.mkdir(exist_ok=True)
    (output / SPEC_KEY).write_text(json.dumps(record))
    told = {each.name: (each.predicted, each.actual, each.error) for each in asked(output).predictions}
    assert told["device-seconds"] == pytest.approx((16.0, 20.0, 0.25))
    assert told["device-seconds, against the cap"] == pytest.approx((25, 20, -0.2))
    assert told["mean steps of a tile"] == pytest.approx((7, 7, 0))
    assert told["tiles of an image"] == pytest.approx((4, 4, 0))


def test_the_quality_that_was_planned_is_compared_with_what_was_measured(write_output, make_row) -> None:
    def row(key: str, value: float | None, **changes: object) -> ManifestRow:
        metrics = None if value is None else [MetricValue(name="detail", before=0.1, after=value, fault=None)]
        return make_row(key, budget_policy="target", tile_px=64, metrics=metrics, **changes)

    rows = [row("one", 0.5), row("large", 0.8, num_tiles=8), row("not drawn", None)]
    rows += [row(f"held {n}", 0.4, holdout=True) for n in range(3)]
    output = write_output(rows)
    bins = [{"weight": 24, "steps": (0, 1), "cost": (0.0, 1.0), "quality": (0.2, 0.6)}]
    target = {"edges": [], "bins": bins, "tiles_per_image": 4, "multiplier": 0, "share": 0, "holdout_share": 0.1}
    measured = {"model_sha256": "", "tile_px": 64, "overlap_px": 16, "plan": ""}
    record = {"spec": {"budget": {"target": target | {"measured": measured}}}}
    (output / SPEC_KEY).parent.mkdir(exist_ok=True)
    (output / SPEC_KEY).write_text(json.dumps(record))
    told = {each.name: (each.predicted, each.actual) for each in asked(output).predictions}
    assert told["quality (detail)"] == pytest.approx((0.6, 0.9 * 0.7 + 0.1 * 0.4))


def test_small_tiles_count_by_their_area_and_what_cannot_be_read_has_none(write_output, make_row) -> None:
    ran = {"budget_policy": "target", "num_tiles": 4}
    rows = [make_row("large", nfe=28, tile_px=64, **ran), make_row("small", nfe=4, tile_px=32, **ran)]
    output = write_output([*rows, make_row("rotten").quarantined("not_an_image", "rotten")])
    bins = [{"weight": 15, "steps": (0, 1), "cost": (0.0, 1.0), "quality": (0.0, 1.0)}]
    target = {"edges": [], "bins": bins, "cost_unit": "steps", "tiles_per_image": 5 / 3, "multiplier": 0, "share": 0}
    measured = {"model_sha256": "", "tile_px": 64, "overlap_px": 16, "plan": ""}
    record = {"spec": {"budget": {"target": target | {"holdout_share": 0, "measured": measured}}}}
    (output / SPEC_KEY).parent.mkdir(exist_ok=True)
    (output / SPEC_KEY).write_text(json.dumps(record))
    told = {each.name: (each.predicted, each.actual) for each in asked(output).predictions}
    assert told["NFE"] == pytest.approx((15, 28 + 4 / 4))
    assert told["mean steps of a tile"] == pytest.approx((1, 29 / 5))
    assert told["tiles of an image"] == pytest.approx((5 / 3, 5 / 3))


def test_the_parts_of_what_was_paid_add_up_to_it(write_output: Callable[..., Path], make_row) -> None:
    """Two runs of one device, 12 s and 3 s before their first image, 40 s and 30 s of work."""
    rows = [
        make_row("a", at=0, padding_ratio=2.0, refused_device_s=1.5, metrics_s=9.0),
        make_row("b", at=10),
        make_row("c", at=1000, padding_ratio=1.0),
    ]
    output = write_output(rows)
    store = open_store(str(output), StoreSpec())
    for started_at in ("2026-01-01T11:59:48.000+00:00", "2026-01-01T12:16:37.000+00:00"):
        add_run(store, Run(started_at, 1, {}, {"tss-ray": "1"}))
    figures = asked(output, device_usd_per_hour=3600.0)
    parts = {part.name: part.seconds for part in figures.device_time.parts}
    paid = 12 + 40 + 3 + 30
    assert figures.cost.usd == pytest.approx(paid)
    assert figures.device_time.seconds == pytest.approx(paid)
    assert sum(parts.values()) == pytest.approx(paid, rel=0.01)
    assert all(seconds >= 0 for seconds in parts.values())
    assert parts["start-up"] == pytest.approx(15)
    assert parts["denoising"] == pytest.approx(5)
    assert (parts["padding"], parts["retries"]) == pytest.approx((1, 1.5))
    gap = 70 - 6 - 1.5
    stages = 3 * (1 + 2 + 3) + 3 * (6 + 7) + 9
    assert parts["decode"] == pytest.approx(min(1, gap / stages) * 18)
    assert parts["metrics"] == pytest.approx(min(1, gap / stages) * 9)


def test_work_of_other_kinds_is_at_most_its_own_seconds(write_output: Callable[..., Path], make_row) -> None:
    figures = asked(write_output([make_row("a", took=100)]), devices=2)
    parts = {part.name: part.seconds for part in figures.device_time.parts}
    assert (parts["decode"], parts["encode"], parts["metrics"]) == (6, 13, 0)
    assert parts["idle"] == pytest.approx(200 - 2 - 19)


def test_devices_are_known_only_where_all_runs_held_as_many(write_output: Callable[..., Path], make_row) -> None:
    output = write_output([make_row("a")])
    store = open_store(str(output), StoreSpec())
    for devices, basis in ((4, "held"), (4, "held"), (2, "computed")):
        add_run(store, Run("2026-01-01T11:59:48.000+00:00", devices, {}, {}))
        assert asked(output).cost.basis == basis
    assert len(read_runs(store)) == 3


def test_too_few_devices_for_what_was_computed_are_told(write_output: Callable[..., Path], make_row) -> None:
    output = write_output([make_row("a", device_seconds=100.0)])
    assert any("correct --devices" in told for told in asked(output, devices=3).not_known)
    assert not any("correct --devices" in told for told in asked(output, devices=4).not_known)


def test_runs_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StoreSpec())
    store.write("run/runs.json", b"[{")
    assert read_runs(store) == ()
    add_run(store, Run("2026-01-01T11:59:48.000+00:00", 1, {}, {}))
    assert len(read_runs(store)) == 1
