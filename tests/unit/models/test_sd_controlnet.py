"""Promises of ControlNet-tile Stable Diffusion: what `diffusers` makes of a folder is what we make of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import as_published, upscaled, write_sd_controlnet
from diffusers import DDIMScheduler, StableDiffusionControlNetPipeline

from tss_ray.diffusion.noise import position_noise
from tss_ray.errors import ModelError
from tss_ray.imaging.resample import upsample
from tss_ray.models.base import LoadSettings, SuperResolutionModel
from tss_ray.models.registry import check_model, load_model

CPU = torch.device("cpu")
GUIDED = {"prompt": "cat", "guidance_scale": 4.0, "negative_prompt": "dog"}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd_controlnet(tmp_path_factory.mktemp("pristine") / "sd")


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "sd"))


def load(folder: Path, **settings: Any) -> SuperResolutionModel:
    return load_model(str(folder), CPU, torch.float32, settings=LoadSettings(**settings))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("schedule", "settings"),
    [
        ({}, {}),
        ({}, GUIDED),
        ({"prediction_type": "v_prediction"}, {"prompt": "a cat", "controlnet_conditioning_scale": 0.5}),
        (None, {}),
    ],
)
def test_our_engine_equals_the_pipeline_at_the_scheduler_s_own_timesteps(
    tmp_path: Path, schedule: dict[str, Any] | None, settings: dict[str, Any]
) -> None:
    """None: the published configuration of Stable Diffusion 1.5, whose sampler, PNDM, the pipeline changes for DDIM."""
    folder = write_sd_controlnet(tmp_path / "sd", **(schedule or {}))
    if schedule is None:
        as_published(folder, "sd_controlnet")
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(folder, low_cpu_mem_usage=False)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image = upsample(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255, 4).clamp(0, 1)
    told = {"prompt": "", "guidance_scale": 1.0} | settings
    latents = position_noise("a", 3, 0, 0, 0, 4, 8, 8)[None]
    expected = pipeline(image=image, latents=latents, num_inference_steps=5, output_type="pt", **told).images[0]
    plan = tuple(int(t) for t in pipeline.scheduler.timesteps)

    found = upscaled(load(folder, **settings), pixels, plan)
    assert torch.allclose(found, expected, atol=1e-4)
    another = upscaled(load(folder, **settings), 255 - pixels, plan)
    assert (another - expected).abs().max() > 1e-3


def predicted(model: SuperResolutionModel, *at: torch.Tensor, **lr: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x, pixels = torch.randn(2, 4, 8, 8, generator=generator), torch.rand(2, 3, 16, 16, generator=generator)
    return model.predict(x, model.condition(lr.get("lr", pixels)), *at)


@pytest.mark.parametrize("settings", [{}, GUIDED])
def test_a_constant_map_of_levels_is_the_ordinary_forward_and_others_are_not(
    pristine: Path, settings: dict[str, Any]
) -> None:
    model = load(pristine, **settings)
    ordinary = predicted(model, torch.tensor([40, 7]))
    timesteps, levels = torch.tensor([[40, 3], [7, 30]]), torch.zeros(2, 8, 8, dtype=torch.long)
    assert torch.allclose(predicted(model, timesteps, levels), ordinary, atol=1e-5)
    levels[:, 4:] = 1
    assert not torch.allclose(predicted(model, timesteps, levels), ordinary, atol=1e-3)


def test_a_map_of_levels_acts_on_the_controlnet_too(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = load(pristine)
    levels = torch.zeros(2, 8, 8, dtype=torch.long)
    levels[:, 4:] = 1
    at = torch.tensor([[40, 3], [7, 30]]), levels
    both, outputs = predicted(model, *at), model._controlnet.outputs
    monkeypatch.setattr(model._controlnet, "outputs", lambda x, t, levels, **more: outputs(x, t[:, 0], None, **more))
    assert not torch.allclose(predicted(model, *at), both, atol=1e-3)


def test_the_controlnet_sees_the_tile_as_strongly_as_it_is_told(pristine: Path) -> None:
    at, black = torch.tensor([40, 7]), torch.full((2, 3, 16, 16), -1.0)
    full, none = load(pristine), load(pristine, controlnet_conditioning_scale=0.0)
    assert not torch.allclose(predicted(full, at), predicted(full, at, lr=black), atol=1e-3)
    assert torch.equal(predicted(none, at), predicted(none, at, lr=black))


def test_the_card_follows_from_the_folder(pristine: Path) -> None:
    card = check_model(str(pristine))
    assert (card.family, card.scale, card.num_timesteps, card.prediction_type) == ("sd_controlnet", 4, 50, "eps")
    assert (card.licence, card.takes_noisy_lr, card.paints_pixels) == ("unknown", False, True)
    assert card.size_multiple == 4  # 2 of the network, on a latent of half a tile
    assert load(pristine).latent_shape(32) == (4, 16, 16)


def test_a_folder_of_the_pipeline_that_begins_with_a_picture_is_the_same_model(folder: Path) -> None:
    before = predicted(load(folder), torch.tensor([40, 7]))
    change(folder / "model_index.json", _class_name="StableDiffusionControlNetImg2ImgPipeline")
    assert torch.equal(predicted(load(folder), torch.tensor([40, 7])), before)


def test_a_missing_controlnet_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "controlnet")
    with pytest.raises(ModelError, match="controlnet is missing; fetch the model again"):
        check_model(str(folder))


@pytest.mark.parametrize(
    ("part", "values", "told"),
    [
        ("controlnet", {"cross_attention_dim": 24}, "controlnet has cross_attention_dim=24, unet=16.*whose parts do"),
        ("text_encoder", {"hidden_size": 24}, "text_encoder has hidden_size=24, unet cross_attention_dim=16"),
        ("controlnet", {"block_out_channels": [8, 32]}, r"block_out_channels=\[8, 32\], unet=\[8, 16\]"),
        ("controlnet", {"in_channels": 5}, "controlnet has in_channels=5, vae latent_channels=4"),
        ("controlnet", {"conditioning_embedding_out_channels": [4, 8]}, "by 2, vae those of 3 by 8; give a ControlNet"),
        ("controlnet", {"global_pool_conditions": True}, "pooled conditions.*is not served"),
        ("unet", {"in_channels": 9}, "unet has in_channels=9, the family has 4"),
        ("unet", {"addition_embed_type": "text_time"}, "a unet with addition_embed_type is not served"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    folder: Path, part: str, values: dict[str, Any], told: str
) -> None:
    change(folder / part / "config.json", **values)
    with pytest.raises(ModelError, match=told):
        check_model(str(folder))
