"""Promises of measuring for a plan: bounded, repeatable samples, and every rung of the ladder on real images."""

import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from photos import photo_bytes
from PIL import Image
from tiny import write_tiny_model

from tss_ray.budget.files import read_calibration
from tss_ray.budget.planning import Goal, Terms
from tss_ray.budget.prices import Prices
from tss_ray.errors import InputError, SpecError
from tss_ray.models.registry import check_model
from tss_ray.pipeline.calibrate import SampleSizes, calibrate, sample_keys
from tss_ray.pipeline.plan_job import PlanRequest, make_plan
from tss_ray.report.budget_page import plan_page
from tss_ray.report.budget_table import plan_tables
from tss_ray.spec import JobSpec, load_spec
from tss_ray.storage.inputs import InputItem


def items(num: int) -> Callable[[], list[InputItem]]:
    return lambda: [InputItem(f"{n:06d}.png", f"/in/{n:06d}.png", 7) for n in range(num)]


def test_the_sample_depends_on_the_keys_and_not_on_their_order() -> None:
    one = sample_keys(iter(items(500)()), 20)
    other = sample_keys(iter(reversed(items(500)())), 20)
    assert one == other
    assert (one.num_listed, one.listed_bytes, len(one.sample)) == (500, 3500, 20)
    assert sample_keys(iter(items(500)()), 10).sample == one.sample[:10]
    assert len(sample_keys(iter(items(5)()), 20).sample) == 5


def test_a_listing_of_unknown_sizes_has_no_sum() -> None:
    assert sample_keys(iter([InputItem("a", "/a", None), InputItem("b", "/b", 3)]), 5).listed_bytes is None


@pytest.mark.parametrize("sizes", [{"scan": 0}, {"sample": 0}, {"bins": -1}])
def test_an_empty_sample_is_refused_before_anything_is_listed(sizes: dict[str, int]) -> None:
    (name, given), nowhere = next(iter(sizes.items())), JobSpec(input="/nowhere", output="nowhere")
    with pytest.raises(InputError, match=f"--{name} {given}: .*; choose 1 or more"):
        calibrate(nowhere, SampleSizes(**sizes))


def test_a_hundred_thousand_keys_stream_through_bounded_memory() -> None:
    tracemalloc.start()
    try:
        listed = sample_keys((InputItem(f"{n}.png", f"s3://b/{n}.png", n) for n in range(100_000)), 100)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (listed.num_listed, len(listed.sample)) == (100_000, 100)
    assert peak_bytes < 1_000_000


@pytest.fixture
def job(tmp_path: Path, tiny_model_folder: Path) -> JobSpec:
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(6):
        (folder / f"{n}.png").write_bytes(photo_bytes(n, 24 + 4 * n, 30))
    (folder / "flat.png").write_bytes(_png(Image.new("RGB", (20, 20), (90, 120, 40))))
    (folder / "rotten.png").write_bytes(b"rotten")
    settings = {
        "input": str(folder),
        "output": "nowhere",
        "model": str(tiny_model_folder),
        "tiles.tile_px": 16,
        "tiles.overlap_px": 4,
        "budget.ladder": [0, 1, 2],
        "budget.thresholds": [0.1, 0.3],
        "compute.max_batch": 4,
    }
    return load_spec(None, settings)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_a_folder_becomes_a_calibration_a_plan_and_a_page(job: JobSpec, tmp_path: Path) -> None:
    goal = Goal("max_mean_steps", 1.0)
    asked = PlanRequest(goal, Terms(), Prices(), 0, 0.01, SampleSizes(100, 5, 2), "detail")
    told: list[tuple[str, int, int]] = []
    made = make_plan(job, asked, tmp_path / "plan", lambda *what: told.append(what))
    made.write_page(plan_page(made.record, made.examples))
    calibration = read_calibration(tmp_path / "plan" / "calibration.parquet")
    assert calibration.facts.num_listed == 8
    assert [each.error_kind for each in calibration.scanned if each.image_key == "rotten.png"] == ["not_an_image"]
    assert len({rung.image_key for rung in calibration.rungs}) == 5
    assert {rung.num_steps for rung in calibration.rungs} == {0, 1, 2}
    assert all((rung.device_s > 0) == (rung.num_steps > 0) for rung in calibration.rungs)
    assert all(0 < rung.score <= 1 for rung in calibration.rungs)
    assert ("ladder", 5, 5) in told
    plan = json.loads((tmp_path / "plan" / "plan.json").read_text())
    assert plan["predicted"]["mean_steps"]["value"] <= 1 + 1e-9
    assert plan["predicted"]["usd"] is None
    page = (tmp_path / "plan" / "plan.html").read_text()
    assert page.count("<svg") == 3
    assert "data:image/webp;base64," in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert plan_tables(made.record)
    again = PlanRequest(
        Goal("max_cost_usd", 5.0),
        Terms(usd_per_device_hour=1.0),
        Prices(devices={"dear": 3.0}),
        0,
        0.01,
        asked.sizes,
        "detail",
        calibration=tmp_path / "plan" / "calibration.parquet",
    )
    later = make_plan(job, again, tmp_path / "later")
    assert {row["name"] for row in later.record["what_if"]} >= {"half the cap", "double the cap", "3 USD/h (dear)"}
    assert later.record["facts"] == made.record["facts"]


def test_rung_1_is_measured_on_the_model_that_runs_it(job: JobSpec, tmp_path: Path) -> None:
    second = write_tiny_model(tmp_path / "one", num_steps=[1], residual_scale=0.3)
    sizes, both = SampleSizes(100, 5, 2), job.model_copy(update={"one_step_model": str(second)})
    found, main = calibrate(both, sizes), calibrate(job, sizes)
    alone = calibrate(
        job.model_copy(update={"model": str(write_tiny_model(tmp_path / "m", residual_scale=0.3))}), sizes
    )
    scores = [{(r.image_key, r.num_steps): r.score for r in each.rungs} for each in (found, main, alone)]
    for key, score in scores[0].items():
        assert score == scores[2 if key[1] == 1 else 1][key]
    assert any(scores[1][key] != scores[2][key] for key in scores[0] if key[1] == 1)
    assert found.facts.one_step_sha256 == check_model(str(second)).sha256
    assert main.facts.one_step_sha256 is None


def test_with_originals_the_score_compares(job: JobSpec, tmp_path: Path) -> None:
    originals = tmp_path / "originals"
    originals.mkdir()
    for path in Path(job.input).glob("[0-9f]*.png"):
        with Image.open(path) as image:
            image.resize((image.width * 4, image.height * 4), Image.Resampling.BICUBIC).save(originals / path.name)
    found = calibrate(job, SampleSizes(100, 3, 1), "ssim", str(originals))
    bicubic = [rung.score for rung in found.rungs if rung.num_steps == 0]
    assert min(bicubic) > 0.99
    assert max(rung.score for rung in found.rungs if rung.num_steps == 1) < min(bicubic)
    (originals / "1.png").unlink()
    with pytest.raises(InputError, match="Or plan without --reference"):
        calibrate(job, SampleSizes(100, 100, 1), "psnry", str(originals))


def test_a_score_that_does_not_fit_is_refused_before_anything_is_read(job: JobSpec) -> None:
    with pytest.raises(SpecError, match=r"choose of detail, psnry, ssim"):
        calibrate(job, SampleSizes(), "beauty")
    with pytest.raises(SpecError, match="name their folder with --reference"):
        calibrate(job, SampleSizes(), "ssim")


def test_a_missing_price_is_missed_before_anything_is_measured(job: JobSpec, tmp_path: Path) -> None:
    asked = PlanRequest(Goal("max_cost_usd", 5.0), Terms(), Prices(), 0, 0.01, SampleSizes(), "detail")
    with pytest.raises(SpecError, match="give --device-usd-per-hour"):
        make_plan(job, asked, tmp_path / "plan")
    assert not (tmp_path / "plan").exists()
