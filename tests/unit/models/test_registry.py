"""Promises of loading: named models only, and weights that are what their card says."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from tss_ray.errors import ModelError
from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.card import CARD_FILE, WEIGHTS_FILE, read_card
from tss_ray.models.registry import EMBEDDED, load_model, model_folder

WriteModel = Callable[..., Path]
CPU = torch.device("cpu")


def load_tiny(folder: Path) -> SuperResolutionModel:
    return load_model(str(folder), CPU, torch.float32)


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ModelError, match="no model 'tss-x9': embedded are tss-x4-small, tss-x4-one-step; name"):
        load_model("tss-x9", CPU, torch.float32)


def test_missing_weights_are_refused(write_model: WriteModel) -> None:
    folder = write_model()
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(ModelError, match=r"has no model\.safetensors; fetch the model again"):
        load_tiny(folder)


def test_one_changed_byte_of_the_weights_is_refused(write_model: WriteModel) -> None:
    folder = write_model()
    data = bytearray((folder / WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(ModelError, match=r"its card says .*; fetch it again"):
        load_tiny(folder)


def test_weights_of_another_network_are_refused(write_model: WriteModel) -> None:
    unet = {"block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4}
    with pytest.raises(ModelError, match="do not fit its card"):
        load_tiny(write_model(unet=unet))


def test_a_card_of_a_network_that_cannot_be_built_is_refused(write_model: WriteModel) -> None:
    unet = {"block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 3}
    with pytest.raises(ModelError, match="do not fit its card"):
        load_tiny(write_model(unet=unet))


def test_a_tensor_too_few_is_refused(write_model: WriteModel) -> None:
    folder = write_model()
    weights = load((folder / WEIGHTS_FILE).read_bytes())
    del weights["conv_in.bias"]
    data = save(weights)
    write_model(sha256=hashlib.sha256(data).hexdigest())
    (folder / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(ModelError, match=r"conv_in\.bias"):
        load_tiny(folder)


def test_weights_that_are_not_safetensors_are_refused(write_model: WriteModel) -> None:
    data = b"not tensors at all"
    folder = write_model(sha256=hashlib.sha256(data).hexdigest())
    (folder / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(ModelError, match="fetch the model again"):
        load_tiny(folder)


def test_weights_may_be_used_in_bfloat16_and_still_answer_in_float32(write_model: WriteModel) -> None:
    model = load_model(str(write_model()), CPU, torch.bfloat16)
    assert (
        model.predict(torch.zeros(1, 48, 16, 16), torch.zeros(1, 3, 16, 16), torch.tensor([3])).dtype == torch.float32
    )


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_model_lies_in_the_package_and_its_weights_match_its_card(name: str) -> None:
    import tss_ray

    folder = model_folder(name)
    assert tss_ray.__file__ is not None
    assert folder.is_relative_to(Path(tss_ray.__file__).parent)
    assert {CARD_FILE, WEIGHTS_FILE} <= {file.name for file in folder.iterdir()}
    card = read_card(folder)
    assert card.model_id == name
    assert hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest() == card.sha256


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_model_loads_by_name_and_predicts(name: str) -> None:
    model = load_model(name, CPU, torch.float32)
    condition = model.condition(torch.zeros(2, 3, 16, 16))
    out = model.predict(torch.zeros(2, *model.latent_shape(16)), condition, torch.tensor([999, 5]))
    assert out.shape == (2, *model.latent_shape(16))
    assert out.isfinite().all()
    assert not torch.equal(out[0], out[1])  # the timestep is listened to
