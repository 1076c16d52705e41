"""Names to models: an explicit table, and one door through which weights are loaded."""

import hashlib
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from tss_ray.errors import ModelError
from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.card import WEIGHTS_FILE, ModelCard, read_card

EMBEDDED = ("tss-x4-small",)


def model_folder(name: str) -> Path:
    """Return the folder of an embedded model's name or of a local path that holds a card.

    Raises ModelError for anything else.
    """
    if name in EMBEDDED:
        return Path(str(files("tss_ray.models") / "weights" / name))
    if Path(name).is_dir():
        return Path(name)
    raise ModelError(f"no model {name!r}: embedded are {', '.join(EMBEDDED)}; name one, or give a model folder")


def check_model(name: str) -> ModelCard:
    """Return the card of a model whose weights are what it says, without loading them. Raises ModelError otherwise."""
    folder = model_folder(name)
    card = read_card(folder)
    _verified_bytes(folder, card)
    return card


def load_model(name: str, device: torch.device, dtype: torch.dtype, compiled: bool = False) -> SuperResolutionModel:
    """Load a model onto a device, its weights checked against the card's sha256; see `ResidualUNet` for `compiled`.

    Raises ModelError if the weights are missing, damaged, or do not fit the network that the card describes.
    """
    from tss_ray.models.residual_unet import ResidualUNet  # here: `plan` and `--help` need cards, not networks

    folder = model_folder(name)
    card = read_card(folder)
    data = _verified_bytes(folder, card)
    try:
        return ResidualUNet(card, load(data), device, dtype, compiled)
    except (RuntimeError, ValueError, SafetensorError) as error:  # ValueError: a shape that diffusers cannot build
        raise ModelError(f"the weights in {folder} do not fit its card: {error}; fetch the model again") from error


def load_weights(name: str) -> tuple[ModelCard, dict[str, Tensor]]:
    """Return a model's card and its verified weights, on the CPU as stored. Raises ModelError as `load_model`."""
    folder = model_folder(name)
    card = read_card(folder)
    return card, load(_verified_bytes(folder, card))


def _verified_bytes(folder: Path, card: ModelCard) -> bytes:
    try:
        data = (folder / WEIGHTS_FILE).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{folder} has no {WEIGHTS_FILE}; fetch the model again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise ModelError(f"{folder / WEIGHTS_FILE} has sha256 {found}, its card says {card.sha256}; fetch it again")
    return data
