"""Keeping a cap while a job runs: solve again for what is left, from what the rows so far took. Pure; no clock, no I/O.

A plan's seconds were measured on a sample, on one day. Machines drift, and the rest of the dataset is not the sample.
So before each block of images begins, λ is solved for what is left of the cap: less what finished rows took, less what
the promised and unfinished ones are expected to take at the pace of the last rows. What a block was promised stays;
only blocks that have not begun are told otherwise. Images that are held out run the top rung whatever is left; how many
of them are to come is counted by their keys, since a few at the end may cost more than all the others there.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from tss_ray.budget.allocation import Choice, Problem, best_under_cap
from tss_ray.budget.target import assign, bin_index, is_holdout, planned_choice, target_problem
from tss_ray.spec import TargetSpec

_PRIOR_TILES = 400.0
"""The calibration's spread over the bins counts as so many tiles seen; beyond them the job's own images decide."""
_MEMORY = 0.6
"""What a block weighs in the pace, against the block after it: about the last three blocks are heard."""
_MOST_HELD = 0.99
"""Of what is left no larger share counts as held out: something must be free to be allocated."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of an image before it begins; `num_tiles` are those that it would run, in full ones."""

    image_key: str
    texture_score: float
    num_tiles: float


@dataclass
class Controller:
    """One job's budget. `num_images` are those without a row; `spent` is what the rows there are took.

    num_holdout: how many of them are held out; None: as many as the plan's share of them. num_seen, tiles_seen: the
    rows there are, and their tiles by bin: what the rest will be like, they tell too.
    """

    target: TargetSpec
    num_images: int
    spent: float = 0.0
    num_holdout: float | None = None
    num_seen: int = 0
    tiles_seen: Sequence[float] = ()
    _open: dict[str, float] = field(default_factory=dict)
    _blocks: set[str] = field(default_factory=set)
    _begun: int = 0
    _known: int = 0
    _held: float = 0.0
    _tiles: list[float] = field(default_factory=list)
    _pace_actual: float = 0.0
    _pace_predicted: float = 0.0

    def __post_init__(self) -> None:
        """Start from what the calibration says."""
        self._problem = target_problem(self.target)
        self._known, self._tiles = self.num_seen, list(self.tiles_seen) or [0.0] * len(self.target.bins)
        self._held = self.target.holdout_share * self.num_images if self.num_holdout is None else self.num_holdout

    @property
    def pace(self) -> float:
        """Actual over predicted device-seconds of the last blocks; 1 before any."""
        if self._pace_predicted <= 0:
            return 1.0
        return self._pace_actual / self._pace_predicted

    def choose(self, keys: Sequence[str], images: Sequence[Seen]) -> Choice:
        """Return the choice for the next block: the best that what is left of the cap allows, or the least there is.

        keys: of all the block's images, of which `images` are readable: what is known is not guessed.
        """
        if self.target.cap is None:
            return planned_choice(self.target)
        left = (self.target.cap - self.spent) / self.pace - math.fsum(self._open.values())
        held = [image for image in images if is_holdout(self.target, image.image_key)]
        left -= math.fsum(self._cost(image, planned_choice(self.target)) for image in held)
        block = self._tiles_of(image for image in images if image not in held)
        num_rest = self.num_images - self._begun - len(keys)
        held_rest = min(max(self._held - self._num_held(keys), 0) / max(num_rest, 1), _MOST_HELD)
        problem = self._problem_of(self._rest(num_rest), block, held_rest)
        if problem is None:
            return planned_choice(self.target)
        # the problem holds back a share of the block too, though the block's own holdout is known and paid for
        share = held_rest / (1 - held_rest)
        left += share * math.fsum(
            tiles * curve.costs[-1] for tiles, curve in zip(block, self._problem.curves, strict=True)
        )
        return best_under_cap(problem, max(left, problem.least.cost))

    def promise(self, block: str, keys: Sequence[str], images: Sequence[Seen], choice: Choice) -> None:
        """Note that a block of these images begins, of which `images` are readable.

        Of a block that begins again its images are not counted again; what it is about to take replaces what was noted,
        or is taken once more, if it had ended.
        """
        self.promise_each(block, keys, images, [choice] * len(images))

    def promise_each(self, block: str, keys: Sequence[str], images: Sequence[Seen], choices: Sequence[Choice]) -> None:
        """Do the same where images keep the choices of an earlier run."""
        if block not in self._blocks:
            self._begin(block, keys)
            self._known += len(keys)
            self._tiles = [seen + more for seen, more in zip(self._tiles, self._tiles_of(images), strict=True)]
        self._open[block] = math.fsum(self.expected_s(images, choices))

    def resume(self, block: str, keys: Sequence[str], expected_s: float) -> None:
        """Note a block that had begun before this controller was made: of which `keys` have no row yet.

        Whether it has ended nobody knows; so it counts as open, at what it was expected to take.
        """
        self._begin(block, keys)
        if keys:
            self._open[block] = expected_s

    def expected_s(self, images: Sequence[Seen], choices: Sequence[Choice]) -> list[float]:
        """Return the device-seconds that the plan expects of each image under its choice."""
        return [self._cost(image, choice) for image, choice in zip(images, choices, strict=True)]

    def record(self, block: str, device_s: float, computed: float = 1.0) -> None:
        """Note what a block took; one that is not open was noted before, by an earlier try.

        `computed` is the share of its work that was done at all: duplicates take nothing, and say nothing of the pace.
        """
        predicted = self._open.pop(block, None)
        if predicted is None:
            return
        self.spent += device_s
        predicted *= computed
        if predicted > 0:
            self._pace_actual = _MEMORY * self._pace_actual + device_s
            self._pace_predicted = _MEMORY * self._pace_predicted + predicted

    def _begin(self, block: str, keys: Sequence[str]) -> None:
        self._blocks.add(block)
        self._begun += len(keys)
        self._held -= self._num_held(keys)

    def _cost(self, image: Seen, choice: Choice) -> float:
        assigned = assign(self.target, choice, image.texture_score, image.image_key)
        return assigned.cost_per_tile * image.num_tiles

    def _tiles_of(self, images: Iterable[Seen]) -> list[float]:
        tiles = [0.0] * len(self.target.bins)
        for image in images:
            tiles[bin_index(self.target, image.texture_score)] += image.num_tiles
        return tiles

    def _rest(self, num_images: int) -> list[float]:
        """Return the tiles per bin of images of which nothing is known: as the calibration and those so far say."""
        planned = [each.weight for each in self.target.bins]
        tiles = [
            _PRIOR_TILES * weight / math.fsum(planned) + seen for weight, seen in zip(planned, self._tiles, strict=True)
        ]
        per_image = max(num_images, 0) / (_PRIOR_TILES / self.target.tiles_per_image + self._known)
        return [each * per_image for each in tiles]

    def _num_held(self, keys: Iterable[str]) -> int:
        return sum(is_holdout(self.target, key) for key in keys)

    def _problem_of(self, rest: Sequence[float], block: Sequence[float], held: float) -> Problem | None:
        weights = [some + known / (1 - held) for some, known in zip(rest, block, strict=True)]
        if not math.fsum(weights):
            return None
        curves = (replace(curve, weight=weight) for curve, weight in zip(self._problem.curves, weights, strict=True))
        return replace(self._problem, curves=tuple(curves), holdout_share=held)
