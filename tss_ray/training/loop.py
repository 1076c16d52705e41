"""The training loop: resumable to the bit, because everything random is drawn from (seed, iteration)."""

import json
import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.errors import TrainingError
from tss_ray.imaging.resample import upsample
from tss_ray.models.registry import load_weights
from tss_ray.models.residual_unet import build_unet, residual_latent
from tss_ray.training.adversarial import Adversary
from tss_ray.training.checkpoint import checkpoint, export, resume, resume_judge
from tss_ray.training.crops import CropPool
from tss_ray.training.degrade import degrade
from tss_ray.training.objective import denoising_loss, predict
from tss_ray.training.recipe import Phase, Recipe
from tss_ray.training.state import TrainingState
from tss_ray.training.validation import Validator, append_rows, as_table

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor, Tensor]


def train(
    recipe: Recipe,
    pool: CropPool,
    folder: Path,
    device: str,
    stop_at: int | None = None,
    validator: Validator | None = None,
) -> Path:
    """Train to the last iteration of the recipe (or `stop_at`), going on from the newest checkpoint in `folder`.

    A `validator` measures the averaged weights every `recipe.validation.every` iterations and at the end.

    Returns the path of the exported EMA weights (bf16 safetensors). Raises TrainingError if the checkpoint belongs to
    another recipe or is damaged, or if the loss is no longer finite; the last checkpoint is then still whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    saved = folder / "checkpoint.pt"
    state = begin(recipe, device, is_fresh=not saved.exists())
    first = resume(saved, recipe, state)
    table = cosine_alphas_cumprod(recipe.num_timesteps, shift=recipe.schedule_shift)
    last = recipe.all_iterations if stop_at is None else min(stop_at, recipe.all_iterations)
    if first:
        export(folder, recipe, state.ema)  # a kill between checkpoint and weights leaves these one checkpoint behind
    started, data_s = time.monotonic(), 0.0
    losses: list[dict[str, float]] = []
    for iteration, batch, waited_s in _batches(recipe, pool, first, last):
        phase = recipe.phase(iteration)
        if phase.judged and phase.iteration == 1:
            state.begin_second_phase()
        loss = _step(recipe, state, table, batch, iteration, device)
        state.average(min(phase.ema_decay, (1 + phase.iteration) / (10 + phase.iteration)))
        losses = [*(kept for kept in losses if kept.keys() == loss.keys()), loss][-200:]
        data_s += waited_s
        if not all(math.isfinite(value) for value in loss.values()):
            raise TrainingError(
                f"loss is {loss} at iteration {iteration}; lower learning_rate and start again in another folder"
            )
        if iteration % 50 == 0 or iteration == last:
            _progress(folder, recipe, iteration, first, last, losses, started, data_s)
        if iteration % recipe.checkpoint_every == 0 or iteration == last:
            checkpoint(folder, recipe, iteration, state)
        if validator is not None and (iteration % recipe.validation.every == 0 or iteration == last):
            _validate(folder, recipe, state, validator, table, iteration, device)
    return folder / "model.safetensors"


def begin(recipe: Recipe, device: str, is_fresh: bool = True) -> TrainingState:
    """Return the state before the first iteration.

    A run that goes on (not `is_fresh`) has its weights from its checkpoint: what it began with may be gone by then.

    Raises TrainingError or ModelError if the initial weights are not there or are of another network.
    """
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay the caller's
        torch.manual_seed(recipe.seed)
        network = build_unet(recipe.scale, recipe.unet)
        adversary = None if recipe.adversarial is None else Adversary(recipe, recipe.adversarial, device)
    judge = None if recipe.adversarial is None else recipe.adversarial.initial_judge
    if is_fresh and adversary is not None and judge is not None:
        resume_judge(judge, adversary)
    if is_fresh and recipe.initial_weights is not None:
        network.load_state_dict(_initial_weights(recipe, recipe.initial_weights, network.state_dict()))
    return TrainingState(network.to(device, memory_format=torch.channels_last), recipe, adversary)  # type: ignore[call-overload]


def _initial_weights(recipe: Recipe, name: str, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's tensors, or of another network `own` with those that fit in the place of its own."""
    card, weights = load_weights(name)
    if card.unet == recipe.unet and card.prediction_type == recipe.prediction_type:
        return weights
    if not recipe.initial_partial:
        raise TrainingError(
            f"initial_weights={name} are another network: {card.prediction_type}, {card.unet}; match unet and "
            "prediction_type to their card, or set initial_partial: true to take the tensors that fit"
        )
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    if not fitting:
        raise TrainingError(f"initial_weights={name}: no tensor fits the network; leave them out")
    log.info("%d of the network's %d tensors are those of %s", len(fitting), len(own), name)
    return own | fitting


def make_batch(recipe: Recipe, pool: CropPool, iteration: int) -> Batch:
    """Return z0 (B,3·scale²,h,w), lr (B,3,h,w) in [-1,1] and its bicubic enlargement (B,3,H,W) of one iteration.

    A pure function of seed and iteration.
    """
    rng = np.random.default_rng([recipe.seed, iteration])
    hr = pool.draw(recipe.phase(iteration).batch_size, rng)
    lr = degrade(hr, recipe.scale, recipe.degradation, rng)
    hr, lr = hr * 2 - 1, lr * 2 - 1
    z0 = residual_latent(hr, lr, recipe.scale, recipe.residual_scale)
    enlarged = upsample(lr, recipe.scale)
    margin = recipe.crops.margin_px
    inside = slice(margin // recipe.scale, lr.shape[-1] - margin // recipe.scale)
    inside_enlarged = slice(margin, enlarged.shape[-1] - margin)
    return z0[..., inside, inside], lr[..., inside, inside], enlarged[..., inside_enlarged, inside_enlarged]


def _batches(recipe: Recipe, pool: CropPool, first: int, last: int) -> Iterator[tuple[int, Batch, float]]:
    """Make the batches one ahead in a thread; also yield the seconds that training waited for each."""
    if first >= last:
        return
    # one thread of torch's: a team of its own would spin between batches and take a fifth of the processor
    with ThreadPoolExecutor(1, "crops", torch.set_num_threads, (1,)) as thread:
        coming = thread.submit(make_batch, recipe, pool, first + 1)
        for iteration in range(first + 1, last + 1):
            since = time.monotonic()
            batch = coming.result()
            waited_s = time.monotonic() - since
            if iteration < last:
                coming = thread.submit(make_batch, recipe, pool, iteration + 1)
            yield iteration, batch, waited_s


def _step(
    recipe: Recipe, state: TrainingState, table: Tensor, batch: Batch, iteration: int, device: str
) -> dict[str, float]:
    """Do one iteration and return its losses by name."""
    z0, lr, enlarged = (x.to(device).contiguous(memory_format=torch.channels_last) for x in batch)
    rng = torch.Generator().manual_seed(recipe.seed * 1_000_003 + iteration)
    phase = recipe.phase(iteration)
    for group in state.optimiser.param_groups:
        group["lr"] = phase.learning_rate * _schedule(recipe, phase)
    state.optimiser.zero_grad(set_to_none=True)
    loss = denoising_loss(state.network, recipe, z0, lr, table, rng)
    loss.backward()  # type: ignore[no-untyped-call]
    losses = {"loss": loss.item()}
    if phase.judged and state.adversary is not None:
        judged, fake = state.adversary.loss(state.network, z0, lr, enlarged, table, rng)
        judged.backward()  # type: ignore[no-untyped-call]
        losses["judged"] = judged.item()
    nn.utils.clip_grad_norm_(state.network.parameters(), recipe.max_grad_norm)
    state.optimiser.step()
    if phase.judged and state.adversary is not None:
        losses["discriminator"] = state.adversary.learn(fake, z0, enlarged, _warm_up(recipe, phase))
    return losses


def _validate(
    folder: Path,
    recipe: Recipe,
    state: TrainingState,
    validator: Validator,
    table: Tensor,
    iteration: int,
    device: str,
) -> None:
    """Measure the averaged weights; the table goes to the log and a file, the pictures to a file."""

    def estimate(x: Tensor, lr: Tensor, timesteps: Tensor) -> Tensor:
        return predict(state.network, recipe, x, lr, timesteps, table)

    with state.averaged():
        rows = validator.measure(estimate, table, device)
    append_rows(folder / "validation.jsonl", iteration, rows)
    validator.grid(folder / f"validation_{iteration:06d}.png")
    log.info("%s", as_table(iteration, rows))


def _schedule(recipe: Recipe, phase: Phase) -> float:
    """Linear warm-up, then cosine decay to zero, in each phase."""
    if phase.iteration <= recipe.warmup_iterations:
        return _warm_up(recipe, phase)
    done = (phase.iteration - recipe.warmup_iterations) / max(phase.decay_iterations - recipe.warmup_iterations, 1)
    return 0.5 * (1 + math.cos(math.pi * done))


def _warm_up(recipe: Recipe, phase: Phase) -> float:
    return min(phase.iteration / max(recipe.warmup_iterations, 1), 1.0)


def _progress(
    folder: Path,
    recipe: Recipe,
    iteration: int,
    first: int,
    last: int,
    losses: list[dict[str, float]],
    started: float,
    data_s: float,
) -> None:
    elapsed_s = time.monotonic() - started
    per_s = (iteration - first) / elapsed_s
    line = {
        "iteration": iteration,
        **{name: round(sum(loss[name] for loss in losses) / len(losses), 5) for name in losses[0]},
        "images_per_s": round(per_s * recipe.phase(iteration).batch_size, 1),
        "eta_s": round((last - iteration) / per_s),
        "data_wait_share": round(data_s / elapsed_s, 4),
    }
    log.info("%s", line)
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
