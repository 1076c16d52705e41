"""Promises of `tss-ray models`."""

import json
import shutil
from pathlib import Path

import pytest
from checkpoints import write_ldm, write_sd_controlnet, write_sd_upscaler
from typer.testing import CliRunner

from tss_ray.cli import app
from tss_ray.errors import ModelError, SpecError

runner = CliRunner()


def models(*arguments: object) -> str:
    result = runner.invoke(app, ["models", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_names_every_model_and_family() -> None:
    out = models("list")
    for name in (
        "tss-x4-small",
        "tss-x4-one-step",
        "residual_unet",
        "ldm_sr",
        "sd_upscaler",
        "StableDiffusionUpscalePipeline",
        "resshift",
    ):
        assert name in out
    for name in ("sd_controlnet", "StableDiffusionControlNetPipeline", "StableDiffusionControlNetImg2ImgPipeline"):
        assert name in out


def test_info_says_what_the_card_says_and_what_its_licence_allows(tiny_model_folder: Path) -> None:
    told = json.loads(models("info", tiny_model_folder, "--json"))
    assert (told["model_id"], told["scale"], told["tile_multiple_px"]) == ("tiny", 4, 2)
    assert (told["commercial"], told["research"]) == ("fine", "fine")
    assert "residual_scale" in models("info", tiny_model_folder)


def test_fetch_prints_the_folder(tiny_model_folder: Path) -> None:
    assert models("fetch", tiny_model_folder).strip() == str(tiny_model_folder)


@pytest.mark.parametrize("arguments", [(), ("m", "--metrics", "niqe"), ("m", "--from", "folder")])
def test_fetch_wants_a_model_or_metrics(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match="a model or --metrics"):
        models("fetch", *arguments)


@pytest.mark.parametrize("write", [write_ldm, write_sd_controlnet, write_sd_upscaler])
def test_check_runs_a_checkpoint_of_each_family(write, tmp_path: Path) -> None:
    told = json.loads(models("check", write(tmp_path / "model"), "--json"))
    assert (told["runs"], told["scale"], told["licence"]) == (True, 4, "unknown")
    assert all(told[name] > 0 for name in ("check_s", "load_s", "step_s", "decode_s"))


def test_check_runs_a_model_of_ours(tiny_model_folder: Path) -> None:
    assert json.loads(models("check", tiny_model_folder, "--json"))["runs"]


def test_check_refuses_an_autoencoder_of_another_scale(tmp_path: Path) -> None:
    folder, other = write_ldm(tmp_path / "a"), tmp_path / "b"
    shutil.copytree(folder, other)
    config = json.loads((other / "vqvae/config.json").read_text())
    (other / "vqvae/config.json").write_text(json.dumps(config | {"block_out_channels": [8, 16]}))
    with pytest.raises(ModelError, match=r"vqvae.*fetch the model again"):
        models("check", other)


def test_check_refuses_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no card\.json: not a model folder"):
        models("check", tmp_path)
