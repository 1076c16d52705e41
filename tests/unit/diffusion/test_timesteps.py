"""Promises of the plans."""

import itertools
import math
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.diffusion.timesteps import MAX_N, PlanFamily, make_plan, plan_table, warp
from tss_ray.errors import SpecError

A = st.floats(0.01, 0.99)
N = st.floats(1, MAX_N)
FAMILIES: tuple[PlanFamily, ...] = get_args(PlanFamily)
BOTH_ENDS: tuple[PlanFamily, ...] = ("tds", "trigonometric", "exponential")


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    num_timesteps = draw(st.integers(2, 1200))
    return num_timesteps, draw(st.integers(0, num_timesteps))


@settings(deadline=None)
@given(sizes(), st.sampled_from(FAMILIES), A, N)
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
@given(sizes(), st.sampled_from(FAMILIES), A)
def test_strength_1_is_the_uniform_plan_in_every_family(size: tuple[int, int], family: PlanFamily, a: float) -> None:
    assert make_plan(*size, family, a, 1.0) == make_plan(*size, "uniform")


@pytest.mark.parametrize("family", FAMILIES)
def test_strength_1_is_the_uniform_plan_where_rounding_meets_a_half(family: PlanFamily) -> None:
    assert make_plan(100, 8, family, 0.7, 1.0) == make_plan(100, 8, "uniform") == (99, 87, 74, 61, 49, 37, 24, 11)


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
    assert make_plan(1000, 7, "trigonometric", 0.5, 2.0) == (999, 962, 833, 623, 375, 165, 36)
    assert make_plan(1000, 7, "exponential", 0.5, 2.0) == (999, 944, 842, 651, 347, 156, 54)
    assert make_plan(1000, 7, "late_only", 0.5, 2.0) == (999, 856, 713, 570, 366, 162, 40)
    assert make_plan(1000, 7, "early_only", 0.5, 2.0) == (999, 958, 836, 632, 428, 285, 142)
    assert make_plan(1000, 1, "tds", 0.3, 3.0) == (999,)
    assert make_plan(10, 9, "tds", 0.5, 8.0) == (9, 8, 7, 6, 5, 3, 2, 1, 0)  # rounded: five 9s and four -1s


def test_no_steps_is_the_empty_plan() -> None:
    assert make_plan(1000, 0, "tds") == make_plan(1000, 0, "uniform") == ()


@pytest.mark.parametrize("family", BOTH_ENDS)
def test_a_family_of_both_ends_is_sparse_only_between(family: PlanFamily) -> None:
    gaps = [a - b for a, b in itertools.pairwise((*make_plan(1000, 12, family, 0.5, 2.0), -1))]
    assert max(gaps[0], gaps[-1]) < 1000 / 12 / 1.5
    assert gaps[:6] == sorted(gaps[:6])
    assert gaps[6:] == sorted(gaps[6:], reverse=True)


@pytest.mark.parametrize("family", BOTH_ENDS)
def test_both_halves_of_a_plan_mirror_each_other(family: PlanFamily) -> None:
    for u in (0.01, 0.2, 0.31, 0.499):
        assert warp(u, family, 0.3, 2.6) == pytest.approx(1 - warp(1 - u, family, 0.7, 2.6), abs=1e-12)


@given(A, N, st.floats(0, 1))
def test_late_only_and_early_only_are_tds_in_their_half_and_uniform_in_the_other(a: float, n: float, u: float) -> None:
    late = u <= a  # near the clean image
    assert warp(u, "late_only", a, n) == (warp(u, "tds", a, n) if late else u)
    assert warp(u, "early_only", a, n) == (u if late else warp(u, "tds", a, n))


@settings(deadline=None)
@given(st.sampled_from(FAMILIES), A, N, st.floats(0, 1), st.floats(0, 1))
def test_a_warp_is_monotone_and_keeps_its_ends_and_its_transition(
    family: PlanFamily, a: float, n: float, u: float, v: float
) -> None:
    low, high = sorted((u, v))
    assert warp(0, family, a, n) == 0
    assert warp(1, family, a, n) == 1
    assert 0 <= warp(low, family, a, n) <= warp(high, family, a, n) + 1e-12 <= 1 + 1e-12
    assert warp(a, family, a, n) == pytest.approx(a)


@settings(deadline=None)
@given(st.sampled_from(BOTH_ENDS), A, N)
def test_n_means_the_same_in_every_family(family: PlanFamily, a: float, n: float) -> None:
    assert warp(a / 2, family, a, n) == pytest.approx(a * 2**-n)
    assert 1 - warp((1 + a) / 2, family, a, n) == pytest.approx((1 - a) * 2**-n, abs=1e-12)


@settings(deadline=None)
@given(st.sampled_from(BOTH_ENDS), A, N, N, st.floats(0, 1))
def test_a_larger_n_is_nowhere_less_uneven(family: PlanFamily, a: float, n: float, m: float, share: float) -> None:
    less, more = sorted((n, m))
    assert warp(share * a, family, a, more) <= warp(share * a, family, a, less) + 1e-12


@pytest.mark.parametrize("u", [0.05, 0.3, 0.5, 0.8])
def test_trigonometric_is_the_blended_cosine_up_to_the_cosine_itself(u: float) -> None:
    cosine = (1 - math.cos(math.pi * u)) / 2
    full = -math.log2(1 - math.sqrt(0.5))
    assert warp(u, "trigonometric", 0.5, full) == pytest.approx(cosine)
    half_n = 1 - math.log2(1 - (math.sqrt(2) - 1) / 2)  # where the blend's strength is 1/2
    assert warp(u, "trigonometric", 0.5, half_n) == pytest.approx((u + cosine) / 2)
    assert warp(u, "trigonometric", 0.5, full + 1e-9) == pytest.approx(cosine)  # no jump where the power takes over


@pytest.mark.parametrize("family", BOTH_ENDS)
def test_the_least_strength_above_1_is_all_but_uniform(family: PlanFamily) -> None:
    assert warp(0.3, family, 0.5, math.nextafter(1, 2)) == pytest.approx(0.3)


@settings(deadline=None)
@given(sizes(), st.sampled_from(FAMILIES), st.lists(st.tuples(A, N), max_size=5))
def test_a_table_holds_one_strictly_descending_plan_per_level(
    size: tuple[int, int], family: PlanFamily, levels: list[tuple[float, float]]
) -> None:
    levels = [(0.5, 1.0), *levels]
    table = plan_table(*size, family, [a for a, _ in levels], [n for _, n in levels])
    assert table.dtype == np.int64
    assert table.shape == (size[1], len(levels))
    assert (np.diff(table, axis=0) < 0).all()
    assert tuple(table[:, 0]) == make_plan(*size, "uniform")
    assert all(tuple(table[:, level]) == make_plan(*size, family, a, n) for level, (a, n) in enumerate(levels))


def test_a_table_is_looked_up_by_a_level_map() -> None:
    table = plan_table(1000, 7, "tds", [0.5, 0.5], [1.0, 2.0])
    assert table[1, np.array([[0, 1], [1, 0]])].tolist() == [[856, 958], [958, 856]]
    assert plan_table(1000, 7, "tds", [], []).shape == (7, 0)


def test_a_table_needs_an_n_for_every_a() -> None:
    with pytest.raises(SpecError, match=r"2 values of a for 1 of n: .*; add the rest"):
        plan_table(1000, 7, "tds", [0.5, 0.6], [2.0])


@pytest.mark.parametrize(
    ("num_steps", "a", "n"),
    [(-1, 0.5, 2), (51, 0.5, 2), (7, 0, 2), (7, 1, 2), (7, 0.5, 0.99), (7, 0.5, 8.01), (7, 0.5, math.nan)],
)
def test_what_is_no_plan_is_refused_with_the_remedy(num_steps: int, a: float, n: float) -> None:
    with pytest.raises(SpecError, match=r"choose fewer steps|correct plan"):
        make_plan(50, num_steps, "tds", a, n)


def test_a_family_that_is_none_is_refused_with_the_remedy() -> None:
    with pytest.raises(SpecError, match=r"cubic: need one of uniform, tds, .*; correct plan\.family"):
        make_plan(50, 7, "cubic")  # type: ignore[arg-type]
