"""Promises of the two figures of seams: what is worse at a tile's edge, and what is worse at a picture's."""

import numpy as np
import pytest
from seams import judged, more_at_the_border

SIDE, LINES = 64, [32]


@pytest.fixture(scope="module")
def original() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def test_errors_that_are_alike_everywhere_are_no_border() -> None:
    errors = np.full((SIDE, SIDE), 4.0)
    assert more_at_the_border(errors * 3, errors) == 1


def test_errors_that_grow_near_the_border_are_told_by_their_ratio() -> None:
    surrounded, alone = np.full((SIDE, SIDE), 4.0), np.full((SIDE, SIDE), 6.0)
    alone[8:-8, 8:-8] = 4.0
    assert more_at_the_border(alone, surrounded) == 1.5


def test_where_hardly_anything_is_wrong_nothing_is_compared() -> None:
    assert more_at_the_border(np.full((SIDE, SIDE), 9.0), np.full((SIDE, SIDE), 0.9)) == 1


def test_a_picture_without_tiles_has_no_seam(original: np.ndarray) -> None:
    whole = original + np.random.default_rng(1).normal(0, 5, original.shape)
    assert judged(whole, whole, original, LINES) == (1, 1, 1)


def test_a_step_at_a_tiles_edge_is_a_seam(original: np.ndarray) -> None:
    slope = np.arange(SIDE)
    whole = np.repeat((slope[:, None] + slope)[..., None], 3, 2).astype(float)
    tiled = whole.copy()
    tiled[32:] += 20
    mean, worst, error = judged(tiled, whole, whole.astype(np.uint8), LINES)
    assert mean == worst == pytest.approx(21)
    assert error == 1  # nothing is wrong with the picture in one piece: nothing to compare


def test_errors_near_a_tiles_edge_are_compared_with_those_of_the_whole_picture(original: np.ndarray) -> None:
    whole = original + 10.0
    tiled = whole.copy()
    tiled[28:36] += 10
    tiled[:, 28:36] = original[:, 28:36] + 20.0
    _, _, error = judged(tiled, whole, original, LINES)
    assert error == pytest.approx(2)
