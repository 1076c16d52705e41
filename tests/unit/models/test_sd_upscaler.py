"""Promises of the Stable Diffusion upscaler: what `diffusers` makes of a folder is what we make of it."""

import gc
import shutil
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import as_published, upscaled, write_sd_upscaler
from diffusers import StableDiffusionUpscalePipeline
from transformers import CLIPTextModel

from tss_ray.diffusion.noise import position_noise
from tss_ray.errors import ModelError, SpecError
from tss_ray.models.base import LoadSettings, SuperResolutionModel
from tss_ray.models.registry import check_model, load_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd_upscaler(tmp_path_factory.mktemp("pristine") / "sd")


def load(folder: Path, **settings: Any) -> SuperResolutionModel:
    return load_model(str(folder), CPU, torch.float32, settings=LoadSettings(**settings))


@pytest.mark.parametrize(
    ("schedule", "settings"),
    [
        ({}, {}),
        ({"prediction_type": "epsilon"}, {"noise_level": 5}),
        ({}, {"prompt": "cat", "guidance_scale": 4.0, "negative_prompt": "dog"}),
        ({}, {"prompt": "a cat"}),
        (None, {"noise_level": 35}),
    ],
)
def test_our_engine_equals_the_pipeline_at_the_scheduler_s_own_timesteps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: dict[str, Any] | None, settings: dict[str, Any]
) -> None:
    """None: the published scheduler configurations."""
    folder = write_sd_upscaler(tmp_path / "sd", **(schedule or {}))
    if schedule is None:
        as_published(folder, "sd_upscaler")
    pipeline = StableDiffusionUpscalePipeline.from_pretrained(folder, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    draws = iter([position_noise("a", 3, -1, 0, 0, 3, 16, 16)[None], position_noise("a", 3, 0, 0, 0, 4, 16, 16)[None]])
    monkeypatch.setattr(
        "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_upscale.randn_tensor",
        lambda *_, **__: next(draws),
    )
    told = {"prompt": "", "guidance_scale": 1.0, "noise_level": 20} | settings
    lr = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    expected = pipeline(image=lr, num_inference_steps=5, output_type="pt", **told).images[0]
    plan = tuple(int(t) for t in pipeline.scheduler.timesteps)

    found = upscaled(load(folder, **settings), pixels, plan)
    assert torch.allclose(found, expected, atol=1e-4)
    assert expected.std() > 0.01


def test_the_card_follows_from_the_folder(pristine: Path) -> None:
    card = check_model(str(pristine))
    assert (card.family, card.scale, card.num_timesteps, card.prediction_type) == ("sd_upscaler", 4, 50, "v")
    assert (card.licence, card.size_multiple, card.takes_noisy_lr) == ("unknown", 2, True)
    assert "noise_level" in card.steered_by
    card.check_noise_level(35)
    assert 0.99 < card.final_alpha_cumprod < 1


@pytest.mark.parametrize("settings", [{}, {"prompt": "cat", "guidance_scale": 3.0}])
def test_a_constant_map_of_levels_is_the_ordinary_forward_and_others_are_not(
    pristine: Path, settings: dict[str, Any]
) -> None:
    model, generator = load(pristine, **settings), torch.Generator().manual_seed(1)
    x, lr = torch.randn(2, 4, 16, 16, generator=generator), torch.rand(2, 3, 16, 16, generator=generator)
    ordinary = model.predict(x, lr, torch.tensor([40, 7]))
    timesteps, levels = torch.tensor([[40, 3], [7, 30]]), torch.zeros(2, 16, 16, dtype=torch.long)
    assert torch.allclose(model.predict(x, lr, timesteps, levels), ordinary, atol=1e-5)
    levels[:, 8:] = 1
    assert not torch.allclose(model.predict(x, lr, timesteps, levels), ordinary, atol=1e-3)


def test_the_text_encoder_runs_once_and_is_freed(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, forward = [], CLIPTextModel.forward
    monkeypatch.setattr(
        CLIPTextModel,
        "forward",
        lambda self, *args, **kw: (seen.append(weakref.ref(self)), forward(self, *args, **kw))[1],
    )
    model = load(pristine, prompt="cat", guidance_scale=2.0, negative_prompt="dog")
    for t in (40, 20):
        model.predict(torch.zeros(1, 4, 16, 16), torch.zeros(1, 3, 16, 16), torch.tensor([t]))
    gc.collect()
    assert [encoder() for encoder in seen] == [None]


def test_a_noise_level_beyond_the_model_s_is_refused(pristine: Path) -> None:
    with pytest.raises(SpecError, match=r"noise_level=36 is above its 35; lower checkpoint\.noise_level"):
        load(pristine, noise_level=36)


def test_without_transformers_the_extra_is_named(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"needs transformers; pip install 'tss-ray\[models\]'"):
        check_model(str(pristine))


@pytest.mark.parametrize("name", ["tokenizer", "text_encoder/config.json", "text_encoder/model.safetensors"])
def test_a_missing_part_of_the_text_encoder_is_refused(pristine: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(pristine, tmp_path / "sd"))
    shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name.split('/')[0]}.*fetch the model again"):
        check_model(str(folder))
