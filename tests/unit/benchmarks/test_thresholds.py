"""Promises of choosing thresholds: the best that never give more texture fewer steps."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
import thresholds

from tss_ray.budget.policy import choose_steps
from tss_ray.spec import BudgetSpec

LADDER = (0, 1, 4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("price", [0.0, 0.02, 10.0])
def test_no_other_rising_steps_gain_more(seed: int, price: float) -> None:
    chance = np.random.RandomState(seed)
    images = [
        thresholds.Image(f"{n}", 0.11 + 0.2 * n, float(chance.randint(1, 4)), {"detail": tuple(chance.rand(3))})
        for n in range(4)
    ]

    def gained(rungs: tuple[int, ...]) -> float:
        found = ((each.scores["detail"] or ())[k] - price * LADDER[k] for each, k in zip(images, rungs, strict=True))
        return float(sum(each.num_tiles * value for each, value in zip(images, found, strict=True)))

    spec = BudgetSpec(ladder=LADDER, thresholds=thresholds.choose(images, LADDER, price))
    rungs = tuple(LADDER.index(choose_steps(spec, each.texture, each.name)) for each in images)
    assert gained(rungs) == pytest.approx(max(map(gained, combinations_with_replacement(range(3), 4))))
    assert price < 10 or set(rungs) == {0}
