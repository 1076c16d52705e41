"""Promises of numbers as people read them."""

import pytest

from tss_ray.report.words import count, duration, megapixels, number, percent, shortened, usd


def test_what_is_not_known_is_a_dash_and_zero_is_zero() -> None:
    assert {tell(None) for tell in (count, number, percent, usd, duration)} == {"–"}
    assert (count(0), number(0), percent(0), usd(0), duration(0)) == ("0", "0.00", "0.0%", "$0.00", "0 s")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.1234, "0.123 s"), (42, "42.0 s"), (119, "119.0 s"), (120, "2.0 min"), (7200, "2.0 h"), (1e6, "11.6 d")],
)
def test_seconds_are_told_in_the_unit_that_leaves_a_short_number(seconds: float, told: str) -> None:
    assert duration(seconds) == told
    assert duration(-seconds) == f"-{told}"


@pytest.mark.parametrize(
    ("dollars", "told"), [(0.00123456, "$0.00123"), (0.5, "$0.5"), (1, "$1.00"), (12345.678, "$12,345.68")]
)
def test_small_sums_keep_their_figures(dollars: float, told: str) -> None:
    assert usd(dollars) == told


def test_long_text_loses_its_middle_and_large_pictures_change_their_unit() -> None:
    assert shortened("abcdefghij", 7) == "abc…hij"
    assert shortened("abcdefg", 7) == "abcdefg"
    assert (megapixels(9999.94), megapixels(10_000)) == ("9,999.9 MP", "10.0 GP")
