"""Promises of the tiling."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tss_ray.errors import SpecError
from tss_ray.imaging.tiles import TileGrid, best_tile, pad_to_tile, padded_size, tile_grid

LENGTHS = st.integers(1, 700)


@st.composite
def grids(draw: st.DrawFn) -> TileGrid:
    tile_px = draw(st.integers(1, 96))
    overlap_px = draw(st.integers(0, tile_px - 1))
    assume(tile_px - overlap_px >= 2 or tile_px <= 4)  # else thousands of tiles that prove nothing more
    return tile_grid(draw(LENGTHS), draw(LENGTHS), tile_px, overlap_px)


def axes(grid: TileGrid) -> list[tuple[int, tuple[int, ...]]]:
    return [(grid.height, grid.tops), (grid.width, grid.lefts)]


@settings(deadline=None)
@given(grids())
def test_every_pixel_is_covered_and_no_tile_leaves_the_image(grid: TileGrid) -> None:
    for length, positions in axes(grid):
        assert positions[0] == 0
        assert positions[-1] == length - grid.tile_px
        covered = set(itertools.chain.from_iterable(range(p, p + grid.tile_px) for p in positions))
        assert covered == set(range(length))


@settings(deadline=None)
@given(grids())
def test_positions_ascend_and_neighbours_share_at_least_the_overlap(grid: TileGrid) -> None:
    for _, positions in axes(grid):
        for before, after in itertools.pairwise(positions):
            assert before < after <= before + grid.tile_px - grid.overlap_px


@settings(deadline=None)
@given(grids())
def test_no_smaller_number_of_tiles_would_do(grid: TileGrid) -> None:
    for length, positions in axes(grid):
        assert len(positions) == max(1, math.ceil((length - grid.overlap_px) / (grid.tile_px - grid.overlap_px)))
        # One tile fewer, each at the minimum overlap, ends before the image does.
        fewer = len(positions) - 1
        assert fewer * grid.tile_px - (fewer - 1) * grid.overlap_px < length or fewer == 0


@settings(deadline=None)
@given(grids())
def test_tiles_are_spread_evenly(grid: TileGrid) -> None:
    for _, positions in axes(grid):
        steps = {after - before for before, after in itertools.pairwise(positions)}
        assert not steps or max(steps) - min(steps) <= 1


def test_boxes_go_row_by_row() -> None:
    grid = tile_grid(100, 150, 64, 16)
    assert list(grid.boxes()) == [(0, 0), (0, 43), (0, 86), (36, 0), (36, 43), (36, 86)]
    assert grid.num_tiles == 6


def test_an_image_of_exactly_one_tile_is_one_tile() -> None:
    assert list(tile_grid(64, 64, 64, 16).boxes()) == [(0, 0)]


@settings(deadline=None)
@given(LENGTHS, LENGTHS, st.integers(1, 96))
def test_padded_image_is_the_grid_it_is_cut_by(height: int, width: int, tile_px: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    grid = tile_grid(height, width, tile_px, 0)
    assert pad_to_tile(pixels, tile_px).shape == (grid.height, grid.width, 3)
    assert padded_size(height, width, tile_px) == (grid.height, grid.width)


def test_padding_mirrors_at_the_right_and_the_bottom_only() -> None:
    pixels = np.array([[1, 2], [3, 4]], np.uint8)
    assert pad_to_tile(pixels, 5).tolist() == [
        [1, 2, 2, 1, 1],
        [3, 4, 4, 3, 3],
        [3, 4, 4, 3, 3],
        [1, 2, 2, 1, 1],
        [1, 2, 2, 1, 1],
    ]


def test_a_single_pixel_becomes_a_flat_tile() -> None:
    assert (pad_to_tile(np.full((1, 1, 4), 9, np.uint8), 64) == np.full((64, 64, 4), 9)).all()


def test_an_image_with_room_for_a_tile_is_not_copied() -> None:
    pixels = np.zeros((64, 70, 3), np.uint8)
    assert pad_to_tile(pixels, 64) is pixels


@pytest.mark.parametrize(("height", "width", "overlap_px"), [(0, 5, 0), (5, 0, 0), (5, 5, 64), (5, 5, -1)])
def test_what_cannot_be_tiled_is_refused(height: int, width: int, overlap_px: int) -> None:
    with pytest.raises(SpecError):
        tile_grid(height, width, 64, overlap_px)


SIDES = tuple(range(16, 65, 8))


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([0, 8, 16, 32]))
def test_the_best_tile_runs_no_more_pixels_than_the_largest_and_covers_the_image(
    height: int, width: int, overlap_px: int
) -> None:
    grid, largest = best_tile(height, width, SIDES, overlap_px), tile_grid(height, width, 64, overlap_px)
    assert grid.num_tiles * grid.tile_px**2 <= largest.num_tiles * 64**2
    assert (grid.height, grid.width) == padded_size(height, width, grid.tile_px)
    assert grid.num_tiles == 1 or grid.overlap_px == overlap_px
    assert grid.padding_ratio(height, width) >= 1


@pytest.mark.parametrize(
    ("height", "width", "side", "num_tiles", "ratio"),
    [
        (40, 40, 40, 1, 1.0),  # a thumbnail does not pay for 64×64
        (33, 40, 40, 1, 40 / 33),
        (64, 64, 64, 1, 1.0),
        (96, 96, 56, 4, 1.0),  # 2 · 56 - 16: what neighbours must share is wanted
        (128, 128, 56, 9, (168 / 160) ** 2),
        (1, 1, 16, 1, 256),
    ],
)
def test_which_tile_an_image_is_cut_into(height: int, width: int, side: int, num_tiles: int, ratio: float) -> None:
    grid = best_tile(height, width, SIDES, 16)
    assert (grid.tile_px, grid.num_tiles) == (side, num_tiles)
    assert grid.padding_ratio(height, width) == pytest.approx(ratio)


def test_a_side_below_twice_the_overlap_is_for_single_tiles_only() -> None:
    assert best_tile(30, 30, (32, 64), 24).tile_px == 32
    assert best_tile(30, 60, (32, 64), 24).tile_px == 64
    assert best_tile(500, 30, (32,), 24).tile_px == 32  # there is no other


def test_padding_over_the_sample_photographs_is_within_15_percent() -> None:
    sizes = [(128, 128), (75, 112), (100, 150), (218, 250), (125, 185), (352, 352), (106, 160)]
    grids = [best_tile(*size, SIDES, 16) for size in sizes]
    run = [grid.num_tiles * grid.tile_px**2 for grid in grids]
    wanted = [px / grid.padding_ratio(*size) for px, grid, size in zip(run, grids, sizes, strict=True)]
    assert sum(run) / sum(wanted) <= 1.15
