"""Promises of the figures after a run."""

import pytest

from tss_ray.budget.outcome import (
    Measured,
    Ran,
    cost_error,
    holdout_regret,
    nfe_share_at_equal_quality,
    quality_gain_at_equal_nfe,
    saved_share,
)
from tss_ray.errors import InputError

LADDER = (0, 2, 4)


def flat(chosen: int) -> Measured:
    return Measured(1, (0.0, 2.0, 4.0), (0.9, 0.9, 0.9), chosen)


def rich(chosen: int) -> Measured:
    return Measured(1, (0.0, 2.0, 4.0), (0.1, 0.5, 0.9), chosen)


def test_the_error_of_a_cap_is_a_share_of_it() -> None:
    ran = [Ran(4, 15, 2, 3.0, False)] * 4
    assert cost_error(ran, 10.0) == pytest.approx(0.2)
    assert cost_error(ran, 16.0) == pytest.approx(-0.25)
    with pytest.raises(InputError, match="plan with a goal of time or money"):
        cost_error(ran, 0.0)


def test_savings_are_counted_in_tiles_and_without_the_holdout() -> None:
    ran = [Ran(0, 10, 1, 0.0, False), Ran(5, 10, 3, 1.0, False), Ran(10, 10, 9, 1.0, True)]
    assert saved_share(ran).value == pytest.approx(1 - 15 / 40)
    with pytest.raises(InputError, match="let the run finish some"):
        saved_share(ran[2:])


def test_regret_is_what_the_top_rung_is_better_by() -> None:
    ran = [Ran(15, 15, 1, 1.0, True, 0.8)] * 5 + [Ran(4, 15, 1, 1.0, False, 0.7)] * 50
    found = holdout_regret(ran)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    with pytest.raises(InputError, match="plan with --holdout"):
        holdout_regret(ran[5:])


def test_steps_where_they_matter_take_half_at_equal_quality_and_are_better_at_equal_cost() -> None:
    measured = [flat(0), rich(2)] * 20
    share, gain = nfe_share_at_equal_quality(measured, LADDER), quality_gain_at_equal_nfe(measured, LADDER)
    assert share.value == pytest.approx(0.5, abs=1e-6)
    assert gain.value == pytest.approx(0.2)
    assert share.low < 0.5 < share.high
    assert gain.low > 0.1


def test_the_wrong_way_round_loses_and_uniform_steps_are_even() -> None:
    assert quality_gain_at_equal_nfe([flat(2), rich(0)] * 20, LADDER).value == pytest.approx(-0.2)
    harmed = [Measured(1, (0.0, 2.0, 4.0), (0.9, 0.5, 0.1), 2)] * 20
    assert nfe_share_at_equal_quality(harmed, LADDER).value == 2  # rung 0 would do: of the first rung for all
    assert nfe_share_at_equal_quality([flat(0)] * 5, LADDER).value == 1
    even = [flat(1), rich(1)] * 20
    assert quality_gain_at_equal_nfe(even, LADDER).value == pytest.approx(0)
    assert nfe_share_at_equal_quality(even, LADDER).value == pytest.approx(1, abs=1e-6)
