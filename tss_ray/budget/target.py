"""The policy `target`: which bin an image is in, whether it is held out, and what steps a choice gives it."""

import json
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

from tss_ray.budget.allocation import Choice, Curve, Frontier, Problem, unit_hash
from tss_ray.errors import SpecError
from tss_ray.spec import JobSpec, PlanSpec, TargetSpec


@dataclass(frozen=True, slots=True)
class Assigned:
    """What an image gets, and what its tiles are expected to cost."""

    num_steps: int
    is_holdout: bool
    cost_per_tile: float


def planned_choice(target: TargetSpec) -> Choice:
    """Return the choice that the plan starts with."""
    return Choice(target.multiplier, target.share)


def target_problem(target: TargetSpec) -> Problem:
    """Return the allocation problem of the plan; costs are per tile, in its cost_unit."""
    curves = tuple(Curve(each.weight, each.steps, each.cost, each.quality) for each in target.bins)
    return Problem(curves, target.min_steps, target.holdout_share)


def plan_settings(plan: PlanSpec) -> str:
    """Return a plan's settings as a calibration keeps them."""
    return json.dumps(plan.decisive(), sort_keys=True)


def check_measured(spec: JobSpec, model_sha256: str, one_step_sha256: str | None = None) -> None:
    """Raise SpecError where the plan was measured with other models, other tiles or other timesteps than the job's."""
    target = spec.budget.target
    if spec.budget.policy != "target" or target is None:
        return
    ours = {
        "model_sha256": model_sha256,
        "one_step_sha256": one_step_sha256,
        "tile_px": spec.tiles.tile_px,
        "overlap_px": spec.tiles.overlap_px,
        "plan": plan_settings(spec.plan),
    }
    for name, now in ours.items():
        then = getattr(target.measured, name)
        if then != now:
            raise SpecError(
                f"the budget was planned with {name} {then}, this job has {now}; plan again with the job's settings, "
                "or run with those of the plan"
            )


def assign(target: TargetSpec, choice: Choice, score: float, image_key: str) -> Assigned:
    """Return the steps of an image of this texture score under a choice: its key decides what chance would.

    The holdout runs the top rung, whatever the choice.
    """
    index = bin_index(target, score)
    if is_holdout(target, image_key):
        top = target.bins[index]
        return Assigned(top.steps[-1], True, top.cost[-1])
    each = _frontiers(target)[index]
    rung = each.rung(choice, unit_hash(image_key, "share"))
    return Assigned(each.steps[rung], False, each.costs[rung])


def bin_index(target: TargetSpec, score: float) -> int:
    """Return the bin of a texture score."""
    return bisect_right(target.edges, score)


def is_holdout(target: TargetSpec, image_key: str) -> bool:
    """Say whether an image is one of those that run the top rung, so that savings are measured."""
    return unit_hash(image_key, "holdout") < target.holdout_share


@lru_cache(maxsize=8)
def _frontiers(target: TargetSpec) -> tuple[Frontier, ...]:
    return target_problem(target).frontiers
