"""Promises of budgets by tile: no more in all than the image was given, and more where there is texture."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tss_ray.budget.by_tile import deal_steps
from tss_ray.spec import BudgetSpec
from tss_ray.spec.budgets import MeasuredWith, TargetBin, TargetSpec

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)
FIXED = BudgetSpec(policy="fixed", by_tile=True)


@settings(deadline=None)
@given(SCORES, st.integers(1, 30), st.integers(0, 1))
def test_together_they_get_what_the_image_was_given(scores: list[float], num_steps: int, least: int) -> None:
    steps, most = deal_steps(FIXED, scores, num_steps, least), max(2 * num_steps, 15)
    assert sum(steps) <= num_steps * len(scores)
    assert all(least <= each <= most for each in steps)
    room = sum(most - each for each, score in zip(steps, scores, strict=True) if score > 1e-6)
    assert sum(steps) == num_steps * len(scores) or room == 0, "steps were left over that a tile could have had"


@settings(deadline=None)
@given(SCORES, st.integers(1, 30))
@example([0.0] * 4 + [1.0] * 3 + [1e-99], 6)  # which rounds to none, and was left out when a remainder was dealt
def test_a_tile_of_more_texture_never_gets_fewer(scores: list[float], num_steps: int) -> None:
    by_score = sorted(zip(scores, deal_steps(FIXED, scores, num_steps), strict=True))
    assert [steps for _, steps in by_score] == sorted(steps for _, steps in by_score)


def test_a_flat_sky_gives_its_steps_to_the_foliage() -> None:
    assert deal_steps(FIXED, [0.0, 0.0, 0.5, 0.5], 7) == [0, 0, 14, 14]
    assert deal_steps(FIXED, [0.01, 0.01, 0.6, 0.6], 4, least=1) == [1, 1, 7, 7]


def test_tiles_that_are_alike_share_alike() -> None:
    for scores in ([0.0] * 5, [0.4] * 5):
        assert deal_steps(FIXED, scores, 7) == [7] * 5


def target(min_steps: int = 0) -> TargetSpec:
    """Flat tiles gain nothing by a second step, the others much."""
    bins = (
        TargetBin(weight=1, steps=(0, 1, 4, 8), cost=(0, 1, 4, 8), quality=(0.5, 0.6, 0.6, 0.6)),
        TargetBin(weight=1, steps=(0, 1, 4, 8), cost=(0, 1, 4, 8), quality=(0.1, 0.3, 0.6, 0.8)),
    )
    measured = MeasuredWith(model_sha256="", tile_px=64, overlap_px=16, plan="")
    return TargetSpec(
        edges=(0.2,), bins=bins, tiles_per_image=1, multiplier=0, share=0, min_steps=min_steps, measured=measured
    )


def by_target(scores: list[float], num_steps: int, least: int = 0, min_steps: int = 0) -> list[int]:
    return deal_steps(BudgetSpec(policy="target", target=target(min_steps), by_tile=True), scores, num_steps, least)


def test_a_plan_s_curves_decide_where_a_tile_gains_most() -> None:
    assert by_target([0.1, 0.1, 0.1, 0.9], 4) == [1, 1, 1, 8]  # 11 of 16: the rest would gain nothing
    assert by_target([0.9, 0.1, 0.8], 3) == [4, 1, 4]
    assert by_target([0.8, 0.1, 0.9], 2) == [1, 1, 4]  # of equal gains the one of more texture comes first
    assert by_target([0.1, 0.9], 1, least=1) == [1, 1]
    assert by_target([0.1, 0.9], 4, min_steps=4) == [4, 4]


@settings(deadline=None)
@given(SCORES, st.sampled_from([1, 2, 4, 8]), st.integers(0, 1))
def test_a_plan_s_curves_never_spend_more_than_the_image_was_given(
    scores: list[float], num_steps: int, least: int
) -> None:
    steps = by_target(scores, num_steps, least)
    assert sum(steps) <= num_steps * len(scores)
    assert min(steps) >= least
