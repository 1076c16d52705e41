"""Promises of the drawn pictures."""

import numpy as np

from tss_ray.training import drawings
from tss_ray.training.drawings import drawing


def test_the_generator_alone_decides_a_drawing() -> None:
    first, again, other = (drawing(64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_edges_are_as_steep_as_a_pixel_lets_them_be_and_smoothed_like_print() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([drawing(64, rng) for _ in range(40)]).mean(-1)
    steps = np.abs(np.diff(drawn, axis=2))
    steepest = steps.max(axis=(1, 2))
    assert np.quantile(steepest, 0.75) > 150
    assert (steps == 0).mean() > 0.3  # plain ground between
    assert ((steps > 10) & (steps < steepest[:, None, None] - 10)).any(axis=(1, 2)).mean() > 0.9  # and what is between


def test_every_kind_of_layer_leaves_a_mark_on_some_drawing() -> None:
    rng = np.random.default_rng(4)
    for layer in (drawings._letters, drawings._hatching, drawings._rings, drawings._lines, drawings._polygon):
        masks = [np.asarray(layer(256, rng)) for _ in range(12)]
        assert sum(mask.max() == 255 for mask in masks) >= 8, layer.__name__
        assert all(mask.mean() < 230 for mask in masks), layer.__name__
