"""Promises of the plan: goals become caps, predictions have intervals, and what cannot be is said."""

import re
from itertools import pairwise

import pytest
from calibrations import make_calibration

from tss_ray.budget.planning import Goal, Plan, Terms, cap_device_s, make_goal, solve, target_of, what_ifs
from tss_ray.budget.target import assign, planned_choice, target_problem
from tss_ray.errors import SpecError

CALIBRATION = make_calibration(num=80)
MOST = solve(CALIBRATION, Goal("best"), Terms()).device_s.value


def hours(device_s: float) -> float:
    return device_s / 3600


def plan(goal: Goal | None = None, **terms: object) -> Plan:
    return solve(CALIBRATION, goal or Goal("max_device_hours", hours(MOST / 2)), Terms(**terms))  # type: ignore[arg-type]


def test_a_time_cap_is_filled_in_expectation_and_never_exceeded() -> None:
    found = plan()
    assert found.device_s.value == pytest.approx(MOST / 2, rel=1e-6)
    assert found.device_s.value <= MOST / 2 * (1 + 1e-12)
    assert found.device_s.low < found.device_s.value < found.device_s.high
    assert found.quality.low < found.quality.value < found.quality.high
    assert found.expected.cost == pytest.approx(found.device_s.value)
    assert sum(found.rung_shares.values()) == pytest.approx(1)


def test_money_and_deadlines_come_down_to_device_seconds() -> None:
    assert cap_device_s(Goal("max_cost_usd", 11), Terms(usd_per_device_hour=2.0, storage_usd=1)) == 5 * 3600
    assert cap_device_s(Goal("max_cost_usd", 10), Terms(usd_per_device_hour=2.0, busy_share=0.5)) == 2.5 * 3600
    assert cap_device_s(Goal("deadline_hours", 2), Terms(num_devices=3)) == 6 * 3600
    assert cap_device_s(Goal("max_mean_steps", 2), Terms()) is None
    terms = Terms(usd_per_device_hour=2.0, storage_usd=1, busy_share=0.5)
    assert terms.usd(3600) == 5


def test_a_missing_price_says_how_to_give_it() -> None:
    with pytest.raises(SpecError, match=r"give --device-usd-per-hour, or --prices FILE with --device NAME"):
        plan(Goal("max_cost_usd", 10))
    with pytest.raises(SpecError, match=r"does not pay the requests.*raise --max-cost-usd"):
        plan(Goal("max_cost_usd", 1), usd_per_device_hour=1.0, storage_usd=2.0)


def test_an_impossible_cap_says_what_is_possible() -> None:
    for kind, unit in (
        ("max_device_hours", "device-hours"),
        ("max_cost_usd", "USD"),
        ("deadline_hours", "hours"),
        ("max_mean_steps", "steps"),
    ):
        terms = {"usd_per_device_hour": 2.0, "num_devices": 3, "busy_share": 0.5}
        with pytest.raises(SpecError, match=r"take; raise it, lower --min-steps, or shrink --holdout") as told:
            plan(Goal(kind, 1e-9), **terms)
        least = re.search(rf"1e-09 {unit} is below (\S+), which the lowest rungs and the holdout", str(told.value))
        assert least
        just = Goal(kind, float(least[1]) * 1.001)
        found = plan(just, **terms)
        assert found.device_s.value == pytest.approx(found.problem.least.cost, rel=5e-3), "and no less is"
    with pytest.raises(SpecError, match=r"lower --min-quality"):
        plan(Goal("min_quality", 2.0))


def test_mean_steps_are_kept_and_caps_no_time() -> None:
    found = plan(Goal("max_mean_steps", 2.0))
    assert found.steps.value == pytest.approx(2.0)
    assert found.cap is None
    assert target_of(found).cost_unit == "steps"


def test_a_quality_is_reached_at_the_least_cost() -> None:
    found = plan(Goal("min_quality", 0.95))
    assert found.quality.value == pytest.approx(0.95, abs=1e-6)
    assert found.uniform_at(found.device_s.value).quality < 0.95


def test_the_plan_is_better_than_uniform_steps_of_the_same_cost() -> None:
    found = plan()
    same = found.uniform_at(found.device_s.value)
    assert same is not None
    assert found.quality.value > same.quality
    assert [point.steps for point in found.uniform] == [0, 1, 4, 8]
    assert all(a.device_s < b.device_s and a.quality < b.quality for a, b in pairwise(found.frontier))


def test_what_ifs_tell_of_other_caps_and_prices() -> None:
    found = plan(Goal("max_cost_usd", MOST / 2 / 3600), usd_per_device_hour=1.0)
    rows = {row.name: row for row in what_ifs(found, {"dear": 2.0, "too dear": 1e9})}
    assert rows["half the cap"].usd == pytest.approx(MOST / 4 / 3600)
    assert rows["double the cap"].point.quality > found.quality.value
    assert rows["2 USD/h (dear)"].point == rows["half the cap"].point.__class__("plan", *[
        getattr(rows["half the cap"].point, name) for name in ("device_s", "quality", "steps")])  # fmt: skip
    assert "raise it" in rows["1e+09 USD/h (too dear)"].why


def test_several_goals_at_once_are_refused_and_none_is_the_best() -> None:
    assert make_goal(max_cost_usd=None) == Goal("best")
    with pytest.raises(SpecError, match="--max-cost-usd and --deadline at once"):
        make_goal(max_cost_usd=1.0, deadline_hours=2.0)
    with pytest.raises(SpecError, match="--max-mean-steps -1: need a value above 0"):
        make_goal(max_mean_steps=-1.0)


@pytest.mark.parametrize(
    ("terms", "remedy"), [({"num_devices": 0}, "--devices 0"), ({"busy_share": 1.5}, "--busy-share")]
)
def test_terms_that_cannot_be_are_refused(terms: dict[str, float], remedy: str) -> None:
    with pytest.raises(SpecError, match=remedy):
        plan(**terms)


@pytest.mark.parametrize("goal", [Goal("max_device_hours", hours(MOST / 3)), Goal("max_mean_steps", 2.0)])
def test_what_the_job_assigns_is_what_the_plan_expects(goal: Goal) -> None:
    found = plan(goal)
    target = target_of(found)
    assert target_problem(target).expect(planned_choice(target)).cost == pytest.approx(found.expected.cost)
    taken = [assign(target, planned_choice(target), (n % 80) / 80, f"{n}") for n in range(8000)]
    tiles = [1 + n % 80 % 3 for n in range(8000)]
    mean = sum(a.num_steps * t for a, t in zip(taken, tiles, strict=True)) / sum(tiles)
    assert mean == pytest.approx(found.steps.value, rel=0.03)
    held = [a for a in taken if a.is_holdout]
    assert len(held) == pytest.approx(80, abs=30)
    assert {a.num_steps for a in held} == {8}


def test_one_bin_is_enough() -> None:
    one = make_calibration(num=10, num_bins=1)
    assert one.num_bins == 1
    assert solve(one, Goal("max_mean_steps", 3.0), Terms()).steps.value == pytest.approx(3.0)
