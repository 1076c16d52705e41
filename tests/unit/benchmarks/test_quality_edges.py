"""Promises of the two figures of crispness."""

import pytest
import torch
from quality_edges import edge_contrast, grain
from torch import Tensor
from torch.nn import functional


@pytest.fixture(scope="module")
def original() -> Tensor:
    """Return 96 px of bars on a slope that is not quite flat, (3,96,96)."""
    picture = torch.linspace(0.3, 0.4, 96).expand(96, 96).clone()
    picture[:, 40:44] = 0.9
    picture[60:64] = 0.1
    return picture.expand(3, -1, -1).clone()


def blurred(picture: Tensor) -> Tensor:
    return functional.avg_pool2d(picture, 5, 1, 2, count_include_pad=False)


def test_the_original_itself_scores_one(original: Tensor) -> None:
    assert edge_contrast(original, original) == grain(original, original) == 1


def test_a_soft_edge_scores_less_and_an_overshooting_one_more(original: Tensor) -> None:
    soft = blurred(original)
    assert edge_contrast(soft, original) < 0.6
    assert edge_contrast(original + (original - soft) * 0.5, original) > 1.1


def test_an_edge_that_lies_a_pixel_beside_its_place_is_as_crisp(original: Tensor) -> None:
    assert edge_contrast(original.roll((1, 1), (1, 2)), original) == pytest.approx(1, abs=0.01)


def test_noise_where_the_original_is_flat_is_grain(original: Tensor) -> None:
    noise = 0.01 * torch.randn(96, 96, generator=torch.Generator().manual_seed(0))
    assert grain(original + noise, original) > 2
    assert edge_contrast(original + noise, original) == pytest.approx(1, abs=0.1)
