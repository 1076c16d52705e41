"""Which rung for which bin under one cap: concave frontiers and a single multiplier. Pure arithmetic, no I/O.

A dataset is a few bins of alike tiles; each has a curve, the quality of a tile on every rung of the ladder against what
the rung costs. Best under a cap is what a Lagrange multiplier gives: every bin climbs its concave frontier as long as a
step gains more quality per cost than λ (Everett, "Generalized Lagrange Multiplier Method for Solving Problems of
Optimum Allocation of Resources", Operations Research 11, 1963; Shoham & Gersho, "Efficient Bit Allocation for an
Arbitrary Set of Quantizers", IEEE TASSP 36(9), 1988). λ lies on one of the frontiers' slopes, and of the images at that
slope a share climbs: which ones, their keys decide, so no random state is anywhere and a retry decides the same.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tss_ray.errors import SpecError

_SHARE_UNIT = 2.0**-32
"""Shares are rounded down to multiples of this, so that rounding never lifts the expected cost above the cap."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What one tile of a bin costs and is worth on each rung; `weight` is how many tiles the bin has."""

    weight: float
    steps: tuple[int, ...]
    """Ascending, at least one."""
    costs: tuple[float, ...]
    """Strictly ascending with the steps; any unit, the same for all bins of a problem."""
    qualities: tuple[float, ...]
    """Higher is better; need not ascend, since steps beyond a point may harm."""


@dataclass(frozen=True, slots=True)
class Frontier:
    """The rungs of a curve that are worth taking: quality rises with cost, ever more slowly."""

    steps: tuple[int, ...]
    costs: tuple[float, ...]
    qualities: tuple[float, ...]

    @property
    def slopes(self) -> tuple[float, ...]:
        """Quality per cost of each climb, strictly descending, above 0; one fewer than the rungs."""
        return tuple(
            (self.qualities[i + 1] - self.qualities[i]) / (self.costs[i + 1] - self.costs[i])
            for i in range(len(self.steps) - 1)
        )

    def rung(self, choice: "Choice", unit: float) -> int:
        """Return the index of the rung of an image whose number in [0,1) is `unit`."""
        slopes = self.slopes
        index = sum(slope > choice.multiplier for slope in slopes)
        return index + (index < len(slopes) and slopes[index] == choice.multiplier and unit < choice.share)

    def steps_of(self, choice: "Choice", unit: float) -> int:
        """Return the steps of an image whose number in [0,1) is `unit`; never fewer under a larger cap."""
        return self.steps[self.rung(choice, unit)]


@dataclass(frozen=True, slots=True)
class Choice:
    """A point of the whole trade: climbs steeper than `multiplier` are taken, of equal ones `share` in [0,1]."""

    multiplier: float
    share: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What a choice comes to: sums over tiles for `cost`, means over tiles for the rest."""

    cost: float
    quality: float
    steps: float
    shares: tuple[tuple[tuple[int, float], ...], ...]
    """For each bin the rungs in use, as (steps, share of the bin's tiles)."""


@dataclass(frozen=True)
class Problem:
    """Curves, a floor of steps that everybody gets, and a share of images that run the top rung whatever it costs.

    Raises SpecError where there is no curve, no weight, or the floor lies above the ladder.
    """

    curves: tuple[Curve, ...]
    min_steps: int = 0
    holdout_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be solved."""
        if not self.curves or self.weight <= 0:
            raise SpecError("there is nothing to allocate steps to: no bin holds a tile; calibrate on readable images")
        for curve in self.curves:
            if not len(curve.steps) == len(curve.costs) == len(curve.qualities) > 0:
                raise SpecError(f"a curve of {len(curve.steps)} rungs is not whole; calibrate again with tss-ray plan")
            if any(dearer <= cheaper for cheaper, dearer in pairwise(curve.costs)):
                raise SpecError(f"costs {list(curve.costs)} do not rise with the steps; calibrate on a quieter machine")
            if self.min_steps > curve.steps[-1]:
                raise SpecError(
                    f"min_steps={self.min_steps}: the ladder ends at {curve.steps[-1]}; lower it or calibrate a longer "
                    "ladder"
                )

    @property
    def weight(self) -> float:
        """Tiles in all bins."""
        return math.fsum(curve.weight for curve in self.curves)

    @property
    def frontiers(self) -> tuple[Frontier, ...]:
        """One per curve."""
        return tuple(frontier(curve, self.min_steps) for curve in self.curves)

    @property
    def multipliers(self) -> tuple[float, ...]:
        """Every slope of every frontier, descending: where a choice can lie."""
        return tuple(sorted({slope for each in self.frontiers for slope in each.slopes}, reverse=True))

    def expect(self, choice: Choice) -> Expected:
        """Return what the choice comes to, the holdout counted in."""
        chosen = [_mixture(each, choice) for each in self.frontiers]
        pairs = list(zip(self.curves, chosen, strict=True))
        free, held = 1 - self.holdout_share, self.holdout_share
        cost = math.fsum(c.weight * (free * m.cost + held * c.costs[-1]) for c, m in pairs)
        quality = math.fsum(c.weight * (free * m.quality + held * c.qualities[-1]) for c, m in pairs)
        steps = math.fsum(c.weight * (free * m.steps + held * c.steps[-1]) for c, m in pairs)
        shares = tuple(_with_top(m.shares, free, held, c.steps[-1]) for c, m in pairs)
        return Expected(cost, quality / self.weight, steps / self.weight, shares)

    @property
    def least(self) -> Expected:
        """What cannot be undercut: everybody on the lowest rung that the floor allows, the holdout on the top one."""
        return self.expect(_nothing(self.multipliers))

    @property
    def most(self) -> Expected:
        """Where more would not help: everybody at the end of the frontier."""
        return self.expect(Choice(0.0, 0.0))


def frontier(curve: Curve, min_steps: int = 0) -> Frontier:
    """Return the concave frontier of a curve from its lowest rung of at least `min_steps` to its best one.

    The upper hull of the points (cost, quality), by a monotone chain; points on a line between two others are left out,
    so that slopes strictly descend.
    """
    kept: list[tuple[float, float, int]] = []
    points = zip(curve.costs, curve.qualities, curve.steps, strict=True)
    for point in (p for p in points if p[2] >= min_steps):
        if kept and point[1] <= kept[-1][1]:
            continue  # dearer and no better
        while len(kept) > 1 and _slope(kept[-1], point) >= _slope(kept[-2], kept[-1]):
            kept.pop()
        kept.append(point)
    costs, qualities, steps = zip(*kept, strict=True)
    return Frontier(steps, costs, qualities)


def best_under_cap(problem: Problem, cap: float) -> Choice:
    """Return the choice of the highest expected quality whose expected cost is at most `cap`, in the curves' unit.

    Bisection over the slopes: cost only falls as λ rises. Raises SpecError for a cap below what cannot be undercut.
    """
    least = problem.least.cost
    if not cap >= least:
        raise SpecError(
            f"the cap of {cap:.6g} is below {least:.6g}, which the lowest rungs and the holdout take; "
            "raise the cap, lower --min-steps, or shrink the holdout"
        )
    return _bisect(problem, lambda expected: expected.cost, cap)


def cheapest_for_quality(problem: Problem, quality: float) -> Choice:
    """Return the choice of the least expected cost whose expected quality is at least `quality`, a mean over tiles.

    Raises SpecError for a quality that no allocation reaches.
    """
    most = problem.most.quality
    if not quality <= most:
        raise SpecError(
            f"a quality of {quality:.6g} is beyond {most:.6g}, the best of this ladder; lower --min-quality"
        )
    if problem.least.quality >= quality:
        return _nothing(problem.multipliers)
    choice = _bisect(problem, lambda expected: expected.quality, quality)
    return Choice(choice.multiplier, min(choice.share + _SHARE_UNIT, 1.0))  # rounded up: at least, not at most


def pooled(curves: Sequence[Curve]) -> Curve:
    """Return all bins as one: what the same steps for every image cost and are worth, a tile on average.

    Raises SpecError where the bins have different rungs, or none has weight.
    """
    if len({curve.steps for curve in curves}) != 1:
        raise SpecError("bins of different ladders cannot be pooled; calibrate them on one ladder")
    weight = Problem(tuple(curves)).weight
    rungs = range(len(curves[0].steps))
    return Curve(
        weight,
        curves[0].steps,
        tuple(math.fsum(c.weight * c.costs[k] for c in curves) / weight for k in rungs),
        tuple(math.fsum(c.weight * c.qualities[k] for c in curves) / weight for k in rungs),
    )


def unit_hash(image_key: str, purpose: str) -> float:
    """Return a number in [0,1) that belongs to the key, another for every purpose."""
    digest = hashlib.blake2b(f"{purpose}/{image_key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) * 2.0**-53


@dataclass(frozen=True, slots=True)
class _Mixture:
    cost: float
    quality: float
    steps: float
    shares: tuple[tuple[int, float], ...]


def _mixture(each: Frontier, choice: Choice) -> _Mixture:
    low, high = each.rung(Choice(choice.multiplier, 0.0), 0.0), each.rung(Choice(choice.multiplier, 1.0), 0.0)
    share = choice.share if high > low else 0.0

    def mix(values: Sequence[float]) -> float:
        return (1 - share) * values[low] + share * values[high]

    shares = [(each.steps[low], 1 - share)] + ([(each.steps[high], share)] if share else [])
    return _Mixture(mix(each.costs), mix(each.qualities), mix(each.steps), tuple(s for s in shares if s[1]))


def _with_top(
    shares: tuple[tuple[int, float], ...], free: float, held: float, top: int
) -> tuple[tuple[int, float], ...]:
    found = {steps: share * free for steps, share in shares}
    if held:
        found[top] = found.get(top, 0.0) + held
    return tuple(sorted(found.items()))


def _bisect(problem: Problem, reached: Callable[[Expected], float], wanted: float) -> Choice:
    """Return the choice at which `reached`, which rises as λ falls, comes to `wanted` and not beyond."""
    multipliers = problem.multipliers
    first = bisect_right(multipliers, wanted, key=lambda slope: reached(problem.expect(Choice(slope, 1.0))))
    if first == len(multipliers):
        return Choice(0.0, 0.0)
    without, with_all = (reached(problem.expect(Choice(multipliers[first], share))) for share in (0.0, 1.0))
    share = (wanted - without) / (with_all - without)
    return Choice(multipliers[first], math.floor(min(max(share, 0.0), 1.0) / _SHARE_UNIT) * _SHARE_UNIT)


def _nothing(multipliers: Sequence[float]) -> Choice:
    return Choice(multipliers[0], 0.0) if multipliers else Choice(0.0, 0.0)


def _slope(one: tuple[float, float, int], other: tuple[float, float, int]) -> float:
    return (other[1] - one[1]) / (other[0] - one[0])
