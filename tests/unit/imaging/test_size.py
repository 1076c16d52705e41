"""Promises of the rules by which an image is left alone."""

import pytest

from tss_ray.imaging.size import TargetSize, target_size

ALONE = TargetSize(40, 30, "skip_sharper_than")
ENLARGED = TargetSize(160, 120)


@pytest.mark.parametrize(
    ("blur", "rules", "expected"),
    [
        (0.2, {}, ENLARGED),
        (0.2, {"skip_sharper_than": 0.3}, ALONE),
        (0.3, {"skip_sharper_than": 0.3}, ENLARGED),
        (None, {"skip_sharper_than": 1.0}, ENLARGED),
        (0.2, {"skip_sharper_than": 0.3, "skip_sharper_from_px": 40}, ALONE),
        (0.2, {"skip_sharper_than": 0.3, "skip_sharper_from_px": 41}, ENLARGED),
    ],
)
def test_what_is_sharp_and_not_too_small_is_left_alone(
    blur: float | None, rules: dict[str, float], expected: TargetSize
) -> None:
    assert target_size(40, 30, 4, **rules, blur=blur) == expected  # type: ignore[arg-type]


def test_of_two_rules_the_size_is_told() -> None:
    assert target_size(40, 30, 4, skip_larger_than_px=39, skip_sharper_than=1, blur=0.1).left_alone_by == (
        "skip_larger_than_px"
    )
