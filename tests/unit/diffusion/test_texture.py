"""Promises of the texture score: it follows texture, and noise does not buy steps."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tss_ray.diffusion import texture
from tss_ray.diffusion.texture import REFERENCE_STD, luma, noise_sigma, texture_map, texture_score
from tss_ray.spec import BudgetSpec
from tss_ray.storage.sample_photos import reduced_png


def score(y: Tensor) -> float:
    return texture_score(texture_map(y, noise_sigma(y)))


def white(shape: tuple[int, ...], sigma: float, seed: int = 0) -> Tensor:
    return sigma * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def photo(name: str) -> Tensor:
    with Image.open(io.BytesIO(reduced_png(name))) as image:
        rgb = torch.from_numpy(np.array(image.convert("RGB")))
    return luma(rgb.permute(2, 0, 1)[None].float() / 255)


def waves(contrast: float, side: int = 96) -> Tensor:
    x = torch.arange(side)
    return (0.5 + contrast * torch.sin(x / 2)[None, :] * torch.cos(x / 3)[:, None])[None, None]


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_flat_image_scores_nothing(level: float) -> None:
    y = torch.full((1, 1, 64, 64), level)
    assert noise_sigma(y) == 0
    assert score(y) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("side", [128, 200])
@pytest.mark.parametrize("sigma", [0.01, 0.02, 0.03, 0.05, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_white_noise_on_a_flat_image_buys_no_step(sigma: float, side: int, seed: int) -> None:
    assert score(0.5 + white((1, 1, side, side), sigma, seed)) < 0.02 < min(BudgetSpec().thresholds)


@pytest.mark.parametrize("sigma", [0.01, 0.02, 0.03, 0.05])
@pytest.mark.parametrize("seed", range(3))
def test_white_noise_on_a_small_flat_image_buys_no_step(sigma: float, seed: int) -> None:
    y = 0.5 + white((1, 1, 40, 40), sigma, seed)  # the estimate itself strays: 64 blocks, overlapping
    assert score(y) < 0.05 < min(BudgetSpec().thresholds)


def test_noise_is_cut_off_after_smoothing_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    y = 0.5 + white((1, 1, 128, 128), 0.05)
    smoothed = score(y)
    monkeypatch.setattr(texture, "_smooth", lambda x: x)
    assert smoothed < score(y) / 2


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "motorcycle_left"])
def test_noise_on_a_textured_image_changes_its_score_little(name: str) -> None:
    y = photo(name)
    assert score(y + white(tuple(y.shape), 0.03)) == pytest.approx(score(y), abs=0.05)


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_the_noise_of_a_flat_image_is_estimated_within_10_percent(sigma: float, seed: int) -> None:
    assert noise_sigma(0.5 + white((1, 1, 160, 160), sigma, seed)) == pytest.approx(sigma, rel=0.1)


def test_noise_is_not_seen_where_there_are_only_slopes() -> None:
    ramp = torch.linspace(0, 1, 96).expand(1, 1, 96, 96)
    assert noise_sigma(ramp) < 1e-6


def test_the_score_grows_with_contrast() -> None:
    scores = [score(waves(c)) for c in (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)]
    assert scores == sorted(scores)
    assert scores[-1] > 0.8
    assert len(set(scores)) == len(scores)


def test_a_local_std_of_the_reference_scores_one_half() -> None:
    checks = (torch.arange(70)[:, None] + torch.arange(70)[None, :]) % 2
    v = texture_map(0.5 + REFERENCE_STD * (2.0 * checks[None, None] - 1), 0.0)
    assert v[..., 10:-10, 10:-10].mean().item() == pytest.approx(0.5, abs=0.005)


def test_the_map_is_within_0_and_1_and_knows_where_the_texture_is() -> None:
    y = torch.full((1, 1, 64, 128), 0.5)
    y[..., 64:] = waves(0.3, 64)
    v = texture_map(y, noise_sigma(y))
    assert v.shape == y.shape
    assert 0 <= v.min() <= v.max() <= 1
    assert v[..., 76:].mean() > 0.6
    assert v[..., :50].mean() < 1e-6  # beyond the reach of window and smoothing


def test_small_variances_survive_on_a_bright_flat_image() -> None:
    assert score(0.98 + white((1, 1, 64, 64), 0.0)) == pytest.approx(0, abs=1e-6)
    faint = 0.98 + 0.002 * (2.0 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2)[None, None] - 1)
    expected = 0.002**2 / (0.002**2 + REFERENCE_STD**2)
    assert texture_score(texture_map(faint, 0.0)) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("height", range(1, 9))
@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 200])
def test_tiny_images_have_a_score(height: int, width: int) -> None:
    y = torch.rand((1, 1, height, width), generator=torch.Generator().manual_seed(0))
    assert noise_sigma(y) == 0
    assert texture_map(y, 0.0).shape == y.shape
    assert 0 <= score(y) <= 1


def test_luma_weighs_the_channels_and_keeps_the_range() -> None:
    assert luma(torch.ones(2, 3, 4, 4)).shape == (2, 1, 4, 4)
    assert torch.allclose(luma(torch.ones(1, 3, 2, 2)), torch.ones(1, 1, 2, 2))
    green = torch.tensor([0.0, 1.0, 0.0])[None, :, None, None]
    assert luma(green).item() == pytest.approx(0.587)


@pytest.mark.parametrize("turn", [lambda x: x.mT, lambda x: x.flip(-1), lambda x: x.flip(-2)])
def test_a_turned_image_has_the_turned_map(turn: Callable[[Tensor], Tensor]) -> None:
    y = photo("coffee")
    assert torch.allclose(texture_map(turn(y).contiguous(), 0.01), turn(texture_map(y, 0.01)), atol=1e-4)
