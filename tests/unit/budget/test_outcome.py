"""Promises of the figures that tell what steps were worth."""

import pytest

from tss_ray.budget.outcome import Measured, nfe_share_at_equal_quality, quality_gain_at_equal_nfe
from tss_ray.errors import InputError

LADDER = (0, 2, 4)


def flat(chosen: int) -> Measured:
    return Measured(1, (0.0, 2.0, 4.0), (0.9, 0.9, 0.9), chosen)


def rich(chosen: int) -> Measured:
    return Measured(1, (0.0, 2.0, 4.0), (0.1, 0.5, 0.9), chosen)


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


def test_nothing_measured_is_refused() -> None:
    for figure in (quality_gain_at_equal_nfe, nfe_share_at_equal_quality):
        with pytest.raises(InputError, match="let the run finish some"):
            figure([], LADDER)
