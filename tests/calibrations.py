"""Calibrations made of numbers, for tests of what is done with them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tss_ray.budget.calibration import Calibration, Facts, RungTaken, Scanned, bin_edges
from tss_ray.budget.target import plan_settings
from tss_ray.spec import PlanSpec

FACTS = Facts(
    source="in",
    num_listed=1000,
    listed_bytes=5_000_000,
    score_name="detail",
    ladder=(0, 1, 4, 8),
    model_id="tiny",
    model_sha256="0" * 64,
    device="cpu",
    dtype="float32",
    max_batch=8,
    tile_px=64,
    overlap_px=16,
    plan_settings=plan_settings(PlanSpec()),
    image_format="png",
)


def scanned_image(key: str, texture: float = 0.3, num_tiles: int = 4, error_kind: str | None = None) -> Scanned:
    if error_kind is not None:
        return Scanned(key, 10, error_kind)
    return Scanned(key, 5000, None, 100, 80, num_tiles, texture, 0.01, 0.4)


def make_calibration(
    num: int = 40,
    unreadable: int = 0,
    seconds: Callable[[int], float] = lambda steps: 0.1 * steps,
    num_bins: int = 4,
    facts: Facts = FACTS,
    reach: float = 3.0,
) -> Calibration:
    """Images from flat to rich, whose score rises with steps the more texture they have, with a little noise.

    What is missing falls by e with every `reach` steps.
    """
    rng = np.random.RandomState(0)
    seen = [scanned_image(f"{n:03d}.png", texture=n / num, num_tiles=1 + n % 3) for n in range(num)]
    rungs = [
        RungTaken(
            each.image_key,
            steps,
            4,
            4 * seconds(steps),
            float(1 - each.texture_score * 0.6 * np.exp(-steps / reach) + rng.normal(0, 0.01)),
            2.0,
        )
        for each in seen
        for steps in facts.ladder
    ]
    seen += [scanned_image(f"rotten{n}", error_kind="empty") for n in range(unreadable)]
    edges = bin_edges([each.texture_score for each in seen if each.error_kind is None], num_bins, num)
    return Calibration(replace(facts), tuple(seen), tuple(rungs), edges)
