"""Promises of the noise that belongs to a place."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.diffusion.noise import position_noise

OFFSETS = st.integers(0, 70)
SIDES = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(OFFSETS, OFFSETS, SIDES, SIDES, st.integers(0, 40), st.integers(0, 40))
def test_a_tile_sees_the_noise_that_a_larger_tile_sees_at_its_place(
    top: int, left: int, height: int, width: int, down: int, right: int
) -> None:
    larger = position_noise("k", 3, 1, top, left, 2, height + down, width + right)
    tile = position_noise("k", 3, 1, top + down, left + right, 2, height, width)
    assert torch.equal(tile, larger[:, down:, right:])


@pytest.mark.parametrize("other", [("b", 0, 0), ("a", 1, 0), ("a", 0, 1)])
def test_key_seed_and_draw_each_make_other_noise(other: tuple[str, int, int]) -> None:
    ours, theirs = (position_noise(*identity, 0, 0, 3, 32, 32).flatten() for identity in (("a", 0, 0), other))
    assert abs(torch.corrcoef(torch.stack([ours, theirs]))[0, 1]) < 0.1  # 0.018 is one sigma for 3072 draws


def test_neighbouring_cells_have_nothing_in_common() -> None:
    noise = position_noise("a", 0, 0, 0, 0, 4, 16, 32)
    assert abs(torch.corrcoef(noise.reshape(4, 16, 2, 16).permute(2, 0, 1, 3).reshape(2, -1))[0, 1]) < 0.12


def test_the_same_identity_is_the_same_noise_whatever_the_process_drew_before() -> None:
    first = position_noise("a/ü/照片.png", 2**63 - 1, 5, 7, 9, 3, 20, 20)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        torch.randn(1000)
        assert torch.equal(position_noise("a/ü/照片.png", 2**63 - 1, 5, 7, 9, 3, 20, 20), first)


def test_the_process_s_own_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    position_noise("a", 0, 0, 0, 0, 3, 20, 20)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_key_that_is_not_unicode_has_noise_too() -> None:
    assert position_noise("bad\udcff.png", 0, 0, 0, 0, 1, 4, 4).shape == (1, 4, 4)


def test_it_is_standard_normal() -> None:
    noise = position_noise("a", 0, 0, 0, 0, 48, 128, 128).double()  # 786 432 draws: one sigma of the mean is 0.0011
    assert noise.mean().abs() < 0.006
    assert (noise.std() - 1).abs() < 0.005
    assert ((noise**4).mean() - 3).abs() < 0.06
    assert position_noise("a", 0, 0, 0, 0, 1, 2, 2).dtype == torch.float32
