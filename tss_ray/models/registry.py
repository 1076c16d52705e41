"""Names to models: an explicit table of families, and one door through which weights are loaded."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from tss_ray.errors import ModelError
from tss_ray.models import ldm_sr, resshift, resshift_folder, sd_controlnet, sd_upscaler
from tss_ray.models.base import LoadSettings, SuperResolutionModel
from tss_ray.models.card import CARD_FILE, WEIGHTS_FILE, ModelCard, ResidualUNetCard, read_card
from tss_ray.models.diffusers_folder import INDEX_FILE, open_folder, said_beside

EMBEDDED = ("tss-x4-small", "tss-x4-one-step")
_DEFAULTS = LoadSettings()
_Load = Callable[[Path, Any, torch.device, torch.dtype, LoadSettings], SuperResolutionModel]


@dataclass(frozen=True)
class Family:
    """How a family of others' folders is read. pipeline: the class of `diffusers` that its model_index.json names.

    load: takes the card that read_card returns.
    """

    name: str
    pipeline: str
    read_card: Callable[[Path, bool], ModelCard]
    load: _Load


FAMILIES = (
    Family("ldm_sr", ldm_sr.PIPELINE, ldm_sr.read_card, ldm_sr.LdmSuperResolution),
    Family("sd_upscaler", sd_upscaler.PIPELINE, sd_upscaler.read_card, sd_upscaler.SdUpscaler),
    *(
        Family("sd_controlnet", pipeline, sd_controlnet.read_card, sd_controlnet.SdControlNet)
        for pipeline in sd_controlnet.PIPELINES
    ),
)
"""Beside residual_unet, the embedded one, and ResShift, whose folders have no model_index.json."""
RESSHIFT = Family("resshift", "UNetModelSwin", resshift_folder.read_card, resshift.ResShift)
"""Its folders are known by their configuration."""


def model_folder(name: str) -> Path:
    """Return the folder of an embedded model's name or of a local path that holds a model.

    Raises ModelError for anything else.
    """
    if name in EMBEDDED:
        return Path(str(files("tss_ray.models") / "weights" / name))
    if Path(name).is_dir():
        return Path(name)
    raise ModelError(f"no model {name!r}: embedded are {', '.join(EMBEDDED)}; name one, or give a model folder")


def check_model(name: str, settings: LoadSettings = _DEFAULTS) -> ModelCard:
    """Return the card of a model whose weights are what it says, without loading them. Raises ModelError otherwise."""
    folder = model_folder(name)
    family = _family(folder)
    if family is not None:
        return _foreign_card(family, folder, settings)
    card = read_card(folder)
    _verified_bytes(folder, card)
    return card


def load_model(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    compiled: bool = False,
    settings: LoadSettings = _DEFAULTS,
) -> SuperResolutionModel:
    """Load a model onto a device, its weights checked against the card's sha256; see `ResidualUNet` for `compiled`.

    Raises ModelError if the weights are missing, damaged, or do not fit the network that the card describes.
    """
    folder = model_folder(name)
    family = _family(folder)
    if family is not None:
        if compiled:
            raise ModelError(f"{folder}: {family.name} is not compiled yet; set compute.compile to auto")
        return family.load(folder, _foreign_card(family, folder, settings), device, dtype, settings)
    from tss_ray.models.residual_unet import ResidualUNet  # here: `plan` and `--help` need cards, not networks

    card = read_card(folder)
    data = _verified_bytes(folder, card)
    try:
        return ResidualUNet(card, load(data), device, dtype, compiled)
    except (RuntimeError, ValueError, SafetensorError) as error:  # ValueError: a shape that diffusers cannot build
        raise ModelError(f"the weights in {folder} do not fit its card: {error}; fetch the model again") from error


def load_weights(name: str) -> tuple[ResidualUNetCard, dict[str, Tensor]]:
    """Return the card and the verified weights of a model of the embedded family, on the CPU as stored.

    Raises ModelError as `load_model`.
    """
    folder = model_folder(name)
    card = read_card(folder)
    return card, load(_verified_bytes(folder, card))


def _family(folder: Path) -> Family | None:
    """Return the family of others' folder, or None for one of ours. Raises ModelError for an unknown one."""
    if not (folder / INDEX_FILE).exists():
        return RESSHIFT if resshift_folder.is_resshift(folder) else None
    pipeline = open_folder(folder).pipeline
    for family in FAMILIES:
        if family.pipeline == pipeline:
            return family
    raise ModelError(
        f"{folder} is a {pipeline}; served are {', '.join(family.pipeline for family in FAMILIES)}: give one of these"
    )


def _foreign_card(family: Family, folder: Path, settings: LoadSettings) -> ModelCard:
    card = family.read_card(folder, settings.allow_pickles)
    pinned = said_beside(folder).sha256
    if pinned is not None and pinned != card.sha256:
        raise ModelError(f"{folder} has sha256 {card.sha256}, its {CARD_FILE} says {pinned}; fetch it again")
    return card


def _verified_bytes(folder: Path, card: ModelCard) -> bytes:
    try:
        data = (folder / WEIGHTS_FILE).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{folder} has no {WEIGHTS_FILE}; fetch the model again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise ModelError(f"{folder / WEIGHTS_FILE} has sha256 {found}, its card says {card.sha256}; fetch it again")
    return data
