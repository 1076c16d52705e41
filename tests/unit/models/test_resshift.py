"""Promises of ResShift folders: what the original makes of an image is what we make of it, and errors name the cause.

`test_resshift_networks.py` says how the loops were recorded.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from checkpoints import upscaled
from resshift import FIGURES, UNET, drawn, write_resshift
from safetensors.torch import load_file, save_file

from tss_ray.errors import ModelError, SpecError
from tss_ray.models.base import LoadSettings
from tss_ray.models.licences import judge
from tss_ray.models.registry import check_model, load_model
from tss_ray.models.trial import try_model

CPU = torch.device("cpu")
PICKLES = LoadSettings(allow_pickles=True)
CONFIG, NETWORK, VQ = "realsr_tiny.yaml", "resshift_realsrx4_tiny", "autoencoder_vq_f4"


@pytest.mark.parametrize(
    ("loop", "diffusion", "plan"),
    [
        ("4_of_4", {"steps": 4}, (3, 2, 1, 0)),
        ("2_of_4", {"steps": 4}, (2, 0)),
        ("5_of_15", {"steps": 15, "min_noise_level": 0.04}, (12, 9, 6, 3, 0)),
        ("15_of_15", {"steps": 15, "min_noise_level": 0.04}, tuple(range(14, -1, -1))),
    ],
)
def test_our_engine_equals_the_original_s_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: str, diffusion: dict[str, Any], plan: tuple[int, ...]
) -> None:
    monkeypatch.setattr(
        "tss_ray.engine.noise.position_noise",
        lambda key, seed, draw, top, left, *shape: torch.from_numpy(drawn(f"noise {draw}", *shape)),
    )
    pixels = ((drawn("lr", 16, 16, 3) / 12**0.5 + 0.5) * 256).astype(np.uint8)
    model = load_model(str(write_resshift(tmp_path / "resshift", **diffusion)), CPU, torch.float32)
    found = upscaled(model, pixels, plan)[:, ::4, ::4].numpy() * 2 - 1
    assert np.abs(found - FIGURES[f"loop_{loop}"][0]).max() < 1e-4


def test_the_card_follows_from_the_configuration(tmp_path: Path) -> None:
    card = check_model(str(write_resshift(tmp_path / "some-resshift", steps=15)))
    assert (card.model_id, card.family, card.scale, card.num_timesteps) == ("some-resshift", "resshift", 4, 15)
    assert (card.prediction_type, card.licence, card.size_multiple) == ("x0", "S-Lab-1.0", 16)
    assert (judge(card.licence, "commercial")[0], judge(card.licence, "research")[0]) == ("refuse", "fine")
    with pytest.raises(SpecError, match="16"):
        card.check_tile(24)
    with pytest.raises(SpecError, match="15 timesteps; lower it"):
        card.check_steps([16])


def test_card_json_beside_it_pins_what_is_there(tmp_path: Path) -> None:
    folder = write_resshift(tmp_path / "resshift")
    sha256 = check_model(str(folder)).sha256
    (folder / "card.json").write_text(f'{{"sha256": "{sha256}", "model_id": "mine"}}', encoding="utf-8")
    assert check_model(str(folder)).model_id == "mine"
    with (folder / CONFIG).open("a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    with pytest.raises(ModelError, match="fetch it again"):
        check_model(str(folder))


def test_the_trial_runs_it(tmp_path: Path) -> None:
    assert try_model(str(write_resshift(tmp_path / "resshift")), LoadSettings()).tile_px == 16


def test_pickles_of_the_release_are_read_as_tensors_and_only_if_allowed(tmp_path: Path) -> None:
    folder = write_resshift(tmp_path / "resshift", steps=4)
    pixels = np.full((16, 16, 3), 90, np.uint8)
    expected = upscaled(load_model(str(folder), CPU, torch.float32), pixels, (3, 1))
    for stem in (NETWORK, VQ):
        weights = load_file(folder / f"{stem}.safetensors")
        derived = {"middle_block.1.blocks.0.attn.relative_position_index": torch.zeros(16, 16, dtype=torch.long)}
        torch.save({"state_dict": weights | (derived if stem == NETWORK else {})}, folder / f"{stem}.pth")
        (folder / f"{stem}.safetensors").unlink()
    with pytest.raises(ModelError, match="allow_pickles=true"):
        check_model(str(folder))
    assert torch.equal(
        upscaled(load_model(str(folder), CPU, torch.float32, settings=PICKLES), pixels, (3, 1)), expected
    )


def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return Path.touch, (tmp_path / "touched",)

    folder = write_resshift(tmp_path / "resshift")
    (folder / f"{NETWORK}.safetensors").unlink()
    torch.save({"out.0.weight": Touch()}, folder / f"{NETWORK}.pth")
    with pytest.raises(ModelError, match="tensors alone"):
        load_model(str(folder), CPU, torch.float32, settings=PICKLES)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (f"{VQ}.safetensors", "no autoencoder_vq_f4.safetensors"),
        (f"{NETWORK}.safetensors", "the weights of one network, and has none"),
    ],
)
def test_missing_weights_are_named(tmp_path: Path, lost: str, told: str) -> None:
    folder = write_resshift(tmp_path / "resshift")
    (folder / lost).unlink()
    with pytest.raises(ModelError, match=told):
        check_model(str(folder))


def test_several_networks_or_configurations_in_a_folder_are_refused(tmp_path: Path) -> None:
    folder = write_resshift(tmp_path / "resshift")
    shutil.copy(folder / f"{NETWORK}.safetensors", folder / "resshift_other.safetensors")
    with pytest.raises(ModelError, match="resshift_other, resshift_realsrx4_tiny"):
        check_model(str(folder))
    shutil.copy(folder / CONFIG, folder / "other.yaml")
    with pytest.raises(ModelError, match="2 configurations"):
        check_model(str(folder))


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("model", {"resblock_updown": True}, "model.params.resblock_updown"),
        ("model", {"lq_size": 32}, "lq_size=32, image_size=16"),
        ("model", {"cond_mask": True}, "model.params.cond_mask"),
        ("model", {"in_channels": 8}, "in_channels=8"),
        ("diffusion", {"sf": 2}, "enlarges by 2, its autoencoder reduces by 4"),
        ("diffusion", {"sf": 1}, "diffusion.params.sf"),
        ("diffusion", {"predict_type": "epsilon"}, "diffusion.params.predict_type"),
        ("diffusion", {"schedule_name": "ldm"}, "diffusion.params.schedule_name"),
        ("diffusion", {"latent_flag": False}, "diffusion.params.latent_flag"),
        ("diffusion", {"unheard_of": 1}, "diffusion.params.unheard_of"),
        ("diffusion", {"min_noise_level": 2.0}, "begins above etas_end"),
    ],
)
def test_what_is_not_served_is_named(tmp_path: Path, part: str, change: dict[str, Any], told: str) -> None:
    folder = write_resshift(tmp_path / "resshift")
    config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    config[part]["params"] |= change
    (folder / CONFIG).write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(ModelError, match=told):
        check_model(str(folder))


def test_another_autoencoder_is_named(tmp_path: Path) -> None:
    folder = write_resshift(tmp_path / "resshift")
    text = (folder / CONFIG).read_text(encoding="utf-8").replace("VQModelTorch", "AutoencoderKLTorch")
    (folder / CONFIG).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"autoencoder\.target is ldm\.models\.autoencoder\.AutoencoderKLTorch"):
        check_model(str(folder))


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    folder = write_resshift(tmp_path / "resshift", unet={"swin_embed_dim": 64})
    assert UNET["swin_embed_dim"] == 32
    with pytest.raises(ModelError, match=r"input_blocks\.1\.1\.blocks\.0\.attn.*take the configuration"):
        load_model(str(folder), CPU, torch.float32)


def test_damaged_weights_are_told(tmp_path: Path) -> None:
    folder = write_resshift(tmp_path / "resshift")
    (folder / f"{VQ}.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"cannot be read.*fetch it again"):
        load_model(str(folder), CPU, torch.float32)


def test_another_yaml_makes_no_resshift(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("a: [", encoding="utf-8")
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"no card\.json"):
        check_model(str(tmp_path))


def test_bfloat16_answers_in_float32_and_decodes_in_it(tmp_path: Path) -> None:
    model = load_model(str(write_resshift(tmp_path / "resshift")), CPU, torch.bfloat16)
    x = torch.zeros(1, *model.latent_shape(16))
    condition = model.condition(torch.zeros(1, 3, 16, 16))
    exact = load_model(str(tmp_path / "resshift"), CPU, torch.float32)
    painted = model.predict(x, condition, torch.tensor([7]))
    assert painted.dtype == torch.float32
    assert torch.allclose(painted, exact.predict(x, condition, torch.tensor([7])), atol=0.1)
    assert torch.equal(model.decode(x), exact.decode(x))
