"""Texture score to number of steps: pure; monotone in the score for `fixed` and `texture`."""

from bisect import bisect_right
from dataclasses import dataclass

from tss_ray.budget.target import assign, is_holdout, planned_choice
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


@dataclass(frozen=True, slots=True)
class BudgetColumns:
    """What a row says of its budget before the image begins; the row's columns of these names say what each is."""

    budget_policy: str
    num_steps: int
    num_steps_top_rung: int
    budget_lambda: float | None
    holdout: bool | None


def budget_columns(budget: BudgetSpec, score: float, image_key: str) -> BudgetColumns:
    """Return the columns for an image of this texture score, as the spec alone decides."""
    steps, top = choose_steps(budget, score, image_key), top_rung(budget)
    if budget.policy != "target" or budget.target is None:
        return BudgetColumns(budget.policy, steps, top, None, None)
    held = is_holdout(budget.target, image_key)
    return BudgetColumns(budget.policy, steps, top, budget.target.multiplier, held)


def top_rung(budget: BudgetSpec) -> int:
    """Return the most steps that the policy ever spends: what savings are counted against."""
    if budget.policy == "target" and budget.target is not None:
        return max(each.steps[-1] for each in budget.target.bins)
    return budget.num_steps if budget.policy == "fixed" else budget.ladder[-1]


def rungs(budget: BudgetSpec) -> tuple[int, ...]:
    """Return every number of steps that the policy may give an image."""
    if budget.policy == "target" and budget.target is not None:
        return tuple(sorted({steps for each in budget.target.bins for steps in each.steps}))
    return (budget.num_steps,) if budget.policy == "fixed" else budget.ladder


def another_rung(budget: BudgetSpec, num_steps: int, allowed: tuple[int, ...] | None = None) -> int:
    """Return steps, at least one, for an image whose output at `num_steps` was refused: fewer, or else more.

    Where a ladder decides, the rung beside it; `fixed`: half of them, or 2 for 1. allowed: the only ones that the model
    was made for, if it is so: the nearest other, or the same where there is one alone.
    """
    if allowed is not None:
        return min((num for num in allowed if num != num_steps), key=lambda n: abs(n - num_steps), default=num_steps)
    if budget.policy == "fixed":
        return num_steps // 2 or 2
    rungs = [rung for rung in budget.ladder if rung]
    below, above = [r for r in rungs if r < num_steps], [r for r in rungs if r > num_steps]
    return below[-1] if below else above[0] if above else num_steps // 2 or 2
