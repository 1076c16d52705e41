"""One image's steps, dealt out to its tiles: more where there is texture, together no more than the image was given.

What an image costs, and so every cap, stays as it was planned; only where in the image it is spent changes. Pure.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tss_ray.budget.allocation import Curve, Frontier, frontier
from tss_ray.budget.target import bin_index
from tss_ray.spec import BudgetSpec, TargetSpec
from tss_ray.spec.budgets import TargetBin

_HALVINGS = 60
_DIGITS = 6
"""Of a score: less is no texture."""


def deal_steps(
    budget: BudgetSpec, scores: Sequence[float], num_steps: int, least: int = 0, most: int = 1000
) -> list[int]:
    """Return steps for each tile, whose sum is at most num_steps · len(scores).

    scores: the tiles' texture scores in [0,1]. Nobody gets fewer than `least` or more than `most`; num_steps lies
    between them.
    Policy `target`: what the plan's curves gain most by, a tile counted to the bin of its own score. Otherwise in
    proportion to the scores, a tile of more texture never getting fewer, and none more than twice the mean or the
    ladder's end, whichever is more.
    """
    if budget.policy == "target" and budget.target is not None:
        return _by_curves(budget.target, scores, num_steps, least)
    end = min(most, max(2 * num_steps, budget.ladder[-1]))
    return _in_proportion(np.array(scores), num_steps, least, end)


def _in_proportion(exact: NDArray[np.float64], num_steps: int, least: int, most: int) -> list[int]:
    """Share num_steps · n out by the largest remainders (Hamilton's method), each share kept in [least, most]."""
    scores, total = np.round(exact, _DIGITS), num_steps * len(exact)
    if not scores.any():
        return [num_steps] * len(scores)
    low, high = 0.0, most / float(scores[scores > 0].min())
    for _ in range(_HALVINGS):
        factor = (low + high) / 2
        fits = np.clip(factor * scores, least, most).sum() <= total
        low, high = (factor, high) if fits else (low, factor)
    wished = np.clip(low * scores, least, most)
    steps = np.floor(wished).astype(np.int64)
    order = np.lexsort((-exact, steps - wished))  # largest remainder first; of equal ones the one of more texture
    steps[order[steps[order] < most][: max(0, total - int(steps.sum()))]] += 1
    return [int(each) for each in steps]


def _by_curves(target: TargetSpec, scores: Sequence[float], num_steps: int, least: int) -> list[int]:
    """Take the climbs that gain most by a step, of equals that of more texture, as long as they fit."""
    curves = [target.bins[bin_index(target, score)] for score in scores]
    fronts = [_frontier(each, max(least, min(target.min_steps, num_steps))) for each in curves]
    steps = [front.steps[0] for front in fronts]
    left = num_steps * len(scores) - sum(steps)
    if left < 0:
        return [num_steps] * len(scores)
    climbs = sorted(
        (-slope, -scores[i], i, k) for i, front in enumerate(fronts) for k, slope in enumerate(front.slopes)
    )
    for _, _, i, k in climbs:
        reached, wished = fronts[i].steps[k : k + 2]
        if steps[i] == reached and wished - reached <= left:
            steps[i], left = wished, left - (wished - reached)
    return steps


@lru_cache(maxsize=256)
def _frontier(each: TargetBin, min_steps: int) -> Frontier:
    """Return a bin's frontier where every step costs the same."""
    return frontier(Curve(each.weight, each.steps, tuple(map(float, each.steps)), each.quality), min_steps)
