from typing import Any

import numpy as np
import pytest
import torch

from tss_ray.imaging.resample import downsample
from tss_ray.training import degrade as module
from tss_ray.training.degrade import degrade
from tss_ray.training.recipe import DegradationMix

STILL = {"blur_share": 0.0, "resize_share": 0.0, "noise_share": 0.0, "jpeg_share": 0.0}
AT_LOW_RESOLUTION = STILL | {"resize_share": 1.0, "resize": (1.0, 1.0)}
EVEN = {"noise_share": 0.0, "jpeg_share": 0.0}
ONE_OFF = {
    "degraded_share": 1.0,
    "single_stage_share": 1.0,
    "blur_sigma_px": 0.0,
    "noise_share": 0.0,
    "jpeg_share": 0.0,
}


def _crops(num: int, height: int = 48, width: int = 48) -> torch.Tensor:
    return torch.rand((num, 3, height, width), generator=torch.Generator().manual_seed(0))


def _clean(hr: torch.Tensor) -> torch.Tensor:
    return (downsample(hr, 4).clamp(0, 1) * 255).round() / 255


def _two_stages(first: dict[str, Any], second: dict[str, Any], **others: Any) -> DegradationMix:
    """A mix of two-stage crops alone, without sinc unless told otherwise."""
    always = {"degraded_share": 1, "single_stage_share": 0, "sinc_share": 0}
    return DegradationMix.model_validate(always | others | {"first": first, "second": second})


def test_a_clean_crop_is_exactly_the_bicubic_reduction_on_the_8_bit_grid() -> None:
    hr = _crops(6)
    lr = degrade(hr, 4, DegradationMix(degraded_share=0), np.random.default_rng(0))
    assert torch.equal(lr, _clean(hr))


def test_the_clean_share_is_what_the_mix_leaves_over() -> None:
    hr = _crops(200)
    lr = degrade(hr, 4, DegradationMix(degraded_share=0.5), np.random.default_rng(3))
    clean = (lr == _clean(hr)).flatten(1).all(1).float().mean()
    assert 0.4 < clean < 0.6


def test_the_single_stage_share_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(module, "_two_stages", lambda hr, *_: taken.append(1) or torch.zeros(3, 12, 12))
    degrade(_crops(200), 4, DegradationMix(degraded_share=1, single_stage_share=0.75), np.random.default_rng(0))
    assert 35 < len(taken) < 65


def test_the_generator_alone_decides() -> None:
    hr, mix = _crops(8), DegradationMix(degraded_share=1)
    first, again, other = (degrade(hr, 4, mix, np.random.default_rng(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_mild_degradation_alone_changes_the_crops() -> None:
    hr = _crops(8)
    for on in ({"blur_sigma_px": 1.6}, {"noise_share": 1.0}, {"jpeg_share": 1.0}):
        lr = degrade(hr, 4, DegradationMix.model_validate(ONE_OFF | on), np.random.default_rng(0))
        assert (lr != _clean(hr)).flatten(1).any(1).sum() >= 6, on  # a few are drawn too mild to show
    assert torch.equal(degrade(hr, 4, DegradationMix.model_validate(ONE_OFF), np.random.default_rng(0)), _clean(hr))


@pytest.mark.parametrize("single_stage_share", [0, 1])
def test_the_output_stays_on_the_8_bit_grid_in_range(single_stage_share: float) -> None:
    mix = DegradationMix(degraded_share=1, single_stage_share=single_stage_share, noise_share=1)
    lr = degrade(_crops(16), 4, mix, np.random.default_rng(0)) * 255
    assert lr.min() >= 0
    assert lr.max() <= 255
    assert (lr - lr.round()).abs().max() < 1e-4


@pytest.mark.parametrize(("height", "width"), [(64, 96), (48, 32), (8, 12), (4, 4)])
def test_any_multiple_of_the_scale_is_reduced_by_it(height: int, width: int) -> None:
    for seed in range(4):
        lr = degrade(_crops(5, height, width), 4, DegradationMix(degraded_share=0.9), np.random.default_rng(seed))
        assert lr.shape == (5, 3, height // 4, width // 4)
        assert lr.isfinite().all()


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("single_stage_share", [0, 1])
def test_no_degradation_moves_an_edge(axis: int, single_stage_share: float) -> None:
    """The position of an edge between two greys is how much of each a line holds: blur and ringing leave it there."""
    mix = _two_stages(EVEN, EVEN, sinc_share=0.5, single_stage_share=single_stage_share, noise_share=0, jpeg_share=0)
    hr = torch.full((24, 3, 192, 192), 0.2)  # both greys are whole numbers of 255
    hr.narrow(axis, 101, 91).fill_(0.8)
    dark_px = 4 * ((0.8 - degrade(hr, 4, mix, np.random.default_rng(0))) / 0.6).sum(axis).mean((1, 2))
    assert (dark_px - 101).abs().max() < 0.5
    assert (dark_px - 101).mean().abs() < 0.1


def test_no_degradation_tilts_or_shifts_a_ramp() -> None:
    mix = _two_stages(EVEN, EVEN, sinc_share=0.5)
    ramp = torch.linspace(0.1, 0.9, 192).expand(16, 3, 192, 192).contiguous()
    slope_per_px = 4 * 0.8 / 191
    inside = slice(12, 36)
    difference = degrade(ramp, 4, mix, np.random.default_rng(1)) - _clean(ramp)
    shift_px = difference[..., inside, inside] / slope_per_px  # in px of the low resolution
    assert shift_px.mean((1, 2, 3)).abs().max() < 0.05
    assert shift_px.abs().max() < 0.5


@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_gaussian_noise_has_the_sigma_asked_for(grey: float) -> None:
    noisy = {"noise_share": 1.0, "noise_sigma": (0.05, 0.05), "poisson_share": 0.0, "grey_share": grey}
    flat = torch.full((4, 3, 256, 256), 0.5)
    noise = degrade(flat, 4, _two_stages(STILL, AT_LOW_RESOLUTION | noisy), np.random.default_rng(0)) - 0.5
    assert noise.std() == pytest.approx(0.05, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=0.002)
    alike = torch.equal(noise[:, 0], noise[:, 1])
    assert alike == (grey == 1)


def test_shot_noise_grows_with_the_root_of_the_light() -> None:
    noisy = {"noise_share": 1.0, "poisson_scale": (1.0, 1.0), "poisson_share": 1.0, "grey_share": 0.0}
    flat = torch.tensor([0.16, 0.64])[:, None, None, None].expand(2, 3, 256, 256)
    lr = degrade(flat, 4, _two_stages(STILL, AT_LOW_RESOLUTION | noisy), np.random.default_rng(0))
    for picture, light in zip(lr, (0.16, 0.64), strict=True):
        assert picture.std() == pytest.approx(light**0.5 / 16, rel=0.03)


def test_noise_of_the_first_stage_is_averaged_by_the_reduction() -> None:
    noisy = {"noise_share": 1.0, "noise_sigma": (0.08, 0.08), "poisson_share": 0.0, "grey_share": 0.0}
    flat = torch.full((1, 3, 256, 256), 0.5)
    lr = degrade(flat, 4, _two_stages(STILL | noisy, AT_LOW_RESOLUTION), np.random.default_rng(0))
    assert 0.01 < lr.std() < 0.04


@pytest.mark.parametrize("stage", ["first", "second"])
def test_jpeg_loses_more_at_a_lower_quality(stage: str) -> None:
    hr, errors = _crops(4, 128, 128), []
    for quality in (35, 95):
        compressed = {"jpeg_share": 1.0, "jpeg_quality": (quality, quality)}
        stages = {"first": STILL, "second": AT_LOW_RESOLUTION}
        stages[stage] = stages[stage] | compressed
        plain = degrade(hr, 4, _two_stages(STILL, AT_LOW_RESOLUTION), np.random.default_rng(0))
        errors.append((degrade(hr, 4, _two_stages(**stages), np.random.default_rng(0)) - plain).square().mean().sqrt())
    assert errors[0] > 1.2 * errors[1] > 0


def test_each_strong_degradation_alone_changes_every_crop() -> None:
    hr = _crops(4, 64, 64)
    first = {"jpeg_share": 1.0}, {"blur_share": 1.0, "blur_sigma_px": (2, 2)}, {"noise_share": 1.0}
    resized = {"resize_share": 1.0, "resize": (0.4, 0.7)}
    plain = _two_stages(STILL, AT_LOW_RESOLUTION)
    mixes = [_two_stages(STILL | on, AT_LOW_RESOLUTION) for on in (*first, resized)]
    mixes += [_two_stages(STILL, AT_LOW_RESOLUTION | on) for on in first]
    mixes += [_two_stages(STILL, AT_LOW_RESOLUTION, sinc_share=1, sinc_cutoff=(0.5, 0.5))]
    for mix in mixes:
        for seed, crop in enumerate(hr):
            lone = crop[None]
            changed, unchanged = (degrade(lone, 4, m, np.random.default_rng(seed)) for m in (mix, plain))
            assert not torch.equal(changed, unchanged), mix


class Spy:
    """Stands before a function of the module and keeps what it was called with and what it answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = []
        self._function = getattr(owner, name)
        monkeypatch.setattr(owner, name, self)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        answer = self._function(*arguments, **named)
        self.calls.append((arguments, named, answer))
        return answer


def test_the_default_ranges_are_kept_and_every_branch_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    mix = DegradationMix(degraded_share=1, single_stage_share=0)
    kernels, sincs, jpegs, noises, resizes, areas, interpolations = (
        Spy(monkeypatch, owner, name)
        for owner, name in (
            (module, "gaussian_kernels"),
            (module, "sinc_kernel"),
            (module, "_jpeg"),
            (module, "_noise"),
            (module, "_resize"),
            (module, "_coverage"),
            (module.functional, "interpolate"),
        )
    )
    degrade(_crops(150, 64, 64), 4, mix, np.random.default_rng(0))
    sigma = np.concatenate([call[0][0] for call in kernels.calls])
    beta = np.concatenate([call[0][2] for call in kernels.calls])
    assert mix.first.blur_sigma_px[0] <= sigma.min() < sigma.max() <= mix.first.blur_sigma_px[1]
    assert 0.3 < (sigma[:, 0] != sigma[:, 1]).mean() < 0.5
    assert 0.08 < (beta != 1).mean() < 0.25
    assert all(0.5 <= cutoff <= 1 for (cutoff, _), _, _ in sincs.calls)
    assert 40 < len(sincs.calls) < 80
    assert all(35 <= quality <= 95 for (_, quality), _, _ in jpegs.calls)
    compressed = [picture.shape[-1] for (picture, _), _, _ in jpegs.calls]
    assert len({side for side in compressed if side > 20}) > 10  # of the first stage
    assert {side for side in compressed if side < 20} > {16}  # of the second, before and after the last resize
    assert {call[2].shape[1] for call in noises.calls} == {1, 3}
    assert {call[1]["mode"] for call in interpolations.calls} == {"bilinear", "bicubic"}
    assert areas.calls
    enlarged = [(x.shape[-1], size[1]) for (x, size, _), _, _ in resizes.calls if size[1] > x.shape[-1]]
    assert enlarged
    assert all(9 <= size[1] <= 90 for (_, size, _), _, _ in resizes.calls)


def test_each_stage_compresses_once(monkeypatch: pytest.MonkeyPatch) -> None:
    jpegs = Spy(monkeypatch, module, "_jpeg")
    mix = _two_stages({"jpeg_share": 1}, {"jpeg_share": 1, "resize_share": 1, "resize": (1.2, 1.2)})
    degrade(_crops(20, 64, 64), 4, mix, np.random.default_rng(0))
    sides = [picture.shape[-1] for (picture, _), _, _ in jpegs.calls]
    assert len(sides) == 2 * 20
    assert {side == 16 for side in sides[1::2]} == {True, False}  # the second after the last resize, or before it


def test_a_stage_keeps_the_proportions(monkeypatch: pytest.MonkeyPatch) -> None:
    resizes = Spy(monkeypatch, module, "_resize")
    degrade(_crops(20, 64, 128), 4, _two_stages({}, {}), np.random.default_rng(0))
    assert all(abs(size[1] - 2 * size[0]) <= 1 for (_, size, _), _, _ in resizes.calls)


def test_area_resizing_counts_every_input_pixel_alike() -> None:
    weights = module._coverage(13, 5)
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    torch.testing.assert_close(weights.sum(0), torch.full((13,), 5 / 13))
    torch.testing.assert_close(module._coverage(12, 4), torch.eye(4).repeat_interleave(3, 1) / 3)
