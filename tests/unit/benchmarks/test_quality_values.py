import numpy as np
import pytest
from quality_values import BIN_SCORES, differences, half_width, headline_values, mean, numbers, texture_bin


def test_a_bin_begins_at_its_score() -> None:
    low, high = BIN_SCORES
    scores = (0.0, np.nextafter(low, 0), low, np.nextafter(high, 0), high, 1.0)
    assert [texture_bin(score) for score in scores] == ["smooth", "smooth", "middle", "middle", "textured", "textured"]


def test_the_interval_is_that_of_the_mean_and_repeats() -> None:
    found = list(np.random.RandomState(1).normal(5, 2, 400))
    width = half_width(found)
    assert width == pytest.approx(1.96 * 2 / np.sqrt(400), rel=0.1)
    assert half_width(found) == width


def test_equal_values_have_no_width_and_one_value_no_interval() -> None:
    assert half_width([3.0, 3.0, 3.0]) == 0
    assert half_width([3.0]) is None
    assert mean([]) is None


def test_differences_are_taken_within_a_crop(make_value) -> None:
    values = [make_value("bicubic", top=top, psnry=20.0 + top) for top in (0, 4, 8)]
    values += [make_value("1 step", top=top, psnry=psnry) for top, psnry in ((8, 29.0), (0, 20.5), (4, None))]
    assert differences(values, "1 step", "bicubic", "psnry") == [1.0, 0.5]


def test_what_was_not_measured_does_not_count(make_value) -> None:
    values = [make_value("1 step", niqe=4.0), make_value("1 step", top=4), make_value("7 tds", niqe=9.0)]
    assert numbers(values, "1 step", "niqe") == [4.0]


def test_held_out_crops_are_the_headline_where_there_are_any(make_value) -> None:
    sample, heldout = make_value("1 step", source="sample"), make_value("1 step")
    other = make_value("1 step", inputs="degraded")
    assert headline_values([sample, heldout, other], "clean") == [heldout]
    assert headline_values([sample, other], "clean") == [sample]
