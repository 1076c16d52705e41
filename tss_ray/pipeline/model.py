"""The model of a job: fetched to this machine where it lies elsewhere, checked against the settings, loaded."""

import logging
from pathlib import Path

import torch

from tss_ray.budget.policy import rungs
from tss_ray.budget.target import check_measured
from tss_ray.errors import SpecError
from tss_ray.models.base import LoadSettings, SuperResolutionModel
from tss_ray.models.card import ModelCard
from tss_ray.models.fetch import Source, fetch
from tss_ray.models.licences import judge
from tss_ray.models.registry import check_model, load_model
from tss_ray.spec import CheckpointSpec, JobSpec, StoreSpec
from tss_ray.storage.stores import open_store

log = logging.getLogger(__name__)


def local_model(name: str, checkpoint: CheckpointSpec, store: StoreSpec) -> str:
    """Return what `load_model` takes: the model's folder on this machine. Raises ModelError or StorageError."""
    cache = None if checkpoint.cache is None else Path(checkpoint.cache)
    return fetch(name, Source(lambda uri: open_store(uri, store), cache, checkpoint.allow_pickles))


def load_settings(checkpoint: CheckpointSpec) -> LoadSettings:
    """Return the part of the settings that loading needs."""
    return LoadSettings(**checkpoint.model_dump(exclude={"use", "cache"}))


def job_card(spec: JobSpec) -> ModelCard:
    """Return the card of the job's model, whose weights are what it says. Raises ModelError or StorageError."""
    name = local_model(spec.model, spec.checkpoint, spec.store)
    return check_model(name, load_settings(spec.checkpoint))


def job_model(spec: JobSpec, device: torch.device, dtype: torch.dtype, compiled: bool = False) -> SuperResolutionModel:
    """Load the job's model onto a device. Raises ModelError or StorageError."""
    name = local_model(spec.model, spec.checkpoint, spec.store)
    return load_model(name, device, dtype, compiled, load_settings(spec.checkpoint))


def check_model_fits(spec: JobSpec, card: ModelCard) -> None:
    """Raise SpecError where the model cannot do what the job asks, or its licence does not let it.

    What a licence limits is said in the log.
    """
    if card.scale < spec.scale:
        raise SpecError(
            f"{card.model_id} enlarges by {card.scale}, scale={spec.scale:g}; choose another model or scale"
        )
    card.check_steps(rungs(spec.budget))
    if spec.budget.by_tile and card.num_steps is not None:
        raise SpecError(f"{card.model_id} was made for {card.num_steps} steps alone; leave budget.by_tile out")
    card.check_tile(spec.tiles.tile_px)
    if unused := [name for name in spec.checkpoint.steering if name not in card.steered_by]:
        told = ", ".join(f"checkpoint.{name}" for name in unused)
        raise SpecError(f"{card.model_id} takes no {' and no '.join(unused)}; remove {told}")
    if spec.plan.eta and not card.transition.takes_eta:
        raise SpecError(f"{card.model_id} adds the noise of its own rule at each step; leave plan.eta at 0")
    check_licence(card, spec.checkpoint)
    check_measured(spec, card.sha256)


def check_licence(card: ModelCard, checkpoint: CheckpointSpec) -> None:
    """Raise SpecError, or warn, where a licence does not let the model be used as the job says."""
    verdict, why = judge(card.licence, checkpoint.use)
    told = f"{card.model_id} is under the licence {card.licence!r}: {why}"
    if verdict == "refuse":
        raise SpecError(f"{told}; --use {checkpoint.use} is refused: choose another model, or ask who gave it")
    if verdict == "warn":
        log.warning("%s", told)
