"""Promises of the allocation: the best under the cap, never above it, and the same for the same key."""

from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.budget.allocation import (
    Choice,
    Curve,
    Problem,
    best_under_cap,
    cheapest_for_quality,
    frontier,
    pooled,
    unit_hash,
)
from tss_ray.errors import SpecError

LADDER = (0, 1, 2, 4, 7)
NUMBERS = st.integers(0, 40).map(lambda n: n / 8)  # eighths, so that equal slopes in several bins do occur


@st.composite
def curves(draw: st.DrawFn, max_rungs: int = 4) -> Curve:
    num = draw(st.integers(1, max_rungs))
    costs = sorted(draw(st.sets(NUMBERS, min_size=num, max_size=num)))
    qualities = draw(st.lists(NUMBERS, min_size=num, max_size=num))
    return Curve(draw(st.integers(1, 9)), LADDER[:num], tuple(costs), tuple(qualities))


@st.composite
def problems(draw: st.DrawFn, max_bins: int = 3) -> Problem:
    found = draw(st.lists(curves(), min_size=1, max_size=max_bins))
    return Problem(tuple(found), 0, draw(st.sampled_from([0.0, 0.01, 0.25])))


def between(problem: Problem, part: float) -> float:
    """A cap from the least to a little more than the most."""
    least, most = problem.least.cost, problem.most.cost
    return least + part * (most - least)


def best_by_trying(problem: Problem, cap: float) -> float:
    """The best mean quality of every assignment, with one bin shared between two rungs where that fills the cap.

    A linear programme over bins with one budget has an optimum with at most one shared bin (Sinha & Zoltners,
    "The Multiple-Choice Knapsack Problem", Operations Research 27(3), 1979).
    """
    free, held = 1 - problem.holdout_share, problem.holdout_share
    best = -1.0
    for rungs in product(*(range(len(c.steps)) for c in problem.curves)):
        for shared, other in [(i, k) for i, c in enumerate(problem.curves) for k in range(len(c.steps))]:
            cost, quality = [
                sum(c.weight * values(c)[k] for c, k in zip(problem.curves, rungs, strict=True))
                for values in (lambda c: c.costs, lambda c: c.qualities)
            ]
            curve = problem.curves[shared]
            d_cost = curve.weight * (curve.costs[other] - curve.costs[rungs[shared]])
            d_quality = curve.weight * (curve.qualities[other] - curve.qualities[rungs[shared]])
            tops = [sum(c.weight * v for c, v in zip(problem.curves, of, strict=True)) for of in (
                [c.costs[-1] for c in problem.curves], [c.qualities[-1] for c in problem.curves])]  # fmt: skip
            room = (cap - held * tops[0]) / free - cost
            for share in {0.0, 1.0} | ({min(max(room / d_cost, 0.0), 1.0)} if d_cost else set()):
                if share * d_cost <= room + 1e-9:
                    best = max(best, free * (quality + share * d_quality) + held * tops[1])
    return best / problem.weight


@settings(deadline=None, max_examples=300)
@given(problems(), st.floats(0, 1.2))
def test_the_cap_is_never_exceeded_in_expectation_and_no_assignment_is_better(problem: Problem, part: float) -> None:
    cap = between(problem, part)
    found = problem.expect(best_under_cap(problem, cap))
    assert found.cost <= cap * (1 + 1e-12)
    assert found.quality == pytest.approx(best_by_trying(problem, cap), abs=1e-6)


@settings(deadline=None, max_examples=300)
@given(problems(), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_a_larger_cap_takes_steps_from_nobody(problem: Problem, one: float, other: float, unit: float) -> None:
    low, high = (best_under_cap(problem, between(problem, part)) for part in sorted((one, other)))
    assert problem.expect(low).quality <= problem.expect(high).quality + 1e-12
    assert problem.expect(low).cost <= problem.expect(high).cost + 1e-9
    for each in problem.frontiers:
        assert each.steps_of(low, unit) <= each.steps_of(high, unit)


@settings(deadline=None, max_examples=200)
@given(problems(), st.floats(0, 1))
def test_the_cheapest_for_a_quality_reaches_it_and_costs_what_the_cap_would(problem: Problem, part: float) -> None:
    least, most = problem.least.quality, problem.most.quality
    wanted = least + part * (most - least)
    found = problem.expect(cheapest_for_quality(problem, wanted))
    assert found.quality >= wanted - 1e-12
    under_cap = problem.expect(best_under_cap(problem, max(found.cost, problem.least.cost)))
    assert under_cap.quality == pytest.approx(found.quality, abs=1e-6)


@settings(deadline=None)
@given(curves(), st.sampled_from(LADDER))
def test_a_frontier_is_concave_rises_and_keeps_the_floor(curve: Curve, min_steps: int) -> None:
    if min_steps > curve.steps[-1]:
        return
    found = frontier(curve, min_steps)
    assert all(low > high > 0 for low, high in pairwise((*found.slopes,))) or len(found.slopes) < 2
    assert found.steps[0] == min(s for s in curve.steps if s >= min_steps)
    allowed = [q for q, s in zip(curve.qualities, curve.steps, strict=True) if s >= min_steps]
    assert found.qualities[-1] == max(allowed)


def test_steps_go_where_they_gain_most() -> None:
    flat = Curve(90, (0, 4, 8), (0.0, 4.0, 8.0), (0.9, 0.91, 0.91))
    rich = Curve(10, (0, 4, 8), (0.0, 4.0, 8.0), (0.2, 0.6, 0.8))
    problem = Problem((flat, rich))
    found = problem.expect(best_under_cap(problem, 80.0))
    assert found.shares == (((0, 1.0),), ((8, 1.0),))
    assert found.cost == 80.0


def test_the_images_at_the_boundary_are_shared_out_by_their_keys() -> None:
    problem = Problem((Curve(1000, (0, 4), (0.0, 4.0), (0.0, 1.0)),))
    choice = best_under_cap(problem, 1000.0)
    assert choice == Choice(0.25, 0.25)
    keys = [f"{n}.png" for n in range(4000)]
    steps = [problem.frontiers[0].steps_of(choice, unit_hash(key, "share")) for key in keys]
    assert sum(steps) / len(steps) == pytest.approx(1.0, rel=0.1)
    assert steps == [problem.frontiers[0].steps_of(choice, unit_hash(key, "share")) for key in keys]


def test_purposes_of_one_key_are_independent() -> None:
    keys = [f"{n}" for n in range(2000)]
    both = [unit_hash(k, "share") < 0.5 and unit_hash(k, "holdout") < 0.5 for k in keys]
    assert sum(both) / len(both) == pytest.approx(0.25, abs=0.04)


def test_the_holdout_runs_the_top_rung_and_is_paid_for() -> None:
    problem = Problem((Curve(100, (0, 10), (0.0, 10.0), (0.5, 0.4)),), holdout_share=0.02)
    found = problem.expect(best_under_cap(problem, 20.0))
    assert found.cost == pytest.approx(20.0)
    assert found.shares == (((0, 0.98), (10, 0.02)),)
    with pytest.raises(SpecError, match=r"cap of 19 is below 20.*raise the cap, lower --min-steps, or shrink"):
        best_under_cap(problem, 19.0)


def test_one_bin_of_one_rung_is_a_problem_too() -> None:
    problem = Problem((Curve(5, (4,), (4.0,), (0.5,)),))
    assert problem.expect(best_under_cap(problem, 20.0)).steps == 4
    assert problem.expect(cheapest_for_quality(problem, 0.5)).steps == 4


def test_a_floor_of_steps_holds_for_every_bin() -> None:
    curve = Curve(10, LADDER, (0.0, 1.0, 2.0, 4.0, 7.0), (1.0, 0.9, 0.8, 0.7, 0.6))
    problem = Problem((curve,), min_steps=2)
    assert problem.most.steps == problem.least.steps == 2
    with pytest.raises(SpecError, match="lower it or calibrate a longer ladder"):
        Problem((curve,), min_steps=8)


def test_what_cannot_be_solved_is_refused_with_the_remedy() -> None:
    with pytest.raises(SpecError, match="calibrate on readable images"):
        Problem(())
    with pytest.raises(SpecError, match="calibrate on readable images"):
        Problem((Curve(0, (0,), (0.0,), (0.0,)),))
    with pytest.raises(SpecError, match="lower --min-quality"):
        cheapest_for_quality(Problem((Curve(1, (0,), (0.0,), (0.5,)),)), 0.6)
    with pytest.raises(SpecError, match="calibrate on a quieter machine"):
        Problem((Curve(1, (1, 2), (1.0, 1.0), (0.0, 0.1)),))


def test_pooled_is_the_same_steps_for_all() -> None:
    one, other = Curve(1, (0, 1), (0.0, 1.0), (0.0, 0.4)), Curve(3, (0, 1), (0.0, 1.0), (0.8, 1.0))
    assert pooled((one, other)) == Curve(4, (0, 1), (0.0, 1.0), (pytest.approx(0.6), pytest.approx(0.85)))
    with pytest.raises(SpecError, match="calibrate them on one ladder"):
        pooled((one, Curve(1, (0, 2), (0.0, 2.0), (0.0, 1.0))))
