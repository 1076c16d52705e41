"""What a sample says of a dataset: how its tiles spread over texture, what a rung costs, what it is worth in each bin.

Two samples. Many images are scanned (size, texture, noise, blur): they tell how much of everything there is. A few of
them, as many from every bin, run every rung of the ladder on a crop: they tell what steps are worth there. Every figure
carries a percentile interval by the bootstrap over images (Efron, Annals of Statistics 7, 1979), with a fixed seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tss_ray.budget.allocation import Curve
from tss_ray.errors import InputError, SpecError

Floats = NDArray[np.float64]

RESAMPLES = 400
_SEED = 0
_PERCENTILES = (2.5, 97.5)
_LEAST_PER_BIN = 5
"""Images of the ladder sample that a bin should have: fewer bins rather than emptier ones."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """One image that was looked at; one that could not be read has an `error_kind` and nothing else."""

    image_key: str
    input_bytes: int | None
    error_kind: str | None = None
    width: int | None = None
    """Pixels of the input, as `height`."""
    height: int | None = None
    num_tiles: float = 0.0
    """That it would run, in units of full tiles; see `TileGrid.full_tiles`."""
    texture_score: float = 0.0
    noise_sigma: float = 0.0
    blur_score: float | None = None


@dataclass(frozen=True, slots=True)
class RungTaken:
    """A crop of one scanned image on one rung."""

    image_key: str
    num_steps: int
    crop_tiles: float
    device_s: float
    """Of the crop's share of the forwards that it took part in."""
    score: float
    """Higher is better; which one, the calibration says."""
    output_bytes_per_px: float
    """Of the encoded crop, per pixel of the output."""
    example: bytes | None = None
    """A small picture of the output, as WebP; only some images have one."""


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Facts:
    """What else must be known of a calibration, to use it and to refuse it where it does not fit."""

    source: str
    num_listed: int
    listed_bytes: int | None
    """None where a list names objects that nobody has looked at."""
    score_name: str
    ladder: tuple[int, ...]
    model_id: str
    model_sha256: str
    device: str
    dtype: str
    max_batch: int
    tile_px: int
    overlap_px: int
    plan_settings: str
    """The plan's settings as JSON with sorted keys."""
    image_format: str
    one_step_sha256: str | None = None
    """Of the model that ran rung 1 in the other's place."""


@dataclass(frozen=True)
class Calibration:
    """The two samples, and everything that follows from them."""

    facts: Facts
    scanned: tuple[Scanned, ...]
    rungs: tuple[RungTaken, ...]
    edges: tuple[float, ...]
    """Texture scores where the next bin begins."""

    @property
    def num_bins(self) -> int:
        """How many bins there are."""
        return len(self.edges) + 1

    @cached_property
    def readable(self) -> tuple[Scanned, ...]:
        """Scanned images that are images."""
        return tuple(each for each in self.scanned if each.error_kind is None)

    def bins_of(self, scores: Sequence[float]) -> NDArray[np.int64]:
        """Return the bin of every score."""
        return np.searchsorted(np.asarray(self.edges, np.float64), np.asarray(scores), side="right").astype(np.int64)

    @cached_property
    def weights(self) -> Floats:
        """Tiles of the whole dataset in each bin, and (1 + RESAMPLES, bins): row 0 is the estimate itself."""
        tiles = np.array([each.num_tiles for each in self.scanned], np.float64)
        bins = self.bins_of([each.texture_score for each in self.scanned])
        table = np.zeros((len(self.scanned), self.num_bins))
        table[np.arange(len(tiles)), bins] = tiles
        return _means(table, seed=_SEED) * self.facts.num_listed

    @cached_property
    def qualities(self) -> Floats:
        """Mean score of a tile, (1 + RESAMPLES, bins, rungs)."""
        found = np.zeros((RESAMPLES + 1, self.num_bins, len(self.facts.ladder)))
        tiles = {each.image_key: each.num_tiles for each in self.scanned}
        for index, keys in enumerate(self.sampled):
            scores = np.array([[rung.score for rung in self._by_image[key]] for key in keys])
            weight = np.array([tiles[key] for key in keys], np.float64)[:, None]
            both = _means(np.concatenate([scores * weight, weight], 1), seed=_SEED + 1 + index)
            found[:, index] = both[:, :-1] / both[:, -1:]
        return found

    @cached_property
    def costs(self) -> Floats:
        """Device-seconds of a tile on each rung, (1 + RESAMPLES, rungs): overhead + steps · seconds, fitted to all.

        A line, because that is what the engine does, and because single rungs of a busy machine stray. A rung that
        another model ran costs what was measured on it. Raises SpecError where that is no less than the rung above.
        """
        steps = np.array(self.facts.ladder, np.float64)
        keys = [key for group in self.sampled for key in group]
        seconds = np.array([[rung.device_s for rung in self._by_image[key]] for key in keys])
        tiles = np.array([self._by_image[key][0].crop_tiles for key in keys], np.float64)[:, None]
        both = _means(np.concatenate([seconds, tiles], 1), seed=_SEED)
        per_tile = both[:, :-1] / both[:, -1:]
        another = (steps == 1) & (self.facts.one_step_sha256 is not None)
        taken = (steps > 0) & ~another
        found = np.where(another, per_tile, 0.0)
        if taken.any():
            slope, overhead = _lines(steps[taken], per_tile[:, taken])
            found = np.where(taken, overhead[:, None] + slope[:, None] * steps, found)
        if another.any() and (cheaper := steps[taken & (found[0] <= found[0, another])]).size:
            raise SpecError(
                f"the one-step model takes {found[0, another][0]:.3g} device-seconds a tile, no less than "
                f"{cheaper[-1]:.0f} steps of the other; leave 2 to {cheaper[-1]:.0f} out of budget.ladder, plan again"
            )
        return found

    @cached_property
    def sampled(self) -> tuple[tuple[str, ...], ...]:
        """The keys of each bin that ran the ladder."""
        scores = {each.image_key: each.texture_score for each in self.scanned}
        keys = list(self._by_image)
        bins = self.bins_of([scores[key] for key in keys])
        return tuple(
            tuple(key for key, of in zip(keys, bins, strict=True) if of == index) for index in range(self.num_bins)
        )

    @cached_property
    def _by_image(self) -> dict[str, list[RungTaken]]:
        found: dict[str, list[RungTaken]] = {}
        for rung in self.rungs:
            found.setdefault(rung.image_key, []).append(rung)
        return {key: sorted(rungs, key=lambda rung: rung.num_steps) for key, rungs in found.items()}

    @property
    def tiles_per_image(self) -> float:
        """Mean over what was scanned; what cannot be read has none."""
        return float(np.mean([each.num_tiles for each in self.scanned]))

    @property
    def readable_share(self) -> float:
        """Share of what was scanned that is an image."""
        return len(self.readable) / len(self.scanned)

    def curves(self, cost_unit: str = "device_s") -> tuple[Curve, ...]:
        """Return a curve for each bin, costs in device-seconds or in steps, per tile."""
        ladder = self.facts.ladder
        costs = tuple(map(float, ladder if cost_unit == "steps" else self.costs[0]))
        return tuple(
            Curve(float(self.weights[0, index]), ladder, costs, tuple(map(float, self.qualities[0, index])))
            for index in range(self.num_bins)
        )

    def estimate(self, values: Floats) -> Estimate:
        """Return what (1 + RESAMPLES,) values say, row 0 being the figure itself."""
        low, high = np.percentile(values[1:], _PERCENTILES)
        return Estimate(float(values[0]), float(low), float(high))


def bin_edges(scores: Sequence[float], num_bins: int, num_sampled: int) -> tuple[float, ...]:
    """Return the scores that part readable images into about `num_bins` groups of one size.

    Equal scores stay together, so a dataset of one kind is one bin. Raises InputError for no images at all.
    """
    if not scores:
        raise InputError("none of the images that were looked at can be read; correct the input, or raise --scan")
    wanted = max(1, min(num_bins, num_sampled // _LEAST_PER_BIN))
    ends = np.quantile(np.asarray(scores, np.float64), np.arange(1, wanted) / wanted, method="higher")
    return tuple(float(end) for end in np.unique(ends) if end > min(scores))


def stratified(scanned: Sequence[Scanned], edges: Sequence[float], num_sampled: int) -> list[Scanned]:
    """Return up to `num_sampled` readable images, as many from every bin as it has, the first in the given order.

    What a bin lacks, the others give: bins are asked in turn.
    """
    bins: dict[int, list[Scanned]] = {}
    for each in scanned:
        if each.error_kind is None:
            bins.setdefault(int(np.searchsorted(np.asarray(edges), each.texture_score, side="right")), []).append(each)
    chosen: list[Scanned] = []
    depth = 0
    while len(chosen) < num_sampled and any(len(group) > depth for group in bins.values()):
        chosen += [bins[index][depth] for index in sorted(bins) if len(bins[index]) > depth]
        depth += 1
    return chosen[:num_sampled]


def _means(table: Floats, seed: int) -> Floats:
    """Return the mean of the rows, and below it those of RESAMPLES resamples of the rows: (1 + RESAMPLES, columns)."""
    num = len(table)
    counts = np.random.RandomState(seed).multinomial(num, np.full(num, 1 / num), size=RESAMPLES)
    return np.concatenate([table.mean(0, keepdims=True), counts @ table / num])


def _lines(steps: Floats, per_tile: Floats) -> tuple[Floats, Floats]:
    """Return slope and overhead, at least 0, of least-squares lines through per_tile (N, rungs) over steps (rungs,)."""
    weight = 1 / steps  # relative errors: a rung of 15 steps is timed no worse than one of 1
    weight /= weight.sum()
    x, y = (weight * steps).sum(), per_tile @ weight
    spread = (weight * (steps - x) ** 2).sum()
    slope = (per_tile - y[:, None]) @ (weight * (steps - x)) / spread if spread else np.zeros(len(y))
    overhead = y - slope * x
    through_zero = (per_tile @ (weight * steps)) / (weight * steps**2).sum()
    usable = (overhead >= 0) & (slope > 0)
    return np.where(usable, slope, through_zero), np.where(usable, overhead, 0.0)
