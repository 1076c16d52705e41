"""Promises about folders of `diffusers`: what will not run is refused by name, before and while it is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from checkpoints import write_ldm
from safetensors.torch import load_file, save_file

from tss_ray.errors import ModelError, SpecError
from tss_ray.models.base import LoadSettings
from tss_ray.models.diffusers_folder import _SCHEDULERS
from tss_ray.models.registry import check_model, load_model

CPU = torch.device("cpu")
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ldm(tmp_path_factory.mktemp("pristine") / "ldm")


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "ldm"))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (UNET, r"unet has no diffusion_pytorch_model\.safetensors; fetch"),
        ("vqvae/config.json", r"vqvae/config\.json is missing; fetch the model again"),
        ("scheduler/scheduler_config.json", r"scheduler_config\.json is missing"),
    ],
)
def test_a_missing_file_is_named(folder: Path, missing: str, told: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=told):
        check_model(str(folder))


def test_another_pipeline_is_refused_with_those_that_are_served(folder: Path) -> None:
    change(folder / "model_index.json", _class_name="StableDiffusionXLPipeline")
    with pytest.raises(ModelError, match="is a StableDiffusionXLPipeline; served are LDMSuperResolutionPipeline"):
        check_model(str(folder))


def test_a_component_of_another_class_is_refused(folder: Path) -> None:
    change(folder / "model_index.json", vqvae=["diffusers", "AutoencoderKL"])
    with pytest.raises(ModelError, match="vqvae is a AutoencoderKL, LDMSuperResolutionPipeline has a VQModel there"):
        check_model(str(folder))


def test_a_network_of_other_channels_is_refused_before_it_is_loaded(folder: Path) -> None:
    change(folder / "unet/config.json", in_channels=3)
    with pytest.raises(ModelError, match=r"unet has in_channels=3, the family has 6; this is another model"):
        check_model(str(folder))


def test_weights_of_another_network_are_refused(folder: Path, tmp_path: Path) -> None:
    other = write_ldm(tmp_path / "other", unet={"layers_per_block": 2})
    (folder / UNET).write_bytes((other / UNET).read_bytes())
    with pytest.raises(
        ModelError, match=r"(?s)unet cannot be loaded: .*size mismatch for up_blocks.*; fetch the model again"
    ):
        load_model(str(folder), CPU, torch.float32)


@pytest.mark.parametrize("name", ["conv_in.bias", "elsewhere"])
def test_a_tensor_too_few_or_too_many_is_refused_and_never_left_random(folder: Path, name: str) -> None:
    weights = load_file(folder / UNET)
    if weights.pop(name, None) is None:
        weights[name] = torch.zeros(1)
    save_file(weights, folder / UNET, {"format": "pt"})
    told = rf"unet are not of the network that its config\.json describes: {name}"
    with pytest.raises(ModelError, match=told):
        load_model(str(folder), CPU, torch.float32)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"clip_sample": True}, "clip_sample"),
        ({"thresholding": True}, r"\(thresholding\), which is not served; set thresholding to false"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr leaves no signal .*prediction_type=epsilon"),
        ({"prediction_type": "flow"}, "prediction_type=flow"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule=sigmoid"),
    ],
)
def test_a_scheduler_that_is_not_served_is_refused(folder: Path, changes: dict[str, Any], told: str) -> None:
    change(folder / "scheduler/scheduler_config.json", **changes)
    with pytest.raises(ModelError, match=told):
        check_model(str(folder))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own, with numpy 2
@pytest.mark.parametrize("name", _SCHEDULERS)
def test_of_every_scheduler_that_is_served_the_noise_is_that_of_its_table(folder: Path, name: str) -> None:
    config = {"num_train_timesteps": 50, "beta_schedule": "scaled_linear", "beta_start": 0.002, "beta_end": 0.3}
    scheduler = getattr(diffusers, name)(**config)
    scheduler.save_pretrained(folder / "scheduler")
    if "clip_sample" in scheduler.config:
        change(folder / "scheduler/scheduler_config.json", clip_sample=False)
    change(folder / "model_index.json", scheduler=["diffusers", name])
    card = check_model(str(folder))
    assert torch.allclose(card.transition.alphas_cumprod.float(), scheduler.alphas_cumprod, rtol=1e-4)
    assert (card.final_alpha_cumprod == 1) == scheduler.config.get("set_alpha_to_one", True)


def test_an_unknown_scheduler_is_refused(folder: Path) -> None:
    change(folder / "model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])
    with pytest.raises(ModelError, match="FlowMatchEulerDiscreteScheduler is not served; give one of DDIMScheduler"):
        check_model(str(folder))


def test_pickles_are_read_only_where_they_are_allowed(folder: Path) -> None:
    torch.save(load_file(folder / UNET), folder / "unet/diffusion_pytorch_model.bin")
    (folder / UNET).unlink()
    with pytest.raises(ModelError, match=r"a pickle, which may run code .*set checkpoint\.allow_pickles=true"):
        load_model(str(folder), CPU, torch.float32)
    load_model(str(folder), CPU, torch.float32, settings=LoadSettings(allow_pickles=True))


def test_a_half_precision_variant_is_taken_where_there_is_no_other(folder: Path) -> None:
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    load_model(str(folder), CPU, torch.float32)


def test_a_missing_part_of_several_is_named(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"conv_in.bias": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    (folder / UNET).unlink()
    (folder / f"{UNET}.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks diffusion_pytorch_model-00001-of-00002\.safetensors; fetch"):
        check_model(str(folder))


def test_a_card_beside_the_folder_tells_licence_name_and_steps(folder: Path) -> None:
    said = {"licence": "Apache-2.0", "model_id": "one-step", "num_steps": [1]}
    (folder / "card.json").write_text(json.dumps(said))
    card = check_model(str(folder))
    assert (card.licence, card.model_id, card.num_steps) == ("Apache-2.0", "one-step", (1,))
    card.check_steps([0, 1])
    with pytest.raises(SpecError, match=r"one-step was made for 1 steps, and images may get \[2, 4\]; give --steps 1"):
        card.check_steps([0, 1, 2, 4])


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("license: apache-2.0\ntags:\n- super-resolution", "apache-2.0"),
        ("license: other\nlicense_name: S-Lab License 1.0", "S-Lab License 1.0"),
        ("license: other", "unknown"),
        ("license: [a, b]", "unknown"),
        ("license: [", "unknown"),
        ("- a list", "unknown"),
    ],
)
def test_the_hub_s_model_card_tells_the_licence(folder: Path, head: str, licence: str) -> None:
    before = check_model(str(folder)).sha256
    (folder / "README.md").write_text(f"---\n{head}\n---\n# A model\n\n---\nlicense: mit\n---\n")
    card = check_model(str(folder))
    assert (card.licence, card.sha256) == (licence, before)
    (folder / "card.json").write_text(json.dumps({"licence": "mine"}))
    assert check_model(str(folder)).licence == "mine"


def test_a_model_card_without_a_head_tells_nothing(folder: Path) -> None:
    (folder / "README.md").write_text("# A model\n\n---\nlicense: mit\n---\n")
    assert check_model(str(folder)).licence == "unknown"


def test_a_pinned_sum_that_differs_is_refused(folder: Path) -> None:
    (folder / "card.json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(ModelError, match=r"its card\.json says 0000.*; fetch it again"):
        check_model(str(folder))


def test_the_sum_follows_from_contents_and_not_from_the_place(folder: Path, tmp_path: Path) -> None:
    same, other = write_ldm(tmp_path / "same"), write_ldm(tmp_path / "other", seed=1)
    assert check_model(str(folder)).sha256 == check_model(str(same)).sha256 != check_model(str(other)).sha256
