from pathlib import Path

import numpy as np
import pytest
import torch
from band_snr import BANDS
from quality_crops import Crop
from tss_measure import Bench, crop_key
from tss_trajectory import BandRow, PatchCurve, by_texture, estimates, patch_curves, watch

from tss_ray.diffusion.timesteps import make_plan
from tss_ray.engine.state import ImageRequest
from tss_ray.quality.psnr import luma

_HIGH = BANDS.index("high")


@pytest.fixture
def crop() -> Crop:
    rng = np.random.RandomState(0)
    lr = rng.randint(110, 146, (64, 64, 3)).astype(np.uint8)  # so that no output is cut to the range
    hr = lr.repeat(4, 0).repeat(4, 1)
    return Crop("sample", "clean", "river", 0, 0, 0.5, hr, lr)


def _curve(*snr: float, photo: str = "river", texture: float = 0.1) -> PatchCurve:
    """A high band that takes these values at evenly spaced times from 1 on; the other bands stay."""
    times = np.linspace(1, 0.1, len(snr))
    levels = np.zeros((len(snr), len(BANDS)))
    levels[:, _HIGH] = snr
    return PatchCurve(photo, texture, times, levels)


def test_the_last_estimate_is_the_engine_s_output(tiny_model_folder: Path, crop: Crop) -> None:
    bench = Bench(str(tiny_model_folder), use_gpu=False)
    plan = make_plan(50, 4, "uniform")
    seen = estimates(bench.model, bench.device, crop, crop_key(crop), plan)
    ((pixels, _),) = bench.enlarge([ImageRequest(crop_key(crop), crop.lr, plan, 0.0, 0)])
    output = luma(torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255)[0].numpy()
    assert seen.shape == (4, 256, 256)
    assert np.abs(seen[-1] - output).max() < 1 / 255
    assert np.abs(seen[0] - output).max() > 5 / 255


def test_every_patch_is_watched_at_every_step_but_the_last(crop: Crop) -> None:
    seen = np.random.RandomState(1).normal(0.5, 0.1, (5, 256, 256)).astype(np.float32)
    rows = watch(crop, seen, (49, 39, 29, 19, 9), 50)
    assert len(rows) == 4 * 4
    assert [row.time for row in rows[:4]] == [1.0, 0.8, 0.6, 0.4]
    assert {row.patch for row in rows} == {0, 1, 2, 3}


def test_what_nears_its_end_gains_in_every_band(crop: Crop) -> None:
    rng = np.random.RandomState(2)
    end, noise = rng.normal(0.5, 0.1, (256, 256)), rng.normal(0, 0.1, (256, 256))
    seen = np.stack([end + share * noise for share in (1, 0.5, 0.25, 0)]).astype(np.float32)
    curves = patch_curves(watch(crop, seen, (49, 36, 24, 12), 50))
    assert len(curves) == 4
    for curve in curves:
        assert np.diff(curve.snr, axis=0) == pytest.approx(np.full((2, 3), 20 * np.log10(2)), abs=1e-3)


def test_a_patch_that_never_changes_says_nothing() -> None:
    rows = [BandRow("sample", "river", 0, 0, 0, 0.1, step, 1 - step / 4, 100.0, 5.0, 5.0) for step in range(3)]
    assert patch_curves(rows) == []


def test_a_rate_is_decibels_per_tenth_of_the_timesteps() -> None:
    curve = _curve(0, 3, 6, 9, 5, 1, -3, 2, 7, 12)
    assert curve.rate("early", _HIGH) == pytest.approx(3)
    assert curve.rate("middle", _HIGH) == pytest.approx(-4)
    assert curve.rate("late", _HIGH) == pytest.approx(5)
    assert curve.rate("late", 0) == 0


def test_half_way_is_the_first_time_that_half_of_the_decibels_are_there() -> None:
    early, late = _curve(0, 10, 10, 10, 10, 10, 10, 10, 10, 12), _curve(0, 0, 0, 0, 0, 0, 0, 0, 0, 12)
    assert early.half_way(_HIGH) == pytest.approx(0.9)
    assert late.half_way(_HIGH) == pytest.approx(0.1)


def test_concentration_is_the_share_of_gains_outside_the_middle() -> None:
    assert _curve(0, 1, 1, 1, 1, 1, 1, 1, 1, 4).concentration(_HIGH) == 1
    assert _curve(0, 0, 0, 0, 0, 5, 5, 5, 5, 5).concentration(_HIGH) == 0
    assert _curve(0, 2, 2, 2, 2, 8, 8, 8, 8, 8).concentration(_HIGH) == pytest.approx(0.25)
    assert _curve(*[1] * 10).concentration(_HIGH) == 0


def test_classes_of_texture_are_thirds() -> None:
    curves = [_curve(0, 1, texture=texture) for texture in (0.3, 0.1, 0.2, 0.5, 0.4, 0.6)]
    found = {name: [curve.texture for curve in group] for name, group in by_texture(curves).items()}
    assert found == {"smooth": [0.1, 0.2], "middle": [0.3, 0.4], "textured": [0.5, 0.6]}
