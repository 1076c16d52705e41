"""The models of a job: fetched to this machine where they lie elsewhere, checked against the settings, loaded."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class JobCards:
    """The cards of a job's models: of `model`, and of the one that images of a single step run, if it is another.

    Raises SpecError if they do not enlarge by the same factor.
    """

    main: ModelCard
    one_step: ModelCard | None = None

    def __post_init__(self) -> None:
        """Refuse two factors."""
        if self.one_step is not None and self.one_step.scale != self.main.scale:
            raise SpecError(
                f"one_step_model: {self.one_step.model_id} enlarges by {self.one_step.scale}, {self.main.model_id} by "
                f"{self.main.scale}; choose models of one scale"
            )

    def at(self, num_steps: int) -> ModelCard:
        """Return the card of what an image of so many steps runs."""
        return self.one_step if self.one_step is not None and num_steps == 1 else self.main

    @property
    def num_steps(self) -> tuple[int, ...] | None:
        """The only numbers of steps that there is a model for; None: any."""
        if self.main.num_steps is None or self.one_step is None:
            return self.main.num_steps
        return tuple(sorted({1, *self.main.num_steps}))

    def check_steps(self, asked: Iterable[int]) -> None:
        """Raise SpecError for a number of steps that no model was made for, and for a second model without use."""
        asked = set(asked)
        if self.one_step is not None and 1 not in asked:
            raise SpecError(
                f"one_step_model: no image may get 1 step, which {self.one_step.model_id} is for; add 1 to "
                "budget.ladder, or leave it out"
            )
        for card in self.each:
            card.check_steps(num for num in asked if self.at(num) is card)

    @property
    def sha256s(self) -> tuple[str, ...]:
        """What `JobSpec.spec_hash` takes."""
        return tuple(card.sha256 for card in self.each)

    @property
    def each(self) -> tuple[ModelCard, ...]:
        """The one, or both."""
        return (self.main,) if self.one_step is None else (self.main, self.one_step)


def local_model(name: str, checkpoint: CheckpointSpec, store: StoreSpec) -> str:
    """Return what `load_model` takes: the model's folder on this machine. Raises ModelError or StorageError."""
    cache = None if checkpoint.cache is None else Path(checkpoint.cache)
    return fetch(name, Source(lambda uri: open_store(uri, store), cache, checkpoint.allow_pickles))


def load_settings(checkpoint: CheckpointSpec) -> LoadSettings:
    """Return the part of the settings that loading needs."""
    return LoadSettings(**checkpoint.model_dump(exclude={"use", "cache"}))


def job_cards(spec: JobSpec) -> JobCards:
    """Return the cards of the job's models, whose weights are what they say. Raises ModelError or StorageError."""
    settings = load_settings(spec.checkpoint)
    return JobCards(*(check_model(local_model(name, spec.checkpoint, spec.store), settings) for name in _names(spec)))


def job_models(
    spec: JobSpec, device: torch.device, dtype: torch.dtype, compiled: bool = False
) -> tuple[SuperResolutionModel, ...]:
    """Load the job's models onto a device: one, or a second for images of one step.

    Raises ModelError or StorageError.
    """
    settings = load_settings(spec.checkpoint)
    local = [local_model(name, spec.checkpoint, spec.store) for name in _names(spec)]
    return tuple(load_model(name, device, dtype, compiled, settings) for name in local)


def _names(spec: JobSpec) -> tuple[str, ...]:
    return (spec.model,) if spec.one_step_model is None else (spec.model, spec.one_step_model)


def check_models_fit(spec: JobSpec, cards: JobCards) -> None:
    """Raise SpecError where a model cannot do what the job asks, or its licence does not let it.

    What a licence limits is said in the log.
    """
    cards.check_steps(rungs(spec.budget))
    if cards.one_step is not None and spec.budget.by_tile:
        raise SpecError("budget.by_tile deals an image's steps out within one model; leave it or one_step_model out")
    for card in cards.each:
        _check_fits(spec, card)
    takes = frozenset[str]().union(*(card.steered_by for card in cards.each))
    if unused := [name for name in spec.checkpoint.steering if name not in takes]:
        told = ", ".join(f"checkpoint.{name}" for name in unused)
        who = " and ".join(card.model_id for card in cards.each)
        verb = "takes" if cards.one_step is None else "take"
        raise SpecError(f"{who} {verb} no {' and no '.join(unused)}; remove {told}")
    check_measured(spec, *cards.sha256s)


def _check_fits(spec: JobSpec, card: ModelCard) -> None:
    if card.scale < spec.scale:
        raise SpecError(
            f"{card.model_id} enlarges by {card.scale}, scale={spec.scale:g}; choose another model or scale"
        )
    if spec.budget.by_tile and card.num_steps is not None:
        raise SpecError(f"{card.model_id} was made for {card.num_steps} steps alone; leave budget.by_tile out")
    card.check_tile(spec.tiles.tile_px)
    card.check_noise_level(spec.checkpoint.noise_level)
    if spec.plan.eta and not card.transition.takes_eta:
        raise SpecError(f"{card.model_id} adds the noise of its own rule at each step; leave plan.eta at 0")
    if spec.compute.compile == "on" and not card.compiles:
        raise SpecError(f"{card.model_id}: {card.family} is not compiled yet; leave compute.compile at auto")
    check_licence(card, spec.checkpoint)


def check_licence(card: ModelCard, checkpoint: CheckpointSpec) -> None:
    """Raise SpecError, or warn, where a licence does not let the model be used as the job says."""
    verdict, why = judge(card.licence, checkpoint.use)
    told = f"{card.model_id} is under the licence {card.licence!r}: {why}"
    if verdict == "refuse":
        raise SpecError(f"{told}; --use {checkpoint.use} is refused: choose another model, or ask who gave it")
    if verdict == "warn":
        log.warning("%s", told)
