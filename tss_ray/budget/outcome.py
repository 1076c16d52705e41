"""What a policy's steps were worth beside the same steps for all, from images that ran every rung. Pure.

What a run tells of itself is `report.worth`'s. Intervals are percentile ones by the bootstrap over images (Efron,
Annals of Statistics 7, 1979), with a fixed seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tss_ray.budget.allocation import Curve, Problem, best_under_cap, cheapest_for_quality, pooled
from tss_ray.budget.calibration import Estimate
from tss_ray.errors import InputError

Floats = NDArray[np.float64]

_RESAMPLES = 1000
_SEED = 0
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Measured:
    """One image on every rung of one ladder: what policies are compared on."""

    num_tiles: float
    costs: tuple[float, ...]
    """Of the whole image, ascending with the rungs."""
    qualities: tuple[float, ...]
    chosen: int
    """The rung that the policy gave it."""


def nfe_share_at_equal_quality(measured: Sequence[Measured], ladder: Sequence[int]) -> Estimate:
    """Return the cost of the policy's steps over the cost of the same steps for all at equal mean quality.

    The same steps for all: the cheaper of what one or two rungs (mixed at random) need. Costs of the images' own
    unit. Where no uniform steps are as good, they are held at their best; where rung 0 for all is as good already, the
    share is of the first rung for all, so that it stays finite. Raises InputError for no images.
    """
    _require(measured)

    def share(picks: Floats) -> float:
        curve, cost, quality = _against(measured, ladder, picks)
        problem = Problem((curve,))
        wanted = min(max(quality, problem.least.quality), problem.most.quality)
        uniform = problem.expect(cheapest_for_quality(problem, wanted)).cost
        if uniform == 0:
            uniform = curve.costs[min(1, len(ladder) - 1)] * curve.weight if cost > 0 else 0.0
        return cost / uniform if uniform > 0 else 1.0

    return _bootstrapped(len(measured), share)


def quality_gain_at_equal_nfe(measured: Sequence[Measured], ladder: Sequence[int]) -> Estimate:
    """Return the policy's mean quality, over tiles, less that of the same steps for all at equal cost.

    Raises InputError for no images.
    """
    _require(measured)

    def gain(picks: Floats) -> float:
        curve, cost, quality = _against(measured, ladder, picks)
        problem = Problem((curve,))
        return quality - problem.expect(best_under_cap(problem, max(cost, problem.least.cost))).quality

    return _bootstrapped(len(measured), gain)


def _against(measured: Sequence[Measured], ladder: Sequence[int], picks: Floats) -> tuple[Curve, float, float]:
    """Return all picked images as one curve per tile, and the policy's total cost and mean quality."""
    chosen = [measured[int(pick)] for pick in picks]
    tiles = float(sum(each.num_tiles for each in chosen))
    costs, qualities = np.array([each.costs for each in chosen]), np.array([each.qualities for each in chosen])
    weight = np.array([each.num_tiles for each in chosen], np.float64)
    at = np.array([each.chosen for each in chosen])
    rows = np.arange(len(chosen))
    curve = Curve(
        tiles,
        tuple(ladder),
        tuple(map(float, costs.sum(0) / tiles)),
        tuple(map(float, weight @ qualities / tiles)),
    )
    return pooled((curve,)), float(costs[rows, at].sum()), float((weight * qualities[rows, at]).sum() / tiles)


def _bootstrapped(num: int, figure: Callable[[Floats], float]) -> Estimate:
    random = np.random.RandomState(_SEED)
    picks = [np.arange(num), *random.randint(num, size=(_RESAMPLES, num))]
    return _estimate(np.array([figure(each) for each in picks], np.float64))


def _estimate(values: Floats) -> Estimate:
    low, high = np.percentile(values[1:], _PERCENTILES)
    return Estimate(float(values[0]), float(low), float(high))


def _require(rows: Sequence[object]) -> None:
    if not rows:
        raise InputError("there is nothing to compare: no finished image; let the run finish some")
