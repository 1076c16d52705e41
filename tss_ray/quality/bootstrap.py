"""Intervals of means by the bootstrap, with a fixed seed: the same numbers always have the same interval.

Efron, "Bootstrap Methods: Another Look at the Jackknife" (Annals of Statistics 7, 1979), percentile intervals. Crops of
one photograph are alike, so whole photographs can be resampled with all that was measured on them (clusters; Davison &
Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2000
_SEED = 0
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95% interval; `num` clusters were resampled."""

    mean: float
    low: float
    high: float
    num: int

    @property
    def half_width(self) -> float:
        """Half the distance of the ends."""
        return (self.high - self.low) / 2


def interval(found: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Interval | None:
    """Return the mean of `found` and its interval; None for fewer than two clusters.

    clusters: which cluster each number belongs to; None means that each is one of its own.
    """
    drawn = _resampled(found, clusters)
    return None if drawn is None else _interval(float(np.mean(found)), *drawn)


def interval_of_difference(
    first: Sequence[float],
    second: Sequence[float],
    first_clusters: Sequence[Hashable] | None = None,
    second_clusters: Sequence[Hashable] | None = None,
) -> Interval | None:
    """Return mean(first) − mean(second) of unpaired numbers, each side resampled by itself.

    None where a side has fewer than two clusters; `num` is that of the smaller side.
    """
    one, other = _resampled(first, first_clusters), _resampled(second, second_clusters, _SEED + 1)
    if one is None or other is None:
        return None
    return _interval(float(np.mean(first) - np.mean(second)), one[0] - other[0], min(one[1], other[1]))


def interval_of_groups(sums: NDArray[np.float64], counts: NDArray[np.float64] | NDArray[np.int64]) -> Interval | None:
    """Return Σ sums / Σ counts and its interval, whole groups resampled; None for fewer than two that hold anything.

    For more numbers than can be resampled one by one: cut at random into some thousand groups, they vary as the groups
    do. sums, counts: (groups,), the sum of a group's numbers, and how many they are or what they weigh.
    """
    sums, counts = sums[counts > 0], counts[counts > 0]
    if len(counts) < 2:
        return None
    return _interval(float(sums.sum() / counts.sum()), _means(sums, counts, _SEED), len(counts))


def interval_of_group_difference(
    first: tuple[NDArray[np.float64], NDArray[np.float64]], second: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> Interval | None:
    """Return Σ sums / Σ counts of `first` less that of `second`, each side's groups resampled by themselves.

    first, second: (sums, counts) as `interval_of_groups` takes them. None where a side has fewer than two groups that
    hold anything; `num` is that of the smaller side.
    """
    sides = [(sums[counts > 0], counts[counts > 0]) for sums, counts in (first, second)]
    if min(len(counts) for _, counts in sides) < 2:
        return None
    one, other = (_means(sums, counts, seed) for (sums, counts), seed in zip(sides, (_SEED, _SEED + 1), strict=True))
    means = [float(sums.sum() / counts.sum()) for sums, counts in sides]
    return _interval(means[0] - means[1], one - other, min(len(counts) for _, counts in sides))


def _resampled(
    found: Sequence[float], clusters: Sequence[Hashable] | None, seed: int = _SEED
) -> tuple[NDArray[np.float64], int] | None:
    """Return the means of the resamples and the number of clusters."""
    names = list(range(len(found)) if clusters is None else clusters)
    members = {name: index for index, name in enumerate(dict.fromkeys(names))}
    if len(members) < 2:
        return None
    of = np.array([members[name] for name in names])
    sums, counts = np.asarray(np.bincount(of, weights=np.asarray(found, np.float64)), np.float64), np.bincount(of)
    return _means(sums, counts, seed), len(members)


def _means(
    sums: NDArray[np.float64], counts: NDArray[np.float64] | NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Return the means of the resamples."""
    picks = np.random.RandomState(seed).randint(len(sums), size=(_RESAMPLES, len(sums)))
    means: NDArray[np.float64] = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    return means


def _interval(mean: float, resampled: NDArray[np.float64], num: int) -> Interval:
    low, high = np.percentile(resampled, _PERCENTILES)
    return Interval(mean, float(low), float(high), num)
