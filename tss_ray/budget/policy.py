"""Texture score to number of steps: pure; monotone in the score for `fixed` and `texture`."""

from bisect import bisect_right

from tss_ray.budget.target import assign, planned_choice
from tss_ray.spec import BudgetSpec


def choose_steps(budget: BudgetSpec, score: float, image_key: str) -> int:
    """Return the steps for an image of this texture score in [0,1]; 0 leaves the enlargement alone.

    `fixed`: the same for all. `texture`: rung k of the ladder, k = number of thresholds that the score reaches.
    `target`: what the plan's own choice gives the image; a controller may give it another before it begins.
    """
    if budget.policy == "fixed":
        return budget.num_steps
    if budget.policy == "target" and budget.target is not None:
        return assign(budget.target, planned_choice(budget.target), score, image_key).num_steps
    return budget.ladder[bisect_right(budget.thresholds, score)]


def top_rung(budget: BudgetSpec) -> int:
    """Return the most steps that the policy ever spends: what savings are counted against."""
    if budget.policy == "target" and budget.target is not None:
        return max(each.steps[-1] for each in budget.target.bins)
    return budget.num_steps if budget.policy == "fixed" else budget.ladder[-1]
