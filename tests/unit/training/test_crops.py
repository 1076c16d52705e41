from pathlib import Path

import numpy as np
import pytest
import torch

from tss_ray.errors import TrainingError
from tss_ray.training.crops import CropPool, build_pool
from tss_ray.training.recipe import Recipe


def test_texture_is_drawn_more_often_than_flatness(pool: CropPool) -> None:
    probability = np.diff(pool.cumulative, prepend=0)
    image, _, left = pool.positions.T
    flat, noise = (image == 1) & (left == 0), (image == 1) & (left >= 64)
    assert probability[noise].min() > 5 * probability[flat].max() > 0


def test_every_crop_position_lies_inside_its_photograph(pool: CropPool) -> None:
    for image, top, left in pool.positions:
        height, width = pool.images[image].shape[:2]
        assert top + pool.window_px <= height
        assert left + pool.window_px <= width


def test_the_generator_alone_decides_the_draw(pool: CropPool) -> None:
    first, again, other = (pool.draw(8, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == (8, 3, pool.window_px, pool.window_px)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_photographs_that_are_too_small_are_refused_with_the_remedy(tiny: Recipe, photo_files: list[Path]) -> None:
    with pytest.raises(TrainingError, match=r"lower crops\.min_side_px"):
        build_pool(photo_files, tiny.crops.model_copy(update={"min_side_px": 500}))


def test_a_file_that_is_no_photograph_is_named(tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(TrainingError, match=r"broken\.jpg is no photograph"):
        build_pool([tmp_path / "broken.jpg"], tiny.crops)
