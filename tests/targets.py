"""Plans as `tss-ray plan` makes them, made up for the tiny model and tiles of 16 px."""

from pathlib import Path

from tss_ray.budget.target import plan_settings
from tss_ray.models.registry import check_model
from tss_ray.spec import PlanSpec, TargetSpec


def make_target(model: Path, **changes: object) -> TargetSpec:
    rungs = {"weight": 50.0, "steps": (0, 1, 3), "cost": (0.0, 1.0, 3.0)}
    found = {
        "edges": (0.2,),
        "bins": (rungs | {"quality": (0.9, 0.92, 0.93)}, rungs | {"quality": (0.3, 0.6, 0.8)}),
        "cap": 1e-6,
        "tiles_per_image": 4.0,
        "multiplier": 0.1,
        "share": 0.5,
        "holdout_share": 0.2,
        "measured": {
            "model_sha256": check_model(str(model)).sha256,
            "tile_px": 16,
            "overlap_px": 4,
            "plan": plan_settings(PlanSpec()),
        },
    }
    return TargetSpec.model_validate(found | changes)
