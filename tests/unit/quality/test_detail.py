"""Promises of the detail score: it wants the detail that a photograph has, not more, and none on flat ground."""

import pytest
import torch
from torch import Tensor

from tss_ray.errors import EngineError
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.resample import downsample, upsample
from tss_ray.quality.detail import NOISE_GAINS, detail_score, octave_energies
from tss_ray.quality.ssim import ssim
from tss_ray.storage.sample_photos import reference


def photo(name: str = "chelsea", side: int = 192) -> Tensor:
    import numpy as np

    return to_planes(np.array(reference(name).crop((100, 60, 100 + side, 60 + side))))


def reduced(hr: Tensor) -> Tensor:
    return downsample(hr[None], 4)[0].clamp(0, 1)


def bicubic(lr: Tensor) -> Tensor:
    return upsample(lr[None], 4)[0].clamp(0, 1)


@pytest.mark.parametrize("name", ["chelsea", "astronaut", "motorcycle_left"])
def test_the_original_scores_above_its_bicubic_enlargement(name: str) -> None:
    hr = photo(name)
    lr = reduced(hr)
    assert detail_score(hr, lr).score > detail_score(bicubic(lr), lr).score + 0.05


def test_flat_ground_asks_for_no_detail_and_grain_there_costs() -> None:
    lr = torch.full((3, 40, 40), 0.4)
    assert detail_score(bicubic(lr), lr).score == pytest.approx(1, abs=0.01)
    grain = bicubic(lr) + 0.05 * torch.randn(3, 160, 160, generator=torch.Generator().manual_seed(0))
    assert detail_score(grain.clamp(0, 1), lr).score < 0.6 * detail_score(bicubic(lr), lr).score


def test_more_than_a_photograph_has_scores_less() -> None:
    hr = photo()
    lr = reduced(hr)
    loud = (bicubic(lr) + 4 * (hr - bicubic(lr))).clamp(0, 1)
    assert detail_score(loud, lr).detail < detail_score(hr, lr).detail


def test_what_strays_from_the_input_scores_less() -> None:
    hr = photo()
    lr = reduced(hr)
    shifted = (hr * 0.8 + 0.05).clamp(0, 1)
    assert detail_score(shifted, lr).consistency < 0.7 < 0.95 < detail_score(hr, lr).consistency


def test_noise_of_the_input_asks_for_no_detail() -> None:
    noise = 0.03 * torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(1))
    first, second = octave_energies(0.5 + noise, 0.0)
    assert first.mean() / 0.03**2 == pytest.approx(NOISE_GAINS[0], rel=0.05)
    assert second.mean() / 0.03**2 == pytest.approx(NOISE_GAINS[1], rel=0.15)
    assert octave_energies(0.5 + noise, 0.03)[0].mean() < 0.2 * first.mean()


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (17, 30)])
def test_every_size_has_a_score(size: tuple[int, int]) -> None:
    lr = torch.rand(3, *size, generator=torch.Generator().manual_seed(2))
    assert 0 <= detail_score(bicubic(lr), lr).score <= 1


def test_an_output_of_another_input_is_refused() -> None:
    with pytest.raises(EngineError, match="need the output of this very input"):
        detail_score(torch.zeros(3, 8, 8), torch.zeros(3, 4, 4))


def test_ssim_is_that_of_the_paper() -> None:
    hr = photo()
    assert ssim(hr, hr) == pytest.approx(1)
    assert 0.5 < ssim(bicubic(reduced(hr)), hr) < 0.95
    assert ssim(hr[:, :4, :4], hr[:, :4, :4]) == pytest.approx(1)
