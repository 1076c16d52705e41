"""Promises of the composition: stitched, added, quantised."""

import numpy as np
import pytest
import torch

from tss_ray.engine.compose import compose
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.imaging.tiles import tile_grid


def denoised(lr: np.ndarray, residual: float | None) -> DenoisedImage:
    """Return an image of which every tile adds `residual`; None: no tiles."""
    grid = tile_grid(*lr.shape[:2], 16, 4)
    tiles = [] if residual is None else [torch.full((3, 64, 64), residual) for _ in range(grid.num_tiles)]
    return DenoisedImage(ImageRequest("a", lr, (9,), 0.0, 0), grid, tiles, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
@pytest.mark.parametrize("shape", [(1, 1), (7, 30), (16, 16)])
def test_a_grey_that_gains_nothing_stays_that_grey(level: int, shape: tuple[int, int]) -> None:
    lr = np.full((*shape, 3), level, np.uint8)
    for residual in (0.0, None):
        out = compose(denoised(lr, residual), 4)
        assert out.dtype == np.uint8
        assert out.shape == (4 * shape[0], 4 * shape[1], 3)
        assert (out == level).all()


@pytest.mark.parametrize(("residual", "expected"), [(0.2, 126), (-0.2, 74), (2.0, 255), (-2.0, 0)])
def test_the_residual_is_added_in_the_range_of_2_and_cut_off_at_black_and_white(residual: float, expected: int) -> None:
    # 0.2 of [-1,1] is 25.5 of 255; 100 + 25.5 is no tie: 100 is 100/127.5 - 1 in float32
    out = compose(denoised(np.full((30, 20, 3), 100, np.uint8), residual), 4)
    assert abs(out.astype(int) - expected).max() <= (abs(residual) < 1)


def test_the_padding_of_a_small_image_is_cut_off() -> None:
    image = denoised(np.full((5, 9, 3), 100, np.uint8), 0.0)
    image.tiles[0][:, 20:] = 1  # below the image
    image.tiles[0][:, :, 36:] = 1  # right of it
    assert (compose(image, 4) == 100).all()


def test_ringing_at_an_edge_does_not_wrap_around() -> None:
    lr = np.zeros((8, 8, 3), np.uint8)
    lr[:, 4:] = 255
    row = compose(denoised(lr, None), 4)[0, :, 0].astype(int)
    assert row[:12].max() < 10
    assert row[20:].min() > 245


def test_the_image_handed_in_is_left_alone() -> None:
    lr = np.full((8, 8, 3), 50, np.uint8)
    image = denoised(lr, 0.5)
    assert np.array_equal(compose(image, 4), compose(image, 4))
    assert (lr == 50).all()
    assert (image.tiles[0] == 0.5).all()
