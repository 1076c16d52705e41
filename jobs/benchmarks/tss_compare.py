"""Paired comparisons of two methods on the same crops, and the rules by which a claim about them holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bootstrap import Interval, interval
from quality_values import Value, paired

HIGHER_IS_BETTER: dict[str, bool] = {
    "psnry": True,
    "ssim": True,
    "fsim": True,
    "gmsd": False,
    "niqe": False,
    "piqe_distance": False,
    "lr_psnr": True,
    "musiq": True,
    "clipiqa": True,
    "lpips": False,
}
SIX = ("psnry", "ssim", "fsim", "gmsd", "niqe", "piqe_distance")
"""The metrics that need no weights: wins at equal steps are counted over these."""

Rule = Literal["above", "below", "not below", "not above"]
Verdict = Literal["holds", "does not hold", "cannot be told", "not measured"]


MIN_CLUSTERS = 5
"""Below so many photographs an interval is little more than the smallest and the largest number: it tells nothing."""


@dataclass(frozen=True)
class Evidence:
    """One number with its interval, and where the claim says that it lies, seen from zero.

    is_optional: the claim stands without it where it cannot be measured, as metrics without their weights cannot.
    """

    label: str
    interval: Interval | None
    rule: Rule
    unit: str = ""
    is_optional: bool = False

    @property
    def verdict(self) -> Verdict:
        """Say whether the interval bears the rule out.

        above, below: it holds if the whole interval lies there, and does not hold if none of it does; an interval with
        zero inside tells nothing. not below, not above ("no worse"): it holds if the interval reaches zero.
        """
        if self.interval is None:
            return "not measured"
        if self.interval.num < MIN_CLUSTERS:
            return "cannot be told"
        low, high = self.interval.low, self.interval.high
        if self.rule in ("below", "not above"):
            low, high = -high, -low
        if self.rule in ("not below", "not above"):
            return "holds" if high >= 0 else "does not hold"
        if low > 0:
            return "holds"
        return "does not hold" if high <= 0 else "cannot be told"


@dataclass(frozen=True)
class Claim:
    """A sentence and the evidence that it stands on: all of it, or at least `needed` pieces."""

    sentence: str
    origin: Literal["paper", "project"]
    evidence: tuple[Evidence, ...]
    needed: int | None = None

    @property
    def verdict(self) -> Verdict:
        """Combine the pieces: what is still open decides only where the others do not."""
        verdicts = [piece.verdict for piece in self.evidence]
        verdicts = [
            v for v, piece in zip(verdicts, self.evidence, strict=True) if v != "not measured" or not piece.is_optional
        ]
        needed = len(verdicts) if self.needed is None else self.needed
        if verdicts and verdicts.count("holds") >= needed:
            return "holds"
        if verdicts and len(verdicts) - verdicts.count("does not hold") < needed:
            return "does not hold"
        return "cannot be told" if verdicts and "not measured" not in verdicts else "not measured"


def compare(values: Sequence[Value], first: str, second: str, metric: str) -> Interval | None:
    """Return the metric of the first method less that of the second, crop by crop; whole photographs are resampled.

    None where fewer than two photographs have both.
    """
    pairs = paired(values, first, second, metric)
    return interval([difference for _, difference in pairs], [photo for photo, _ in pairs])


def better(
    values: Sequence[Value], first: str, second: str, metric: str, label: str = "", is_optional: bool = False
) -> Evidence:
    """Return what there is for the first method being better than the second."""
    rule: Rule = "above" if HIGHER_IS_BETTER[metric] else "below"
    return Evidence(
        label or f"{metric}: {first} − {second}", compare(values, first, second, metric), rule, "", is_optional
    )


def no_worse(values: Sequence[Value], first: str, second: str, metric: str, label: str = "") -> Evidence:
    """Return what there is for the first method being no worse than the second."""
    rule: Rule = "not below" if HIGHER_IS_BETTER[metric] else "not above"
    return Evidence(label or f"{metric}: {first} − {second}", compare(values, first, second, metric), rule)


def wins(values: Sequence[Value], first: str, second: str) -> int | None:
    """Return on how many of SIX the first method's mean is better; None unless all six were measured."""
    found = [(metric, compare(values, first, second, metric)) for metric in SIX]
    means = [(metric, measured.mean) for metric, measured in found if measured is not None]
    if len(means) < len(SIX):
        return None
    return sum(mean > 0 if HIGHER_IS_BETTER[metric] else mean < 0 for metric, mean in means)
