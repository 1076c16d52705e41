"""From a calibration and a goal to a plan: the choice, what it is predicted to come to, and what else could be had."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from tss_ray.budget.allocation import (
    Choice,
    Curve,
    Expected,
    Problem,
    best_under_cap,
    cheapest_for_quality,
    pooled,
)
from tss_ray.budget.calibration import Calibration, Estimate, Floats
from tss_ray.errors import SpecError
from tss_ray.spec import MeasuredWith, TargetBin, TargetSpec

GoalKind = Literal["max_cost_usd", "max_device_hours", "deadline_hours", "max_mean_steps", "min_quality", "best"]

_FLAGS = {kind: "--" + kind.replace("_", "-") for kind in get_args(GoalKind)} | {"deadline_hours": "--deadline"}
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted; `best` has no value: as good as the ladder gets."""

    kind: GoalKind
    value: float = 0.0

    @property
    def caps_time(self) -> bool:
        """Whether it comes down to device-seconds."""
        return self.kind in ("max_cost_usd", "max_device_hours", "deadline_hours")


@dataclass(frozen=True, slots=True)
class Terms:
    """What turns device-seconds into hours and money; None: no price was given."""

    usd_per_device_hour: float | None = None
    storage_usd: float = 0.0
    """Of the requests, whatever the steps."""
    num_devices: int = 1
    busy_share: float = 1.0
    """Of a device's rented time, what the denoiser computes; the rest it waits for images or for the end."""

    def rented_hours(self, device_s: float) -> float:
        """Return device-hours to pay for."""
        return device_s / self.busy_share / _HOUR_S

    def usd(self, device_s: float) -> float | None:
        """Return the bill."""
        if self.usd_per_device_hour is None:
            return None
        return self.rented_hours(device_s) * self.usd_per_device_hour + self.storage_usd


def make_goal(**values: float | None) -> Goal:
    """Return the one goal that has a value, or `best`. Raises SpecError for several, and for values out of bounds."""
    given = {kind: value for kind, value in values.items() if value is not None}
    if len(given) > 1:
        named = " and ".join(_FLAGS[kind] for kind in get_args(GoalKind) if kind in given)
        raise SpecError(f"{named} at once: a plan has one goal; give one, and read the others off the frontier")
    for kind in get_args(GoalKind):
        if kind in given:
            value = given[kind]
            if not (value > 0 or (kind in ("max_mean_steps", "min_quality") and value == 0)):
                raise SpecError(f"{_FLAGS[kind]} {value:g}: need a value above 0; correct it")
            return Goal(kind, value)
    return Goal("best")


def check_terms(terms: Terms) -> Terms:
    """Return the terms. Raises SpecError for a number of devices or a share that cannot be."""
    if terms.num_devices < 1:
        raise SpecError(f"--devices {terms.num_devices}: need 1 or more; correct it")
    if not 0 < terms.busy_share <= 1:
        raise SpecError(f"--busy-share {terms.busy_share:g}: need a share above 0, at most 1; correct it")
    return terms


def cap_device_s(goal: Goal, terms: Terms) -> float | None:
    """Return the device-seconds that the goal leaves for denoising; None where it caps no time.

    Raises SpecError for a price that is missing, and for a cap that the storage's requests alone exceed.
    """
    match goal.kind:
        case "max_cost_usd":
            if terms.usd_per_device_hour is None:
                raise SpecError(
                    "--max-cost-usd without a price: give --device-usd-per-hour, or --prices FILE with --device NAME"
                )
            left = goal.value - terms.storage_usd
            if left <= 0:
                raise SpecError(
                    f"the cap of {goal.value:g} USD does not pay the requests to the storage, "
                    f"{terms.storage_usd:.4g} USD; raise --max-cost-usd"
                )
            return left / terms.usd_per_device_hour * terms.busy_share * _HOUR_S
        case "max_device_hours":
            return goal.value * terms.busy_share * _HOUR_S
        case "deadline_hours":
            return goal.value * terms.num_devices * terms.busy_share * _HOUR_S
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Point:
    """One place on the trade between cost and quality."""

    name: str
    device_s: float
    quality: float
    steps: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The same dataset under another goal or price; `point` is None where that is impossible, and `why` says so."""

    name: str
    point: Point | None
    usd: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """A choice and what follows from it."""

    calibration: Calibration
    goal: Goal
    terms: Terms
    problem: Problem
    """In device-seconds, whatever the goal counts in."""
    choice: Choice
    cost_unit: Literal["device_s", "steps"]
    cap: float | None
    """Device-seconds of the whole job; None where the goal caps no time."""

    @cached_property
    def expected(self) -> Expected:
        """What the choice comes to, in the goal's own unit of cost."""
        return _in_unit(self.problem, self.cost_unit).expect(self.choice)

    @cached_property
    def shares(self) -> Floats:
        """The share of each bin's tiles on each rung, (bins, rungs)."""
        ladder = self.calibration.facts.ladder
        found = np.zeros((len(self.expected.shares), len(ladder)))
        for index, shares in enumerate(self.expected.shares):
            for steps, share in shares:
                found[index, ladder.index(steps)] += share
        return found

    @property
    def device_s(self) -> Estimate:
        """Device-seconds of the whole job."""
        tiles = self.calibration.weights[:, :, None] * self.shares
        return self.calibration.estimate((tiles * self.calibration.costs[:, None, :]).sum((1, 2)))

    @property
    def quality(self) -> Estimate:
        """Mean score of a tile."""
        weights = self.calibration.weights
        values = (weights[:, :, None] * self.shares * self.calibration.qualities).sum((1, 2))
        return self.calibration.estimate(values / weights.sum(1))

    @property
    def steps(self) -> Estimate:
        """Mean steps of a tile."""
        weights = self.calibration.weights
        values = (weights @ self.shares) @ np.array(self.calibration.facts.ladder, np.float64)
        return self.calibration.estimate(values / weights.sum(1))

    @property
    def rung_shares(self) -> dict[int, float]:
        """The share of all tiles on each rung."""
        weights = self.calibration.weights[0]
        shares = weights @ self.shares / weights.sum()
        return {steps: float(share) for steps, share in zip(self.calibration.facts.ladder, shares, strict=True)}

    @property
    def point(self) -> Point:
        """The plan on the trade."""
        return Point("plan", self.device_s.value, self.quality.value, self.steps.value)

    @property
    def frontier(self) -> tuple[Point, ...]:
        """The best of every cost, from what cannot be undercut to where more does not help."""
        choices = [Choice(m, share) for m in self.problem.multipliers for share in (0.0, 1.0)] or [self.choice]
        points = [_point("frontier", self.problem.expect(choice)) for choice in choices]
        return tuple(dict.fromkeys(points))

    @property
    def uniform(self) -> tuple[Point, ...]:
        """The same steps for every image, for comparison: a point for each rung."""
        curve = pooled(self.problem.curves)
        rungs = zip(curve.steps, curve.costs, curve.qualities, strict=True)
        return tuple(Point(f"{steps}", cost * curve.weight, quality, steps) for steps, cost, quality in rungs)

    def uniform_at(self, device_s: float) -> Point | None:
        """Return the best that one or two neighbouring rungs for all do at this cost; None if they cannot go so low."""
        curve = pooled(self.problem.curves)
        alone = Problem((curve,))
        if device_s < alone.least.cost:
            return None
        return _point("uniform steps", alone.expect(best_under_cap(alone, device_s)))


def solve(calibration: Calibration, goal: Goal, terms: Terms, min_steps: int = 0, holdout_share: float = 0.01) -> Plan:
    """Return the plan for a goal. Raises SpecError for a goal that cannot be met, saying what could be."""
    check_terms(terms)
    if not 0 <= holdout_share <= 0.5:
        raise SpecError(f"--holdout {holdout_share:g}: need a share from 0 to 0.5; correct it")
    problem = Problem(calibration.curves(), min_steps, holdout_share)
    cap = cap_device_s(goal, terms)
    if goal.kind == "max_mean_steps":
        in_steps = _in_unit(problem, "steps")
        _check_cap(goal, in_steps.least.cost / in_steps.weight, "steps")
        choice = best_under_cap(in_steps, max(goal.value * in_steps.weight, in_steps.least.cost))
        return Plan(calibration, goal, terms, problem, choice, "steps", None)
    if cap is not None:
        _check_cap(goal, *_of_goal(goal, terms, problem.least.cost))
        choice = best_under_cap(problem, max(cap, problem.least.cost))
    elif goal.kind == "min_quality":
        choice = cheapest_for_quality(problem, goal.value)
    else:
        choice = Choice(0.0, 0.0)
    return Plan(calibration, goal, terms, problem, choice, "device_s", cap)


def _of_goal(goal: Goal, terms: Terms, device_s: float) -> tuple[float, str]:
    """Return what device-seconds come to in the unit of a goal that caps time or money, and that unit."""
    match goal.kind:
        case "max_cost_usd":
            return terms.usd(device_s) or 0.0, "USD"
        case "deadline_hours":
            return terms.rented_hours(device_s) / terms.num_devices, "hours"
        case _:
            return terms.rented_hours(device_s), "device-hours"


def _check_cap(goal: Goal, least: float, unit: str) -> None:
    if goal.value < least * (1 - 1e-9):  # a cap of just so much must not fail by rounding
        raise SpecError(
            f"{_FLAGS[goal.kind]}: {goal.value:.4g} {unit} is below {least:.4g}, which the lowest rungs and the "
            "holdout take; raise it, lower --min-steps, or shrink --holdout"
        )


def target_of(plan: Plan, controller: bool = True) -> TargetSpec:
    """Return what a job needs of the plan."""
    curves, facts = _in_unit(plan.problem, plan.cost_unit).curves, plan.calibration.facts
    return TargetSpec(
        edges=plan.calibration.edges,
        bins=tuple(TargetBin(weight=c.weight, steps=c.steps, cost=c.costs, quality=c.qualities) for c in curves),
        score_name=facts.score_name,
        cost_unit=plan.cost_unit,
        cap=plan.cap,
        tiles_per_image=plan.calibration.tiles_per_image,
        multiplier=plan.choice.multiplier,
        share=plan.choice.share,
        min_steps=plan.problem.min_steps,
        holdout_share=plan.problem.holdout_share,
        controller=controller,
        measured=MeasuredWith(
            model_sha256=facts.model_sha256,
            one_step_sha256=facts.one_step_sha256,
            tile_px=facts.tile_px,
            overlap_px=facts.overlap_px,
            plan=facts.plan_settings,
        ),
    )


def what_ifs(plan: Plan, other_prices: dict[str, float]) -> tuple[WhatIf, ...]:
    """Return rows for half and double the goal, and for the goal at each price of a device as fast as this one."""
    rows: list[WhatIf] = []
    if plan.goal.kind not in ("min_quality", "best"):
        for name, factor in (("half the cap", 0.5), ("double the cap", 2.0)):
            rows.append(_what_if(name, plan, replace(plan.goal, value=plan.goal.value * factor), plan.terms))
    for name, usd in other_prices.items():
        terms = replace(plan.terms, usd_per_device_hour=usd)
        rows.append(_what_if(f"{usd:g} USD/h ({name})", plan, plan.goal, terms))
    return tuple(rows)


def _what_if(name: str, plan: Plan, goal: Goal, terms: Terms) -> WhatIf:
    try:
        other = solve(plan.calibration, goal, terms, plan.problem.min_steps, plan.problem.holdout_share)
    except SpecError as error:
        return WhatIf(name, None, None, str(error))
    return WhatIf(name, other.point, terms.usd(other.device_s.value))


def _in_unit(problem: Problem, cost_unit: str) -> Problem:
    if cost_unit == "device_s":
        return problem
    return replace(problem, curves=tuple(_by_steps(curve) for curve in problem.curves))


def _by_steps(curve: Curve) -> Curve:
    return replace(curve, costs=tuple(map(float, curve.steps)))


def _point(name: str, expected: Expected) -> Point:
    return Point(name, expected.cost, expected.quality, expected.steps)
