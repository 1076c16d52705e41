import pytest
from bootstrap import Interval
from tss_compare import MIN_CLUSTERS, SIX, Claim, Evidence, better, compare, no_worse, wins


def _evidence(low: float, high: float, rule: str) -> Evidence:
    return Evidence("", Interval((low + high) / 2, low, high, 9), rule)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "high", "rule", "verdict"),
    [
        (0.1, 0.3, "above", "holds"),
        (-0.1, 0.3, "above", "cannot be told"),
        (-0.3, -0.1, "above", "does not hold"),
        (0.0, 0.0, "above", "does not hold"),
        (-0.3, -0.1, "below", "holds"),
        (-0.3, 0.1, "below", "cannot be told"),
        (0.1, 0.3, "below", "does not hold"),
        (-0.3, 0.1, "not below", "holds"),
        (-0.3, 0.0, "not below", "holds"),
        (-0.3, -0.1, "not below", "does not hold"),
        (-0.1, 0.3, "not above", "holds"),
        (0.1, 0.3, "not above", "does not hold"),
        (-0.3, -0.1, "not above", "holds"),
    ],
)
def test_the_verdict_follows_from_where_the_interval_lies(low: float, high: float, rule: str, verdict: str) -> None:
    assert _evidence(low, high, rule).verdict == verdict


def test_what_was_not_measured_is_said_to_be_so() -> None:
    missing = Evidence("", None, "above")
    assert missing.verdict == "not measured"
    assert Claim("", "paper", (missing,)).verdict == "not measured"
    assert Claim("", "paper", (missing, _evidence(1, 2, "above"))).verdict == "not measured"
    assert Claim("", "paper", (missing, _evidence(-2, -1, "above"))).verdict == "does not hold"
    assert Claim("", "paper", ()).verdict == "not measured"


def test_a_metric_without_its_weights_does_not_stop_a_claim() -> None:
    missing = Evidence("", None, "above", is_optional=True)
    assert Claim("", "paper", (missing, _evidence(1, 2, "above"))).verdict == "holds"
    assert Claim("", "paper", (missing,)).verdict == "not measured"


def test_few_photographs_tell_nothing() -> None:
    assert Evidence("", Interval(1, 0.9, 1.1, MIN_CLUSTERS - 1), "above").verdict == "cannot be told"
    assert Evidence("", Interval(1, 0.9, 1.1, MIN_CLUSTERS), "above").verdict == "holds"


def test_a_claim_holds_if_all_of_it_does_and_falls_with_any() -> None:
    good, bad, open_ = (_evidence(*ends, "above") for ends in ((1, 2), (-2, -1), (-1, 2)))
    assert Claim("", "paper", (good, good)).verdict == "holds"
    assert Claim("", "paper", (good, open_)).verdict == "cannot be told"
    assert Claim("", "paper", (good, open_, bad)).verdict == "does not hold"


def test_a_claim_on_some_of_its_tests_holds_once_enough_do() -> None:
    good, bad, open_ = (_evidence(*ends, "above") for ends in ((1, 2), (-2, -1), (-1, 2)))
    assert Claim("", "project", (good, good, bad), needed=2).verdict == "holds"
    assert Claim("", "project", (good, open_, bad), needed=2).verdict == "cannot be told"
    assert Claim("", "project", (good, bad, bad), needed=2).verdict == "does not hold"
    assert Claim("", "project", (good, bad, Evidence("", None, "above")), needed=2).verdict == "not measured"


def test_a_comparison_is_paired_by_crop_and_resampled_by_photograph(make_value) -> None:
    values = [make_value("7 uniform", photo=photo, top=top, niqe=level) for photo, top, level in _LEVELS]
    values += [make_value("7 tds", photo=photo, top=top, niqe=level - 0.5) for photo, top, level in _LEVELS]
    found = compare(values, "7 tds", "7 uniform", "niqe")
    assert found is not None
    assert found.num == 2
    assert (found.mean, found.low, found.high) == pytest.approx((-0.5, -0.5, -0.5))
    assert better(values, "7 tds", "7 uniform", "niqe").rule == "below"
    assert no_worse(values, "7 uniform", "7 tds", "niqe").rule == "not above"
    assert better(values, "7 tds", "7 uniform", "psnry").verdict == "not measured"


_LEVELS = (("river", 0, 3.0), ("river", 96, 9.0), ("hill", 0, 5.0))


def test_wins_count_the_metrics_with_the_better_mean(make_value) -> None:
    even = dict.fromkeys(SIX, 1.0)
    ours = even | {"psnry": 2.0, "gmsd": 0.5, "niqe": 0.5, "ssim": 0.5}
    values = [make_value("7 uniform", photo=photo, **even) for photo in ("river", "hill")]
    values += [make_value("7 tds", photo=photo, **ours) for photo in ("river", "hill")]
    assert wins(values, "7 tds", "7 uniform") == 3
    assert wins(values, "7 uniform", "7 tds") == 1


def test_wins_without_all_six_metrics_are_not_counted(make_value) -> None:
    values = [make_value(m, photo=photo, psnry=1.0) for m in ("7 tds", "7 uniform") for photo in ("river", "hill")]
    assert wins(values, "7 tds", "7 uniform") is None
