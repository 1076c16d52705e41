"""What a timestep for every position costs: a forward with a map of levels beside one without, in turns."""

import statistics
import time
from collections.abc import Callable

import torch

from tss_ray.models.base import SuperResolutionModel
from tss_ray.spec import PlanSpec, TileSpec

_LEVELS = PlanSpec.model_fields["levels"].default


def sds_overhead(model: SuperResolutionModel, device: torch.device, max_batch: int, rounds: int) -> float:
    """Return the median seconds of a forward with a level map, by those of one without: batches of default tiles.

    The two take turns, so that what else runs on the machine slows both alike; the first of each is not counted.
    """
    tile_px = TileSpec().tile_px
    x = torch.randn(max_batch, *model.latent_shape(tile_px), device=device)
    condition = model.condition(torch.zeros(max_batch, 3, tile_px, tile_px, device=device))
    last = model.card.num_timesteps - 1
    timesteps = torch.linspace(last, 0, _LEVELS, device=device).long().expand(max_batch, -1)
    levels = torch.randint(_LEVELS, (max_batch, *x.shape[2:]), device=device)
    plain: list[float] = []
    mapped: list[float] = []
    for _ in range(rounds + 1):
        plain.append(_seconds(lambda: model.predict(x, condition, timesteps[:, 0]), device))
        mapped.append(_seconds(lambda: model.predict(x, condition, timesteps, levels), device))
    return statistics.median(mapped[1:]) / statistics.median(plain[1:])


def _seconds(forward: Callable[[], object], device: torch.device) -> float:
    since = time.perf_counter()
    forward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - since
