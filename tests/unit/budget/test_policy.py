"""Promises of the budget."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.budget.policy import another_rung, choose_steps, top_rung
from tss_ray.spec import BudgetSpec

SCORES = st.floats(0, 1)


@st.composite
def budgets(draw: st.DrawFn) -> BudgetSpec:
    ladder = sorted(draw(st.sets(st.integers(0, 60), min_size=1, max_size=8)))
    thresholds = sorted(draw(st.lists(SCORES, min_size=len(ladder) - 1, max_size=len(ladder) - 1)))
    return BudgetSpec(policy="texture", ladder=tuple(ladder), thresholds=tuple(thresholds))


@settings(deadline=None)
@given(budgets(), SCORES, SCORES)
def test_more_texture_never_gets_fewer_steps(budget: BudgetSpec, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert choose_steps(budget, low, "a") <= choose_steps(budget, high, "a")


@settings(deadline=None)
@given(budgets(), SCORES)
def test_the_steps_are_a_rung_and_at_most_the_top_one(budget: BudgetSpec, score: float) -> None:
    assert choose_steps(budget, score, "a") in budget.ladder
    assert choose_steps(budget, score, "a") <= top_rung(budget) == max(budget.ladder)


def test_a_score_that_reaches_a_threshold_is_on_the_next_rung() -> None:
    budget = BudgetSpec(policy="texture", ladder=(0, 2, 7), thresholds=(0.1, 0.5))
    assert [choose_steps(budget, s, "a") for s in (0, 0.0999, 0.1, 0.4999, 0.5, 1)] == [0, 0, 2, 2, 7, 7]


def test_a_ladder_of_one_rung_is_for_all() -> None:
    budget = BudgetSpec(policy="texture", ladder=(4,), thresholds=())
    assert {choose_steps(budget, s, "a") for s in (0, 0.5, 1)} == {4}


@settings(deadline=None)
@given(SCORES, st.integers(0, 50))
def test_fixed_is_the_same_for_all(score: float, num_steps: int) -> None:
    budget = BudgetSpec(policy="fixed", num_steps=num_steps)
    assert choose_steps(budget, score, "a") == top_rung(budget) == num_steps


@settings(deadline=None)
@given(budgets(), SCORES)
def test_another_rung_is_another_and_costs_at_least_a_step(budget: BudgetSpec, score: float) -> None:
    num_steps = choose_steps(budget, score, "a")
    other = another_rung(budget, num_steps)
    assert other >= 1
    assert other != num_steps


def test_another_rung_is_the_one_below_or_else_above() -> None:
    budget = BudgetSpec(policy="texture", ladder=(0, 2, 4), thresholds=(0.1, 0.2))
    assert [another_rung(budget, steps) for steps in (4, 2, 0)] == [2, 4, 2]
    assert [another_rung(BudgetSpec(policy="fixed", num_steps=n), n) for n in (7, 2, 1)] == [3, 1, 2]


def test_a_model_of_few_step_counts_is_retried_at_those_alone() -> None:
    fixed = BudgetSpec(policy="fixed", num_steps=1)
    assert [another_rung(fixed, 1, allowed) for allowed in ((1,), (1, 4), (1, 2, 4))] == [1, 4, 2]
