"""A gain changes what the input has not, and leaves what it has."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tss_ray.engine.compose import Composition
from tss_ray.engine.detail import amplified
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.imaging.resample import downsample, upsample

GAINS = (0.0, 0.5, 1.7, 3.0)


@pytest.mark.parametrize("gain", GAINS)
def test_a_slope_that_the_input_shows_too_stays(gain: float) -> None:
    slope = torch.linspace(-1, 1, 64).expand(3, 64, 64)
    assert (amplified(slope, gain, 4) - slope)[..., 20:-20].abs().max() < 1e-5


@pytest.mark.parametrize("gain", GAINS)
def test_a_pattern_finer_than_the_input_is_multiplied(gain: float) -> None:
    pattern = torch.where((torch.arange(64)[:, None] + torch.arange(64)) % 2 == 0, 0.2, -0.2).expand(3, 64, 64)
    assert (amplified(pattern, gain, 4) - gain * pattern).abs().max() < 0.01


def test_without_a_gain_the_tile_itself_comes_back() -> None:
    tile = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert amplified(tile, 1.0, 4) is tile


def test_an_image_with_a_gain_is_another_that_agrees_with_its_input_as_well(
    make_request: Callable[..., ImageRequest], run_all: Callable[..., dict[str, DenoisedImage]]
) -> None:
    """Seams of tiles included. Multiplying all that is added would show in the input's size, 2.5 times as much."""
    plain, crisp = (
        Composition(run_all([replace(make_request("a", 30, 41, 3), detail_gain=gain)])["a"], 4) for gain in (1.0, 2.0)
    )
    enlarged = upsample(plain.lr[None], 4)[0]
    before, after = (composition.rows(0, composition.height) for composition in (plain, crisp))
    more = after - before
    assert more.std() > 0.5 * (before - enlarged).std()
    seen, overdone = (downsample(each[None], 4).square().mean().sqrt() for each in (more, before - enlarged))
    assert seen < 0.4 * overdone
