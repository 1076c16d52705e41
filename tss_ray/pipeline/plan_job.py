"""One plan from spec to files: calibrate or read a calibration, solve, write."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tss_ray.budget.calibration import Calibration
from tss_ray.budget.files import read_calibration, write_calibration, write_plan, write_text
from tss_ray.budget.planning import Goal, Terms, cap_device_s, check_terms, solve
from tss_ray.budget.prices import Prices
from tss_ray.budget.summary import plan_record, predicted_requests
from tss_ray.pipeline.calibrate import SampleSizes, calibrate
from tss_ray.spec import JobSpec

CALIBRATION_FILE, PLAN_FILE, PAGE_FILE = "calibration.parquet", "plan.json", "plan.html"


@dataclass(frozen=True)
class PlanRequest:
    """What is asked of a plan; `calibration` names a file to be used instead of measuring."""

    goal: Goal
    terms: Terms
    prices: Prices
    min_steps: int
    holdout_share: float
    sizes: SampleSizes
    score_name: str
    reference: str | None = None
    calibration: Path | None = None


@dataclass(frozen=True)
class MadePlan:
    """A plan that was written: its record, and for each bin a picture of every rung."""

    record: dict[str, Any]
    examples: list[dict[int, bytes]]
    out: Path

    def write_page(self, page: str) -> None:
        """Write the page beside the plan."""
        write_text(self.out / PAGE_FILE, page)


def make_plan(
    spec: JobSpec, asked: PlanRequest, out: Path, progress: Callable[[str, int, int], None] = lambda *_: None
) -> MadePlan:
    """Measure, solve and write calibration and plan under `out`. Raises what `calibrate` and `solve` raise."""
    check_terms(asked.terms)
    cap_device_s(asked.goal, asked.terms)  # a price that is missing is missed before an hour of measuring
    if asked.calibration is None:
        calibration = calibrate(spec, asked.sizes, asked.score_name, asked.reference, progress)
        write_calibration(out / CALIBRATION_FILE, calibration)
    else:
        calibration = read_calibration(asked.calibration)
    compute = spec.compute
    best = solve(calibration, Goal("best"), asked.terms, asked.min_steps, asked.holdout_share)
    requests = predicted_requests(best, compute.block_images, compute.part_rows)
    terms = replace(asked.terms, storage_usd=requests.usd(asked.prices.storage))
    plan = solve(calibration, asked.goal, terms, asked.min_steps, asked.holdout_share)
    record = plan_record(plan, asked.prices, predicted_requests(plan, compute.block_images, compute.part_rows))
    write_plan(out / PLAN_FILE, record)
    return MadePlan(record, examples(calibration), out)


def examples(calibration: Calibration) -> list[dict[int, bytes]]:
    """Return for each bin the pictures of the first image that has any, by steps."""
    found: list[dict[int, bytes]] = []
    for keys in calibration.sampled:
        shown = {each.image_key for each in calibration.rungs if each.example is not None}
        key = next((key for key in keys if key in shown), None)
        rungs = [each for each in calibration.rungs if each.image_key == key]
        found.append({each.num_steps: each.example for each in rungs if each.example is not None})
    return found
