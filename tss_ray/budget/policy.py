"""Texture score to number of steps: pure, monotone in the score."""

from bisect import bisect_right

from tss_ray.spec import BudgetSpec


def choose_steps(budget: BudgetSpec, score: float) -> int:
    """Return the steps for an image of this texture score in [0,1]; 0 leaves the enlargement alone.

    `fixed`: the same for all. `texture`: rung k of the ladder, k = number of thresholds that the score reaches.
    """
    if budget.policy == "fixed":
        return budget.num_steps
    return budget.ladder[bisect_right(budget.thresholds, score)]


def top_rung(budget: BudgetSpec) -> int:
    """Return the most steps that the policy ever spends: what savings are counted against."""
    return budget.num_steps if budget.policy == "fixed" else budget.ladder[-1]


def another_rung(budget: BudgetSpec, num_steps: int) -> int:
    """Return steps, at least one, for an image whose output at `num_steps` was refused: fewer, or else more.

    Where a ladder decides, the rung beside it; `fixed`: half of them, or 2 for 1.
    """
    if budget.policy == "fixed":
        return num_steps // 2 or 2
    rungs = [rung for rung in budget.ladder if rung]
    below, above = [r for r in rungs if r < num_steps], [r for r in rungs if r > num_steps]
    return below[-1] if below else above[0] if above else num_steps // 2 or 2
