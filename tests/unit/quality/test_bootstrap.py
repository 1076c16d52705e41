import numpy as np
import pytest

from tss_ray.quality.bootstrap import interval, interval_of_difference, interval_of_groups


def test_the_interval_covers_the_true_mean_nineteen_times_in_twenty() -> None:
    rng = np.random.RandomState(3)
    found = [interval(list(rng.normal(2, 1, 40))) for _ in range(200)]
    covered = sum(f is not None and f.low <= 2 <= f.high for f in found)
    assert 180 <= covered <= 198


def test_crops_of_one_photograph_count_as_one() -> None:
    numbers = list(np.random.RandomState(0).normal(0, 1, 12))
    alone = interval(numbers)
    repeated = interval(numbers * 4, [str(i) for i in range(12)] * 4)
    naive = interval(numbers * 4)
    assert alone is not None
    assert repeated is not None
    assert naive is not None
    assert repeated.num == 12
    assert repeated.mean == pytest.approx(alone.mean)
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high))
    assert naive.half_width < 0.7 * repeated.half_width


def test_a_photograph_with_more_crops_weighs_more() -> None:
    found = interval([0.0, 3.0, 3.0], ["a", "b", "b"])
    assert found is not None
    assert found.mean == 2
    assert (found.low, found.high) == (0, 3)


def test_one_photograph_has_no_interval() -> None:
    assert interval([1.0, 2.0, 3.0], ["a", "a", "a"]) is None
    assert interval([]) is None
    assert interval_of_difference([1.0, 2.0], [1.0], None, None) is None


def test_the_interval_repeats_and_shifts_with_its_numbers() -> None:
    numbers = [1.0, 5.0, 2.0, 8.0]
    assert interval(numbers) == interval(numbers)
    first, shifted = interval(numbers), interval([n + 10 for n in numbers])
    assert first is not None
    assert shifted is not None
    assert shifted.low == pytest.approx(first.low + 10)


def test_an_unpaired_difference_is_wider_than_each_side() -> None:
    rng = np.random.RandomState(1)
    first, second = list(rng.normal(5, 1, 50)), list(rng.normal(3, 1, 50))
    one, other, both = interval(first), interval(second), interval_of_difference(first, second)
    assert one is not None
    assert other is not None
    assert both is not None
    assert both.mean == pytest.approx(one.mean - other.mean)
    assert both.half_width == pytest.approx(np.hypot(one.half_width, other.half_width), rel=0.1)


def test_groups_that_hold_one_number_each_are_the_numbers() -> None:
    numbers = np.random.RandomState(2).normal(3, 1, 30)
    assert interval_of_groups(numbers, np.ones(30, np.int64)) == interval(numbers.tolist())


def test_many_numbers_in_random_groups_vary_as_the_numbers_do() -> None:
    rng = np.random.RandomState(4)
    numbers, groups = rng.normal(1, 2, 20_000), rng.randint(2000, size=20_000)
    counts = np.bincount(groups, minlength=2000)
    found = interval_of_groups(np.bincount(groups, weights=numbers, minlength=2000), counts)
    assert found is not None
    assert found.mean == pytest.approx(numbers.mean())
    assert found.half_width == pytest.approx(1.96 * numbers.std() / np.sqrt(20_000), rel=0.1)


def test_groups_of_nothing_do_not_count() -> None:
    assert interval_of_groups(np.array([5.0, 0.0]), np.array([2, 0])) is None
    found = interval_of_groups(np.array([4.0, 0.0, 4.0]), np.array([2, 0, 2]))
    assert found is not None
    assert (found.mean, found.low, found.high, found.num) == (2, 2, 2, 2)
