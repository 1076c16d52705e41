"""Promises of the plans."""

import itertools
from fractions import Fraction

import pytest
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.diffusion.timesteps import PlanFamily, make_plan, tds_warp
from tss_ray.errors import SpecError

A = st.floats(0.01, 0.99)
N = st.floats(1, 8)


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    num_timesteps = draw(st.integers(2, 1200))
    return num_timesteps, draw(st.integers(0, num_timesteps))


@settings(deadline=None)
@given(sizes(), st.sampled_from(["uniform", "tds"]), A, N)
def test_a_plan_is_strictly_descending_integers_within_the_schedule_of_the_exact_length(
    size: tuple[int, int], family: PlanFamily, a: float, n: float
) -> None:
    num_timesteps, num_steps = size
    plan = make_plan(num_timesteps, num_steps, family, a, n)
    assert len(plan) == num_steps
    assert all(type(t) is int and 0 <= t < num_timesteps for t in plan)
    assert all(later < earlier for earlier, later in itertools.pairwise(plan))
    assert not plan or plan[0] == num_timesteps - 1  # it starts at pure noise


@settings(deadline=None)
@given(sizes(), A)
def test_power_1_is_the_uniform_plan(size: tuple[int, int], a: float) -> None:
    assert make_plan(*size, "tds", a, 1.0) == make_plan(*size, "uniform")


def test_power_1_is_the_uniform_plan_where_rounding_meets_a_half() -> None:
    assert make_plan(100, 8, "tds", 0.7, 1.0) == make_plan(100, 8, "uniform") == (99, 87, 74, 61, 49, 37, 24, 11)


@pytest.mark.parametrize("num_steps", [*range(1, 48), 50, 100, 1000])
def test_the_uniform_plan_is_what_diffusers_calls_trailing(num_steps: int) -> None:
    scheduler = DDIMScheduler(num_train_timesteps=1000, timestep_spacing="trailing")
    scheduler.set_timesteps(num_steps)
    assert make_plan(1000, num_steps, "uniform") == tuple(scheduler.timesteps.tolist())


@settings(deadline=None)
@given(sizes())
def test_the_uniform_plan_is_the_formula_in_exact_arithmetic(size: tuple[int, int]) -> None:
    # diffusers adds up floats and so misses halves, and sometimes the length, from 48 steps of 1000 on.
    num_timesteps, num_steps = size
    exact = tuple(round(Fraction(num_timesteps * i, num_steps)) - 1 for i in range(num_steps, 0, -1))
    assert make_plan(num_timesteps, num_steps, "uniform") == exact


def test_golden_plans() -> None:
    assert make_plan(1000, 7, "uniform") == (999, 856, 713, 570, 428, 285, 142)
    assert make_plan(1000, 7, "tds", 0.5, 2.0) == (999, 958, 836, 632, 366, 162, 40)
    assert make_plan(1000, 1, "tds", 0.3, 3.0) == (999,)
    assert make_plan(10, 9, "tds", 0.5, 8.0) == (9, 8, 7, 6, 5, 3, 2, 1, 0)  # rounded: five 9s and four -1s


def test_no_steps_is_the_empty_plan() -> None:
    assert make_plan(1000, 0, "tds") == make_plan(1000, 0, "uniform") == ()


def test_tds_is_dense_at_both_ends() -> None:
    gaps = [a - b for a, b in itertools.pairwise((*make_plan(1000, 12, "tds", 0.5, 2.0), -1))]
    assert max(gaps[0], gaps[-1]) < 1000 / 12 / 2
    assert gaps.index(max(gaps)) in (5, 6)


@settings(deadline=None)
@given(A, N, st.floats(0, 1), st.floats(0, 1))
def test_the_warp_is_monotone_and_keeps_its_ends(a: float, n: float, u: float, v: float) -> None:
    low, high = sorted((u, v))
    assert tds_warp(0, a, n) == 0
    assert tds_warp(1, a, n) == 1
    assert tds_warp(low, a, n) <= tds_warp(high, a, n) + 1e-12
    assert tds_warp(a, a, n) == pytest.approx(a)


@pytest.mark.parametrize(("num_steps", "a", "n"), [(-1, 0.5, 2), (51, 0.5, 2), (7, 0, 2), (7, 1, 2), (7, 0.5, 0.99)])
def test_what_is_no_plan_is_refused_with_the_remedy(num_steps: int, a: float, n: float) -> None:
    with pytest.raises(SpecError, match=r"choose fewer steps|correct plan"):
        make_plan(50, num_steps, "tds", a, n)
