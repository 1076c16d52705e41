import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.diffusion.prediction import v_target
from tss_ray.diffusion.timesteps import make_plan
from tss_ray.errors import SpecError, TrainingError
from tss_ray.imaging.resample import downsample, upsample
from tss_ray.models.residual_unet import residual_latent
from tss_ray.quality.metrics import metric
from tss_ray.quality.psnr import psnry
from tss_ray.training import photos as photo_list
from tss_ray.training import validation as module
from tss_ray.training.recipe import Recipe
from tss_ray.training.validation import Predict, ValidationRow, Validator, append_rows, as_table

TABLE = cosine_alphas_cumprod(1000)
MakeValidator = Callable[..., Validator]


@pytest.fixture
def make(tiny: Recipe, photo_files: list[Path], monkeypatch: pytest.MonkeyPatch) -> MakeValidator:
    """Make a validator of 96 px crops, without pyiqa."""
    monkeypatch.setattr(module, "metric", lambda _: None)

    def made(prediction_type: str = "x0", photos: list[Path] | None = None, **validation: object) -> Validator:
        settings = {"crop_px": 96, "steps": (1, 4)} | validation
        content = tiny.model_dump() | {"prediction_type": prediction_type, "validation": settings}
        return Validator(Recipe.model_validate(content), photo_files if photos is None else photos)

    return made


def _nothing(x: torch.Tensor, lr: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x)


def _truth(validator: Validator, prediction_type: str) -> Predict:
    """The prediction of a network that knows the originals."""
    z0 = residual_latent(validator.hr * 2 - 1, validator.lr * 2 - 1, 4, 0.1)

    def predict(x: torch.Tensor, lr: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        a = TABLE[timesteps].float()[:, None, None, None]
        eps = (x - a.sqrt() * z0) / (1 - a).sqrt()
        return z0 if prediction_type == "x0" else v_target(z0, eps, a)

    return predict


def test_a_network_that_adds_nothing_scores_what_bicubic_scores(make: MakeValidator) -> None:
    validator = make()
    bicubic, *rows = validator.measure(_nothing, TABLE, "cpu")
    assert [row.num_steps for row in (bicubic, *rows)] == [0, 1, 4]
    for row in rows:
        assert row == replace(bicubic, num_steps=row.num_steps)
    enlarged = upsample(validator.lr, 4).clamp(0, 1)
    each = [psnry((a * 255).round() / 255, b) for a, b in zip(enlarged, validator.hr, strict=True)]
    assert bicubic.psnry == pytest.approx(sum(each) / 2, abs=1e-3)
    assert bicubic.psnry_gain == 0


@pytest.mark.parametrize("prediction_type", ["x0", "v"])
def test_a_network_that_knows_the_original_scores_the_highest_there_is(
    make: MakeValidator, prediction_type: str
) -> None:
    validator = make(prediction_type)
    bicubic, *rows = validator.measure(_truth(validator, prediction_type), TABLE, "cpu")
    for row in rows:
        assert row.psnry == 100
        assert row.psnry_gain == 100 - bicubic.psnry > 50
        assert row.lr_consistency_psnr > bicubic.lr_consistency_psnr


def test_every_number_of_steps_starts_from_the_same_noise_and_visits_the_tds_plan(make: MakeValidator) -> None:
    validator = make(steps=(2, 5))
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def predict(x: torch.Tensor, lr: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        seen.append((x, lr, timesteps))
        return torch.zeros_like(x)

    validator.measure(predict, TABLE, "cpu")
    assert [t.tolist() for _, _, t in seen] == [[t, t] for num in (2, 5) for t in make_plan(1000, num, "tds")]
    assert torch.equal(seen[0][0], seen[2][0])
    assert seen[0][0].shape == (2, 48, 24, 24)
    assert seen[0][0].std() == pytest.approx(1, abs=0.05)
    assert not torch.equal(seen[0][0][0], seen[0][0][1])
    assert torch.equal(seen[0][1], validator.lr * 2 - 1)


def test_measuring_is_repeatable_and_draws_nobody_elses_random_numbers(make: MakeValidator) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again = (make().measure(lambda x, lr, t: x / 10, TABLE, "cpu") for _ in range(2))
    assert first == again
    assert first[1].psnry != first[0].psnry
    assert torch.equal(torch.rand(3), expected)


def test_the_pairs_are_the_most_textured_windows_and_their_bicubic_reduction(
    make: MakeValidator, photo_files: list[Path]
) -> None:
    validator = make()
    halves = np.asarray(Image.open(photo_files[1]).reduce(2))  # flat to the left, noise to the right
    windows = [halves[top : top + 96, 32:128].transpose(2, 0, 1) for top in (0, 16, 32)]
    crop = (validator.hr[1] * 255).round().byte().numpy()
    assert any(np.array_equal(crop, window) for window in windows)
    assert torch.equal(validator.lr, (downsample(validator.hr, 4).clamp(0, 1) * 255).round() / 255)


def test_photographs_of_many_megapixels_are_reduced_by_three(
    make: MakeValidator, photo_files: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Image.open(photo_files[0]) as photo:
        photo.resize((288, 288)).save(tmp_path / "large.png")
    monkeypatch.setattr(photo_list, "_LARGE_PX", 288 * 288 - 1)
    with Image.open(tmp_path / "large.png") as photo:
        third = torch.from_numpy(np.asarray(photo.reduce(3)).copy()).permute(2, 0, 1) / 255
    assert torch.equal(make(photos=[tmp_path / "large.png"]).hr[0], third)


def test_no_more_crops_are_taken_than_asked_for(make: MakeValidator) -> None:
    assert len(make(num_crops=1).hr) == 1


def test_a_small_photograph_is_left_out_by_name(
    make: MakeValidator, photo_files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.new("RGB", (190, 400)).save(tmp_path / "narrow.png")
    with caplog.at_level(logging.WARNING):
        assert len(make(photos=[*photo_files, tmp_path / "narrow.png"]).hr) == 2
    assert "narrow.png is left out" in caplog.text
    with pytest.raises(TrainingError, match=r"none of 1 photographs.*set validation\.every to 0"):
        make(photos=[tmp_path / "narrow.png"])


def test_what_cannot_be_measured_is_refused_at_the_start(make: MakeValidator, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(TrainingError, match=r"broken\.jpg is no photograph"):
        make(photos=[tmp_path / "broken.jpg"])
    with pytest.raises(TrainingError, match=r"crop_px=100: need a multiple of 8.*correct validation\.crop_px"):
        make(crop_px=100)
    with pytest.raises(SpecError, match="num_steps=2000"):
        make(steps=(2000,))


def test_the_grid_shows_each_crop_from_bicubic_to_the_original(make: MakeValidator, tmp_path: Path) -> None:
    validator = make()
    validator.measure(_truth(validator, "x0"), TABLE, "cpu")
    validator.grid(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (2 * 96, 4 * 96, 3)
    below = pixels[96:].transpose(2, 0, 1)  # the labels stand in the first line
    bicubic, one, four, original = np.split(below, 4, axis=2)
    hr = (validator.hr[1] * 255).round().byte().numpy()
    for equal in (one, four, original):
        np.testing.assert_array_equal(equal, hr)
    assert np.abs(bicubic.astype(int) - hr).mean() > 5
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_ssim_and_niqe_are_asked_of_pyiqa(make: MakeValidator, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyiqa")
    monkeypatch.setattr(module, "metric", lambda name: metric("ssim") if name == "ssim" else _Falling())
    validator = make()
    bicubic, *rows = validator.measure(_truth(validator, "x0"), TABLE, "cpu")
    assert bicubic.ssim is not None
    assert bicubic.ssim < 0.9
    assert [row.ssim for row in rows] == [pytest.approx(1, abs=1e-4)] * 2
    assert bicubic.niqe == -0.5  # the mean of 0 and -1
    assert [row.niqe for row in rows] == [-2.5, None]


class _Falling:
    """Stands in for niqe: 0, -1, -2, ... and no number from the fifth picture on."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, picture: torch.Tensor, reference: torch.Tensor) -> float:
        self.calls += 1
        return 1.0 - self.calls if self.calls < 5 else float("nan")


ROWS = [ValidationRow(0, 25.0, 0.0, 0.7, 8.0, 39.0), ValidationRow(4, 25.25, 0.25, None, None, 40.123456)]


def test_rows_are_appended_as_json_lines(tmp_path: Path) -> None:
    append_rows(tmp_path / "validation.jsonl", 100, ROWS)
    append_rows(tmp_path / "validation.jsonl", 200, ROWS[1:])
    lines = [json.loads(line) for line in (tmp_path / "validation.jsonl").read_text().splitlines()]
    assert [(line["iteration"], line["num_steps"]) for line in lines] == [(100, 0), (100, 4), (200, 4)]
    assert lines[1]["ssim"] is None
    assert lines[1]["lr_consistency_psnr"] == 40.1235
    assert [path.name for path in tmp_path.iterdir()] == ["validation.jsonl"]


def test_what_a_resumed_run_measures_again_replaces_what_stood_there(tmp_path: Path) -> None:
    for iteration in (100, 200, 300, 200):
        append_rows(tmp_path / "validation.jsonl", iteration, ROWS[:1])
    lines = [json.loads(line) for line in (tmp_path / "validation.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [100, 200]


def test_the_table_shows_every_figure_and_a_dash_for_what_is_missing() -> None:
    text = as_table(100, ROWS)
    assert "validation at iteration 100" in text
    bicubic, four = (next(line for line in text.splitlines() if word in line) for word in ("bicubic", " 4 "))
    for figure in ("25.000", "0.700", "8.000", "39.000"):
        assert figure in bicubic
    assert four.count("–") == 2
    assert "0.250" in four
