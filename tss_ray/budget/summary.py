"""A plan as plain values: what plan.json holds, and what table and page are drawn from."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tss_ray.budget.calibration import Calibration, Estimate
from tss_ray.budget.planning import Plan, Point, target_of, what_ifs
from tss_ray.budget.prices import Prices, Requests, job_requests

SCALE = 4
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def plan_record(plan: Plan, prices: Prices, requests: Requests) -> dict[str, Any]:
    """Return everything that is known of a plan, as JSON takes it."""
    calibration = plan.calibration
    return {
        "facts": asdict(calibration.facts),
        "goal": asdict(plan.goal),
        "terms": asdict(plan.terms),
        "dataset": {
            "readable_share": calibration.readable_share,
            "scanned": len(calibration.scanned),
            "ran_the_ladder": sum(map(len, calibration.sampled)),
            "tiles": asdict(calibration.estimate(calibration.weights.sum(1))),
            "distributions": distributions(calibration),
        },
        "predicted": predicted(plan),
        "uniform_at_equal_cost": _point(plan.uniform_at(plan.device_s.value)),
        "cost_per_rung": [
            {"steps": steps} | asdict(calibration.estimate(calibration.costs[:, index]))
            for index, steps in enumerate(calibration.facts.ladder)
        ],
        "bins": [_bin(plan, index) for index in range(calibration.num_bins)],
        "rung_shares": [{"steps": steps, "share": share} for steps, share in plan.rung_shares.items()],
        "frontier": [_point(point) for point in plan.frontier],
        "uniform": [_point(point) for point in plan.uniform],
        "what_if": [asdict(row) for row in what_ifs(plan, prices.devices)],
        "storage": requests.model_dump()
        | {"usd": requests.usd(prices.storage), "usd_per_month": requests.usd_per_month(prices.storage)},
        "target": target_of(plan).model_dump(mode="json"),
    }


def predicted(plan: Plan) -> dict[str, Any]:
    """Return what the plan comes to, each figure with its interval; money is None where no price was given."""
    terms, device_s = plan.terms, plan.device_s

    def scaled(by: float) -> dict[str, float]:
        return asdict(Estimate(device_s.value * by, device_s.low * by, device_s.high * by))

    hours = terms.rented_hours(1.0)
    ends = [terms.usd(end) for end in (device_s.value, device_s.low, device_s.high)]
    return {
        "images": round(plan.calibration.facts.num_listed * plan.calibration.readable_share),
        "device_s": asdict(device_s),
        "device_hours": scaled(hours),
        "wall_hours": scaled(hours / terms.num_devices),
        "usd": None if ends[0] is None else dict(zip(("value", "low", "high"), ends, strict=True)),
        "mean_steps": asdict(plan.steps),
        "quality": asdict(plan.quality),
    }


def distributions(calibration: Calibration) -> dict[str, dict[str, float]]:
    """Return quantiles over the readable images that were scanned; of blur, over those that have an edge."""
    seen = calibration.readable
    columns: dict[str, Sequence[float]] = {
        "texture_score": [each.texture_score for each in seen],
        "noise_sigma": [each.noise_sigma for each in seen],
        "blur_score": [each.blur_score for each in seen if each.blur_score is not None],
        "megapixels": [(each.width or 0) * (each.height or 0) / 1e6 for each in seen],
        "tiles": [each.num_tiles for each in seen],
    }
    return {
        name: {f"p{round(100 * q)}": float(np.quantile(values, q)) for q in _QUANTILES}
        for name, values in columns.items()
        if len(values)
    }


def predicted_requests(plan: Plan, block_images: int, part_rows: int) -> Requests:
    """Return what the job will ask of its storage; bytes from the sizes of inputs and of the sample's outputs."""
    calibration, facts = plan.calibration, plan.calibration.facts
    per_px: dict[int, float] = {}
    for steps in facts.ladder:
        found = [rung.output_bytes_per_px for rung in calibration.rungs if rung.num_steps == steps]
        per_px[steps] = float(np.mean(found))
    pixels = float(np.mean([(each.width or 0) * (each.height or 0) for each in calibration.readable])) * SCALE**2
    written = facts.num_listed * calibration.readable_share * pixels
    written *= sum(share * per_px[steps] for steps, share in plan.rung_shares.items())
    read_bytes = facts.listed_bytes
    if read_bytes is None:
        read_bytes = round(facts.num_listed * float(np.mean([each.input_bytes or 0 for each in calibration.scanned])))
    return job_requests(
        facts.num_listed, calibration.readable_share, read_bytes, round(written), block_images, part_rows
    )


def _bin(plan: Plan, index: int) -> dict[str, Any]:
    calibration = plan.calibration
    ends = (0.0, *calibration.edges, 1.0)
    return {
        "from": ends[index],
        "to": ends[index + 1],
        "sampled": len(calibration.sampled[index]),
        "tiles": asdict(calibration.estimate(calibration.weights[:, index])),
        "quality": [
            {"steps": steps} | asdict(calibration.estimate(calibration.qualities[:, index, rung]))
            for rung, steps in enumerate(calibration.facts.ladder)
        ],
        "shares": [{"steps": steps, "share": share} for steps, share in plan.expected.shares[index]],
    }


def _point(point: Point | None) -> dict[str, Any] | None:
    return None if point is None else asdict(point)
