"""What outlives a training run: the checkpoint it goes on from, and the model folder that people use."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from tss_ray.errors import TrainingError
from tss_ray.models.card import CARD_FILE, WEIGHTS_FILE, ResidualUNetCard
from tss_ray.training.adversarial import Adversary
from tss_ray.training.recipe import Recipe
from tss_ray.training.state import TrainingState


def resume(path: Path, recipe: Recipe, state: TrainingState) -> int:
    """Load a checkpoint in place and return its iteration, 0 where there is none.

    Raises TrainingError if it cannot be read or was made by another recipe.
    """
    if not path.exists():
        return 0
    saved = _read(path, "delete it to start again from nothing")
    if saved["recipe"] != _decisive(recipe):
        raise TrainingError(f"{path} was made by another recipe; choose another folder, or go back to its recipe")
    state.load_state_dict(saved)
    return int(saved["iteration"])


def resume_judge(path: Path, adversary: Adversary) -> None:
    """Let the discriminator of another run's checkpoint go on, with its optimiser.

    Raises TrainingError if there is none, or none of this shape.
    """
    remedy = "name the checkpoint.pt of a run with a second phase, or leave adversarial.initial_judge out"
    judge = _read(path, remedy).get("adversary")
    if judge is None:
        raise TrainingError(f"{path} has no discriminator; {remedy}")
    try:
        adversary.load_state_dict(judge)
    except (RuntimeError, LookupError, ValueError) as error:
        raise TrainingError(f"{path}: its discriminator is not of adversarial.channels; {remedy}") from error


def _read(path: Path, remedy: str) -> dict[str, Any]:
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, LookupError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} cannot be read: {error}; {remedy}") from error
    return saved


def checkpoint(folder: Path, recipe: Recipe, iteration: int, state: TrainingState) -> None:
    """Write the checkpoint and the model folder, each by rename, so that a kill leaves the older ones whole."""
    saved = {"recipe": _decisive(recipe), "iteration": iteration, **state.state_dict()}
    torch.save(saved, folder / "checkpoint.pt.tmp")
    os.replace(folder / "checkpoint.pt.tmp", folder / "checkpoint.pt")
    export(folder, recipe, state.ema)


def _decisive(recipe: Recipe) -> str:
    """What a checkpoint must share with its recipe: neither where the first weights came from nor what is looked at."""
    first: dict[str, Any] = {"initial_weights": True, "initial_partial": True, "adversarial": {"initial_judge"}}
    return recipe.model_dump_json(exclude={**first, "validation": True})


def export(folder: Path, recipe: Recipe, ema: dict[str, Tensor]) -> None:
    """Write a model folder: the EMA weights as bf16 and their card, so that `--model FOLDER` runs it.

    By way of bytes: safetensors' own writer leaves a file that only its owner can read.
    """
    weights = save({name: value.to("cpu", torch.bfloat16).contiguous() for name, value in ema.items()})
    card = ResidualUNetCard(
        model_id=recipe.name,
        family="residual_unet",
        scale=recipe.scale,
        num_timesteps=recipe.num_timesteps,
        schedule="cosine",
        schedule_shift=recipe.schedule_shift,
        prediction_type=recipe.prediction_type,
        residual_scale=recipe.residual_scale,
        unet=recipe.unet,
        licence="Apache-2.0",
        sha256=hashlib.sha256(weights).hexdigest(),
        num_steps=(1,) if recipe.one_step_share == 1 and recipe.adversarial is None else None,
    )
    for name, data in ((WEIGHTS_FILE, weights), (CARD_FILE, card.model_dump_json(indent=2).encode() + b"\n")):
        (folder / f"{name}.tmp").write_bytes(data)
        os.replace(folder / f"{name}.tmp", folder / name)
