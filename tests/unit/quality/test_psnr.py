import pytest
import torch

from tss_ray.errors import EngineError
from tss_ray.imaging.resample import upsample
from tss_ray.quality.lr_consistency import lr_consistency_psnr
from tss_ray.quality.psnr import MAX_DB, luma, psnr, psnry


def test_an_error_of_a_tenth_everywhere_is_twenty_decibels() -> None:
    hr = torch.full((3, 8, 8), 0.5)
    assert psnr(hr + 0.1, hr) == pytest.approx(20, abs=1e-5)
    assert psnry(hr + 0.1, hr) == pytest.approx(20, abs=1e-5)


def test_identical_pictures_score_the_cap_and_not_infinity() -> None:
    hr = torch.rand((3, 8, 8), generator=torch.Generator().manual_seed(0))
    assert psnr(hr, hr) == psnry(hr, hr) == MAX_DB


def test_luma_weighs_green_most_and_white_is_one() -> None:
    red, green, blue, white = [*torch.eye(3).tolist(), [1.0, 1.0, 1.0]]
    values = [float(luma(torch.tensor(c)[:, None, None])) for c in (red, green, blue, white)]
    assert values == pytest.approx([0.299, 0.587, 0.114, 1.0])


def test_an_error_in_blue_alone_counts_less_in_luma() -> None:
    hr = torch.full((3, 8, 8), 0.5)
    sr = hr.clone()
    sr[2] += 0.1
    assert psnry(sr, hr) > psnr(sr, hr)


def test_pictures_of_different_sizes_are_refused() -> None:
    with pytest.raises(EngineError, match="crop or resample"):
        psnr(torch.zeros(3, 8, 8), torch.zeros(3, 8, 9))


def test_a_bicubic_enlargement_is_more_consistent_than_a_brightened_one() -> None:
    lr = torch.rand((3, 16, 16), generator=torch.Generator().manual_seed(1)) * 0.5 + 0.25
    enlarged = upsample(lr[None], 4)[0]
    faithful = lr_consistency_psnr(enlarged, lr, 4)
    assert faithful > 24
    assert lr_consistency_psnr(enlarged + 0.1, lr, 4) < 20 < faithful


def test_flat_pictures_are_perfectly_consistent() -> None:
    assert lr_consistency_psnr(torch.full((3, 64, 64), 0.5), torch.full((3, 16, 16), 0.5), 4) == MAX_DB


def test_consistency_refuses_the_output_of_another_input() -> None:
    with pytest.raises(EngineError, match="not 4 times"):
        lr_consistency_psnr(torch.zeros(3, 64, 60), torch.zeros(3, 16, 16), 4)
