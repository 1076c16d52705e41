"""After a run under a plan: what was predicted against what came, and what the steps were worth. Pure.

Rows are what the manifest holds, as plain tuples; whoever reads Parquet hands them in. Intervals are percentile ones by
the bootstrap over images (Efron, Annals of Statistics 7, 1979), with a fixed seed.
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
class Ran:
    """One finished image: a row's columns. `quality` is whatever score was measured afterwards, or None."""

    num_steps: int
    num_steps_top_rung: int
    num_tiles: float
    device_seconds: float
    is_holdout: bool
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One image on every rung of one ladder: what policies are compared on."""

    num_tiles: float
    costs: tuple[float, ...]
    """Of the whole image, ascending with the rungs."""
    qualities: tuple[float, ...]
    chosen: int
    """The rung that the policy gave it."""


def cost_error(ran: Sequence[Ran], cap_device_s: float) -> float:
    """Return what the run took over its cap, as a share of it: 0.02 is 2% too much, below 0 is money left.

    Raises InputError for no rows or no cap.
    """
    _require(ran)
    if not cap_device_s > 0:
        raise InputError("the plan has no cap in device-seconds to compare with; plan with a goal of time or money")
    return sum(each.device_seconds for each in ran) / cap_device_s - 1


def saved_share(ran: Sequence[Ran]) -> Estimate:
    """Return the share of denoiser evaluations that was saved against the top rung for every image, the holdout aside.

    Raises InputError where nothing but holdout ran.
    """
    free = [each for each in ran if not each.is_holdout]
    _require(free)
    used = np.array([each.num_steps * each.num_tiles for each in free], np.float64)
    full = np.array([each.num_steps_top_rung * each.num_tiles for each in free], np.float64)
    if not full.any():
        return Estimate(0.0, 0.0, 0.0)
    return _bootstrapped(len(free), lambda picks: 1 - used[picks].sum() / max(full[picks].sum(), 1e-300))


def holdout_regret(ran: Sequence[Ran]) -> Estimate:
    """Return the mean quality of the holdout (top rung, drawn by key) less that of all others, a mean over tiles.

    Above 0: the top rung would have been better by so much; below: steps beyond the plan's would have harmed. Raises
    InputError where a side has no image with a quality.
    """
    sides = [[e for e in ran if e.is_holdout is held and e.quality is not None] for held in (True, False)]
    if not all(sides):
        raise InputError("regret needs the quality of holdout and other images; measure it, or plan with --holdout")
    random = np.random.RandomState(_SEED)
    means = []
    for side in sides:
        weight = np.array([each.num_tiles for each in side], np.float64)
        quality = np.array([each.quality or 0.0 for each in side], np.float64)
        picks = np.concatenate([np.arange(len(side))[None], random.randint(len(side), size=(_RESAMPLES, len(side)))])
        means.append((weight * quality)[picks].sum(1) / weight[picks].sum(1))
    return _estimate(means[0] - means[1])


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
