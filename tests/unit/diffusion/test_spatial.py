"""Promises of the levels: what a position gets depends on its place in the image alone."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tss_ray.diffusion.spatial import level_map, level_parameters, look_up, resample_levels

LEVELS = st.integers(1, 256)


def some_v(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand((1, 1, height, width), generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 20), st.integers(1, 20), LEVELS, st.integers(0, 9))
def test_a_level_map_is_v_to_within_half_a_level(height: int, width: int, num_levels: int, seed: int) -> None:
    v = some_v(height, width, seed)
    levels = level_map(v, num_levels)
    assert (levels.shape, levels.dtype) == ((height, width), np.uint8)
    assert levels.max() < num_levels
    if num_levels > 1:
        assert np.abs(levels / (num_levels - 1) - v[0, 0].numpy()).max() <= 0.5 / (num_levels - 1) + 1e-6


def test_the_ends_of_v_are_the_first_and_the_last_level() -> None:
    assert level_map(torch.tensor([[[[0.0, 1.0]]]]), 8).tolist() == [[0, 7]]
    assert level_map(torch.tensor([[[[0.0, 1.0]]]]), 256).tolist() == [[0, 255]]


@settings(deadline=None)
@given(LEVELS, st.floats(0.01, 8), st.floats(0.01, 8))
def test_parameters_run_evenly_from_one_end_to_the_other(num_levels: int, first: float, last: float) -> None:
    values = level_parameters(num_levels, (first, last))
    assert len(values) == num_levels
    if num_levels > 1:
        assert (values[0], values[-1]) == (first, pytest.approx(last))
        steps = [b - a for a, b in itertools.pairwise(values)]
        assert steps == pytest.approx([(last - first) / (num_levels - 1)] * (num_levels - 1), abs=1e-9)
    else:
        assert values == ((first + last) / 2,)


@given(LEVELS, st.floats(0.01, 8))
def test_a_range_that_is_a_point_is_that_point_to_the_bit(num_levels: int, value: float) -> None:
    assert set(level_parameters(num_levels, (value, value))) == {value}


@pytest.mark.parametrize("size", [(6, 10), (3, 5), (12, 20), (1, 1), (4, 7)])
def test_a_constant_map_is_that_constant_at_any_resolution(size: tuple[int, int]) -> None:
    for level in (0, 3, 255):
        assert torch.equal(
            resample_levels(torch.full((2, 6, 10), level), *size), torch.full((2, *size), level, dtype=torch.long)
        )


def test_a_coarser_map_is_the_rounded_mean_and_a_finer_one_repeats() -> None:
    levels = torch.tensor([[[0, 2, 7, 7], [0, 3, 7, 6]]])
    assert resample_levels(levels, 1, 2).tolist() == [[[1, 7]]]
    assert resample_levels(levels, 2, 4) is levels
    assert torch.equal(resample_levels(levels, 4, 8), levels.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_a_position_finds_the_row_of_its_own_sample_and_level() -> None:
    tables = torch.arange(2 * 3 * 4).reshape(2, 3, 4).float()
    levels = torch.tensor([[[0, 2]], [[1, 0]]])
    found = look_up(tables, levels)
    assert found.shape == (2, 1, 2, 4)
    for b, x in itertools.product(range(2), range(2)):
        assert torch.equal(found[b, 0, x], tables[b, levels[b, 0, x]])
