import numpy as np
import torch

from tss_ray.imaging.resample import downsample
from tss_ray.training.degrade import degrade
from tss_ray.training.recipe import DegradationMix


def _crops(num: int) -> torch.Tensor:
    return torch.rand((num, 3, 48, 48), generator=torch.Generator().manual_seed(0))


def _clean(hr: torch.Tensor) -> torch.Tensor:
    return (downsample(hr, 4).clamp(0, 1) * 255).round() / 255


def test_a_clean_crop_is_exactly_the_bicubic_reduction_on_the_8_bit_grid() -> None:
    hr = _crops(6)
    lr = degrade(hr, 4, DegradationMix(degraded_share=0), np.random.default_rng(0))
    assert torch.equal(lr, _clean(hr))


def test_the_clean_share_is_what_the_mix_leaves_over() -> None:
    hr = _crops(200)
    lr = degrade(hr, 4, DegradationMix(degraded_share=0.5), np.random.default_rng(3))
    clean = (lr == _clean(hr)).flatten(1).all(1).float().mean()
    assert 0.4 < clean < 0.6


def test_the_generator_alone_decides() -> None:
    hr, mix = _crops(8), DegradationMix(degraded_share=1)
    first, again, other = (degrade(hr, 4, mix, np.random.default_rng(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_degradation_alone_changes_every_crop() -> None:
    hr = _crops(4)
    off = {"degraded_share": 1.0, "blur_sigma_px": 0.0, "noise_share": 0.0, "jpeg_share": 0.0}
    for on in ({"blur_sigma_px": 1.6}, {"noise_share": 1.0}, {"jpeg_share": 1.0}):
        lr = degrade(hr, 4, DegradationMix.model_validate(off | on), np.random.default_rng(0))
        assert not (lr == _clean(hr)).flatten(1).all(1).any(), on
    assert torch.equal(degrade(hr, 4, DegradationMix.model_validate(off), np.random.default_rng(0)), _clean(hr))


def test_the_output_stays_on_the_8_bit_grid_in_range() -> None:
    lr = degrade(_crops(8), 4, DegradationMix(degraded_share=1, noise_share=1), np.random.default_rng(0)) * 255
    assert lr.min() >= 0
    assert lr.max() <= 255
    assert (lr - lr.round()).abs().max() < 1e-4
