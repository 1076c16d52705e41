"""Promises of the stitching."""

import dataclasses
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tss_ray.errors import EngineError
from tss_ray.imaging.stitch import Stitcher, window
from tss_ray.imaging.tiles import TileGrid, tile_grid


def cut(field: Tensor, grid: TileGrid, scale: int) -> list[Tensor]:
    side = grid.tile_px * scale
    return [field[:, t * scale : t * scale + side, x * scale : x * scale + side].clone() for t, x in grid.boxes()]


def stitched(tiles: list[Tensor], grid: TileGrid, scale: int, order: list[int]) -> Tensor:
    stitcher = Stitcher(grid, scale, channels=tiles[0].shape[0])
    for index in order:
        stitcher.add(index, tiles[index])
    return stitcher.finish()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(2, 32), st.data(), st.integers(1, 4), st.integers(1, 4))
def test_any_field_cut_into_tiles_and_stitched_returns_itself(
    height: int, width: int, tile_px: int, data: st.DataObject, scale: int, channels: int
) -> None:
    grid = tile_grid(height, width, tile_px, data.draw(st.integers(0, tile_px // 2)))
    generator = torch.Generator().manual_seed(1)
    field = torch.rand((channels, grid.height * scale, grid.width * scale), generator=generator) * 2 - 1
    tiles = cut(field, grid, scale)
    out = stitched(tiles, grid, scale, list(range(len(tiles))))
    assert out.dtype == torch.float32
    assert torch.allclose(out, field, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_tiles_finish_does_not_change_a_bit(seed: int) -> None:
    grid = tile_grid(70, 90, 32, 12)
    generator = torch.Generator().manual_seed(seed)
    # Tiles that disagree where they overlap: only then does the order of the additions show.
    tiles = [torch.randn((3, 64, 64), generator=generator) for _ in range(grid.num_tiles)]
    order = list(range(grid.num_tiles))
    expected = stitched(tiles, grid, 2, order)
    random.Random(seed).shuffle(order)
    assert torch.equal(stitched(tiles, grid, 2, order), expected)
    assert torch.equal(stitched(tiles, grid, 2, list(reversed(range(grid.num_tiles)))), expected)


def test_output_is_the_mean_weighted_by_the_window() -> None:
    grid = tile_grid(50, 75, 32, 12)
    generator = torch.Generator().manual_seed(0)
    tiles = [torch.randn((3, 64, 64), generator=generator) for _ in range(grid.num_tiles)]
    weight = window(32, 12, 2).double()
    total, sums = torch.zeros(100, 150, dtype=torch.float64), torch.zeros(3, 100, 150, dtype=torch.float64)
    for tile, (top, left) in zip(tiles, grid.boxes(), strict=True):
        box = (slice(2 * top, 2 * top + 64), slice(2 * left, 2 * left + 64))
        total[box] += weight
        sums[:, box[0], box[1]] += weight * tile
    out = stitched(tiles, grid, 2, list(range(grid.num_tiles)))
    assert torch.allclose(out.double(), sums / total, atol=1e-5, rtol=0)


def test_a_pixel_of_one_tile_only_comes_through_unchanged() -> None:
    grid = tile_grid(64, 112, 64, 16)
    tiles = [torch.randn((3, 128, 128), generator=torch.Generator().manual_seed(i)) for i in range(2)]
    out = stitched(tiles, grid, 2, [0, 1])
    assert torch.equal(out[:, :, :96], tiles[0][:, :, :96])
    assert torch.equal(out[:, :, 128:], tiles[1][:, :, 32:])


def test_a_seam_between_two_constants_is_monotone_and_without_a_jump() -> None:
    grid = tile_grid(64, 112, 64, 16)
    out = stitched([torch.zeros(1, 256, 256), torch.ones(1, 256, 256)], grid, 4, [0, 1])[0, 100]
    steps = out.diff()
    assert (steps >= 0).all()
    assert steps.max() < 0.03  # the steepest slope of a raised cosine over 64 px is pi / 128


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 64), st.data(), st.integers(1, 8))
def test_window_is_positive_symmetric_and_at_most_one(tile_px: int, data: st.DataObject, scale: int) -> None:
    weights = window(tile_px, data.draw(st.integers(0, tile_px - 1)), scale)
    assert weights.shape == (tile_px * scale, tile_px * scale)
    assert weights.dtype == torch.float32
    assert (weights > 0).all()
    assert (weights <= 1).all()
    assert torch.allclose(weights, weights.flip(0).flip(1))


def test_ramps_of_neighbours_sum_to_one_at_the_least_overlap() -> None:
    row = window(64, 16, 4)[128]
    assert torch.allclose(row[-64:] + row[:64], torch.ones(64))


def test_a_tile_added_twice_is_refused_whether_blended_or_waiting() -> None:
    stitcher = Stitcher(tile_grid(40, 40, 32, 8), 1)
    stitcher.add(0, torch.zeros(3, 32, 32))
    stitcher.add(2, torch.zeros(3, 32, 32))
    for index in (0, 2):
        with pytest.raises(EngineError, match="twice"):
            stitcher.add(index, torch.zeros(3, 32, 32))


def test_a_tile_that_never_came_is_named() -> None:
    stitcher = Stitcher(tile_grid(40, 40, 32, 8), 1)
    for index in (0, 1, 3):
        stitcher.add(index, torch.zeros(3, 32, 32))
    with pytest.raises(EngineError, match="1 tiles never came, the first is 2"):
        stitcher.finish()


@pytest.mark.parametrize("index", [-1, 4])
def test_a_tile_that_is_not_in_the_grid_is_refused(index: int) -> None:
    with pytest.raises(EngineError, match="does not exist"):
        Stitcher(tile_grid(40, 40, 32, 8), 1).add(index, torch.zeros(3, 32, 32))


@pytest.mark.parametrize("tile", [torch.zeros(3, 32, 31), torch.zeros(1, 32, 32), torch.zeros(3, 32, 32).half()])
def test_a_tile_of_another_shape_or_dtype_is_refused(tile: Tensor) -> None:
    with pytest.raises(EngineError, match="need"):
        Stitcher(tile_grid(40, 40, 32, 8), 1).add(0, tile)


def test_a_grid_with_a_hole_is_refused() -> None:
    holed = dataclasses.replace(tile_grid(32, 96, 32, 0), lefts=(0, 64))
    with pytest.raises(EngineError, match="covers pixel 32"):
        Stitcher(holed, 1)
