"""What the quality benchmark measured: a value per crop, input and method, and the statistics over crops."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bootstrap import interval

Inputs = Literal["clean", "degraded"]

BINS = ("smooth", "middle", "textured")
BIN_SCORES = (0.45, 0.60)
"""Texture score of a crop's clean input at which the second and the third bin begin. Fixed, by the 25 crops of the
held-out photographs: they stand for 7, 9 and 9 of them."""
TEXTURED_SCORE = BIN_SCORES[0]
"""From this score on a crop counts as textured in the last line: the two upper bins."""


@dataclass(frozen=True)
class Value:
    """One crop, clean or degraded, under one method; a metric that was not measured, or is not finite, is None.

    `texture` is the score in [0,1] of the crop's clean input, `piqe_distance` the distance to the original's PIQE.
    `edges` and `grain` are of 1 for the original: see `quality_edges`.
    """

    source: str
    inputs: Inputs
    photo: str
    top: int
    left: int
    texture: float
    method: str
    num_steps: int
    psnry: float | None
    ssim: float | None
    fsim: float | None
    gmsd: float | None
    niqe: float | None
    piqe: float | None
    piqe_distance: float | None
    edges: float | None
    grain: float | None
    lr_psnr: float | None
    seconds: float

    @property
    def crop(self) -> tuple[str, str, int, int]:
        """Which pixels, whatever was done to them."""
        return self.source, self.photo, self.top, self.left


def texture_bin(score: float) -> str:
    """Return the bin of a texture score."""
    return BINS[bisect_right(BIN_SCORES, score)]


def headline_values(values: Iterable[Value], inputs: Inputs) -> list[Value]:
    """Return the values that the last line speaks of: held-out photographs, or the sample where there are none."""
    chosen = [value for value in values if value.inputs == inputs]
    return [value for value in chosen if value.source == "heldout"] or chosen


def numbers(values: Iterable[Value], method: str, metric: str) -> list[float]:
    """Return a metric of a method, crop by crop, where it was measured."""
    return [v for value in values if value.method == method and (v := getattr(value, metric)) is not None]


def differences(values: Sequence[Value], first: str, second: str, metric: str) -> list[float]:
    """Return a metric of the first method less that of the second, crop by crop, where both were measured."""
    return [difference for _, difference in paired(values, first, second, metric)]


def paired(values: Sequence[Value], first: str, second: str, metric: str) -> list[tuple[str, float]]:
    """Return the photograph beside each of `differences`."""
    subtrahends = {value.crop: getattr(value, metric) for value in values if value.method == second}
    return [
        (value.photo, minuend - subtrahend)
        for value in values
        if value.method == first
        and (minuend := getattr(value, metric)) is not None
        and (subtrahend := subtrahends.get(value.crop)) is not None
    ]


def mean(found: Sequence[float]) -> float | None:
    """Return the mean, or None of nothing."""
    return math.fsum(found) / len(found) if found else None


def half_width(found: Sequence[float]) -> float | None:
    """Return half the width of the 95% interval of the mean; None for fewer than two numbers.

    Crops of one photograph are resampled as if they were independent.
    """
    found_interval = interval(found)
    return None if found_interval is None else found_interval.half_width
