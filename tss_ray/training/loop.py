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
from tss_ray.diffusion.prediction import add_noise, v_target
from tss_ray.errors import TrainingError
from tss_ray.models.residual_unet import build_unet, residual_latent
from tss_ray.training.checkpoint import checkpoint, export, resume
from tss_ray.training.crops import CropPool
from tss_ray.training.degrade import degrade
from tss_ray.training.recipe import Recipe

log = logging.getLogger(__name__)


def train(recipe: Recipe, pool: CropPool, folder: Path, device: str, stop_at: int | None = None) -> Path:
    """Train to `recipe.iterations` (or `stop_at`), going on from the newest checkpoint in `folder`.

    Returns the path of the exported EMA weights (bf16 safetensors). Raises TrainingError if the checkpoint belongs to
    another recipe or is damaged, or if the loss is no longer finite; the last checkpoint is then still whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay the caller's
        torch.manual_seed(recipe.seed)
        shape = recipe.unet
        network = build_unet(recipe.scale, shape.block_out_channels, shape.layers_per_block, shape.norm_num_groups)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    ema = {name: value.detach().clone() for name, value in network.state_dict().items()}
    first = resume(folder / "checkpoint.pt", recipe, network, optimiser, ema)
    table = cosine_alphas_cumprod(recipe.num_timesteps)
    last = recipe.iterations if stop_at is None else min(stop_at, recipe.iterations)
    if first:
        export(folder, recipe, ema)  # a kill between checkpoint and weights leaves the weights one checkpoint behind
    started, data_s, losses = time.monotonic(), 0.0, []
    for iteration, batch, waited_s in _batches(recipe, pool, first, last):
        loss = _step(recipe, network, optimiser, table, batch, iteration, device)
        decay = min(recipe.ema_decay, (1 + iteration) / (10 + iteration))
        with torch.no_grad():
            for name, value in network.state_dict().items():
                ema[name].lerp_(value, 1 - decay)
        losses.append(loss)
        data_s += waited_s
        if not math.isfinite(loss):
            raise TrainingError(
                f"loss is {loss} at iteration {iteration}; lower learning_rate and start again in another folder"
            )
        if iteration % 50 == 0 or iteration == last:
            _progress(folder, recipe, iteration, first, last, losses, started, data_s)
            losses = losses[-200:]
        if iteration % recipe.checkpoint_every == 0 or iteration == last:
            checkpoint(folder, recipe, iteration, network, optimiser, ema)
    return folder / "model.safetensors"


def make_batch(recipe: Recipe, pool: CropPool, iteration: int) -> tuple[Tensor, Tensor]:
    """Return z0 (B,3·scale²,h,w) and lr (B,3,h,w) in [-1,1] of one iteration, a pure function of seed and iteration."""
    rng = np.random.default_rng([recipe.seed, iteration])
    hr = pool.draw(recipe.batch_size, rng)
    lr = degrade(hr, recipe.scale, recipe.degradation, rng)
    hr, lr = hr * 2 - 1, lr * 2 - 1
    z0 = residual_latent(hr, lr, recipe.scale, recipe.residual_scale)
    edge = recipe.crops.margin_px // recipe.scale
    inside = slice(edge, lr.shape[-1] - edge)
    return z0[..., inside, inside], lr[..., inside, inside]


def _batches(
    recipe: Recipe, pool: CropPool, first: int, last: int
) -> Iterator[tuple[int, tuple[Tensor, Tensor], float]]:
    """Make the batches one ahead in a thread; also yield the seconds that training waited for each."""
    if first >= last:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="crops") as thread:
        coming = thread.submit(make_batch, recipe, pool, first + 1)
        for iteration in range(first + 1, last + 1):
            since = time.monotonic()
            batch = coming.result()
            waited_s = time.monotonic() - since
            if iteration < last:
                coming = thread.submit(make_batch, recipe, pool, iteration + 1)
            yield iteration, batch, waited_s


def _step(
    recipe: Recipe,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    table: Tensor,
    batch: tuple[Tensor, Tensor],
    iteration: int,
    device: str,
) -> float:
    z0, lr = (x.to(device).contiguous(memory_format=torch.channels_last) for x in batch)
    rng = torch.Generator().manual_seed(recipe.seed * 1_000_003 + iteration)
    timesteps = torch.randint(0, recipe.num_timesteps, (z0.shape[0],), generator=rng)
    eps = torch.randn(z0.shape, generator=rng).to(device)
    a = table[timesteps].float().to(device)[:, None, None, None]
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * _schedule(recipe, iteration)
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        prediction = network(torch.cat([add_noise(z0, eps, a), lr], 1), timesteps.to(device)).sample
    loss = _loss(recipe, prediction.float(), z0, eps, a)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), recipe.max_grad_norm)
    optimiser.step()
    return loss.item()


def _loss(recipe: Recipe, prediction: Tensor, z0: Tensor, eps: Tensor, a: Tensor) -> Tensor:
    """Return the mean squared error of the target, for x0 weighted by the clipped signal-to-noise ratio.

    Truncated below at 1 as in Salimans & Ho (arXiv 2202.00512), so that the one-step end is learned; capped above as in
    Hang et al., "Min-SNR" (arXiv 2303.09556), so that the nearly clean end does not drown the rest.
    """
    if recipe.prediction_type == "v":
        return torch.nn.functional.mse_loss(prediction, v_target(z0, eps, a))
    weight = (a / (1 - a)).clamp(1, recipe.snr_weight_cap)
    return (weight * (prediction - z0) ** 2).mean()


def _schedule(recipe: Recipe, iteration: int) -> float:
    """Linear warm-up, then cosine decay to zero."""
    if iteration <= recipe.warmup_iterations:
        return iteration / max(recipe.warmup_iterations, 1)
    done = (iteration - recipe.warmup_iterations) / max(recipe.iterations - recipe.warmup_iterations, 1)
    return 0.5 * (1 + math.cos(math.pi * done))


def _progress(
    folder: Path,
    recipe: Recipe,
    iteration: int,
    first: int,
    last: int,
    losses: list[float],
    started: float,
    data_s: float,
) -> None:
    elapsed_s = time.monotonic() - started
    per_s = (iteration - first) / elapsed_s
    line = {
        "iteration": iteration,
        "loss": round(sum(losses) / len(losses), 5),
        "images_per_s": round(per_s * recipe.batch_size, 1),
        "eta_s": round((last - iteration) / per_s),
        "data_wait_share": round(data_s / elapsed_s, 4),
    }
    log.info("%s", line)
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
