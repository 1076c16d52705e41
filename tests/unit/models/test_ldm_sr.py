"""Promises of LDM super-resolution: what `diffusers` makes of a folder is what we make of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import as_published, upscaled, write_ldm
from diffusers import LDMSuperResolutionPipeline
from safetensors.torch import load_file, save_file

from tss_ray.diffusion.noise import position_noise
from tss_ray.models.registry import check_model, load_model

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"timestep_spacing": "trailing"},
        {"set_alpha_to_one": False, "steps_offset": 1},
        {"prediction_type": "v_prediction", "beta_schedule": "linear"},
        {"prediction_type": "sample", "beta_schedule": "squaredcos_cap_v2"},
        {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        None,
    ],
)
def test_our_engine_equals_the_pipeline_at_the_scheduler_s_own_timesteps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: dict[str, Any] | None
) -> None:
    """None: the published scheduler configuration."""
    folder = write_ldm(tmp_path / "ldm", **(schedule or {}))
    if schedule is None:
        as_published(folder, "ldm_sr")
    pipeline = LDMSuperResolutionPipeline.from_pretrained(folder, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    noise = position_noise("a", 3, 0, 0, 0, 3, 16, 16)[None]
    monkeypatch.setattr(
        "diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion_superresolution.randn_tensor",
        lambda *_, **__: noise.clone(),
    )
    lr = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    expected = pipeline(lr, num_inference_steps=5, output_type="pt").images[0]
    plan = tuple(int(t) for t in pipeline.scheduler.timesteps)

    found = upscaled(load_model(str(folder), CPU, torch.float32), pixels, plan)
    assert torch.allclose(found, expected, atol=1e-4)
    assert expected.std() > 0.01


def test_the_card_follows_from_the_folder(tmp_path: Path) -> None:
    card = check_model(str(write_ldm(tmp_path / "some-ldm")))
    assert (card.model_id, card.family, card.scale, card.num_timesteps) == ("some-ldm", "ldm_sr", 4, 50)
    assert (card.prediction_type, card.licence, card.size_multiple) == ("eps", "unknown", 2)


def test_a_constant_map_of_levels_is_the_ordinary_forward_and_others_are_not(tmp_path: Path) -> None:
    model = load_model(str(write_ldm(tmp_path / "ldm")), CPU, torch.float32)
    generator = torch.Generator().manual_seed(1)
    x, lr = torch.randn(2, 3, 16, 16, generator=generator), torch.rand(2, 3, 16, 16, generator=generator)
    ordinary = model.predict(x, lr, torch.tensor([40, 7]))
    timesteps, levels = torch.tensor([[40, 3], [7, 30]]), torch.zeros(2, 16, 16, dtype=torch.long)
    assert torch.allclose(model.predict(x, lr, timesteps, levels), ordinary, atol=1e-5)
    levels[:, 8:] = 1
    assert not torch.allclose(model.predict(x, lr, timesteps, levels), ordinary, atol=1e-3)


def test_bfloat16_answers_in_float32_and_decodes_in_it(tmp_path: Path) -> None:
    model = load_model(str(write_ldm(tmp_path / "ldm")), CPU, torch.bfloat16)
    x = torch.zeros(1, *model.latent_shape(16))
    assert model.predict(x, torch.zeros(1, 3, 16, 16), torch.tensor([3])).dtype == torch.float32
    pixels = model.decode(x)
    assert (pixels.shape, pixels.dtype) == ((1, 3, 64, 64), torch.float32)
    assert pixels.abs().max() <= 1


def test_weights_under_the_old_names_of_attention_are_the_same_weights(tmp_path: Path) -> None:
    folder = write_ldm(tmp_path / "ldm")
    model, x = load_model(str(folder), CPU, torch.float32), torch.ones(1, 3, 16, 16)
    for component in ("unet", "vqvae"):
        file = folder / component / "diffusion_pytorch_model.safetensors"
        save_file({_old_name(name): value for name, value in load_file(file).items()}, file, {"format": "pt"})
    again = load_model(str(folder), CPU, torch.float32)
    assert again.card.sha256 != model.card.sha256
    assert torch.equal(again.predict(x, x, torch.tensor([7])), model.predict(x, x, torch.tensor([7])))
    assert torch.equal(again.decode(x), model.decode(x))


def _old_name(name: str) -> str:
    for now, then in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        name = name.replace(now, then)
    return name
