"""What a timestep for every position costs over the ordinary forward, of one model on one device.

    python jobs/benchmarks/spatial_embedding.py [--model tss-x4-small] [--rounds 15]

The protocol
- One batch of tiles as a job runs it: the default tile, dtype and tiles per forward of the device, or --max-batch.
- Levels are drawn at random for every position, so that nothing is to be gained from neighbours that agree, and every
  level has a timestep of its own.
- A round is one ordinary and one spatial pass, next to each other, in alternating order, so that what else runs on the
  machine slows both alike. The first rounds (--warm-up) are not counted. A figure is the median over the rounds of the
  ratio within a round, less one.
- `forward` is the network alone (`predict`); `step` is the engine's whole step: tables to the device, forward, update.

The table goes to stderr. The last line of stdout is one JSON object: sds_overhead (of forward) and sds_step_overhead,
both 0.05 for 5%, and the seconds they are made of. Nothing else on the machine should be busy.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from tss_ray.engine.device import default_max_batch, device_name, pick_device, pick_dtype
from tss_ray.engine.runner import Runner
from tss_ray.errors import TssRayError
from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.registry import load_model
from tss_ray.spec import PlanSpec, TileSpec

Pass = Callable[[], object]


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    device = pick_device(not arguments.cpu)
    try:
        model = load_model(arguments.model, device, pick_dtype("auto", device))
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    max_batch = arguments.max_batch or default_max_batch(device)
    table = Table(title=f"{model.card.model_id}, {max_batch} tiles, {arguments.levels} levels, {device_name(device)}")
    for heading in ("", "ordinary s", "spatial s", "overhead"):
        table.add_column(heading, justify="right")
    figures: dict[str, float] = {}
    with torch.inference_mode():
        for name, key, passes in (
            ("forward", "sds_overhead", _forwards(model, device, max_batch, arguments.levels)),
            ("step", "sds_step_overhead", _steps(model, device, max_batch, arguments.levels)),
        ):
            ordinary_s, spatial_s, overhead = _measure(*passes, device, arguments.rounds, arguments.warm_up)
            table.add_row(name, f"{ordinary_s:.4f}", f"{spatial_s:.4f}", f"{overhead:+.1%}")
            figures |= {key: overhead, f"{name}_seconds": ordinary_s, f"sds_{name}_seconds": spatial_s}
    Console(stderr=True).print(table)
    print(json.dumps({name: round(value, 5) for name, value in figures.items()}))
    return 0


@torch.inference_mode()
def forward_overhead(
    model: SuperResolutionModel, device: torch.device, max_batch: int, rounds: int, warm_up: int
) -> float:
    """Return what a level for every position adds to a forward, as a share of it: 0.05 for 5%."""
    return _measure(*_forwards(model, device, max_batch, PlanSpec().levels), device, rounds, warm_up)[2]


def _forwards(model: SuperResolutionModel, device: torch.device, max_batch: int, num_levels: int) -> tuple[Pass, Pass]:
    """Return the ordinary and the spatial forward of one and the same batch."""
    tile_px, generator = TileSpec().tile_px, torch.Generator().manual_seed(0)
    shape = (max_batch, *model.latent_shape(tile_px))
    x = torch.randn(shape, generator=generator).to(device)
    condition = model.condition(torch.rand((max_batch, 3, tile_px, tile_px), generator=generator).to(device) * 2 - 1)
    timesteps, levels = _timesteps(model, max_batch, num_levels).to(device), _levels(shape, num_levels).to(device)
    return (
        lambda: model.predict(x, condition, timesteps[:, 0]),
        lambda: model.predict(x, condition, timesteps, levels),
    )


def _steps(model: SuperResolutionModel, device: torch.device, max_batch: int, num_levels: int) -> tuple[Pass, Pass]:
    """Return an engine's step without levels and with them."""
    return _step(model, device, max_batch, 1), _step(model, device, max_batch, num_levels)


def _step(model: SuperResolutionModel, device: torch.device, max_batch: int, num_levels: int) -> Pass:
    tile_px = TileSpec().tile_px
    runner = Runner(model, device)
    shape = model.latent_shape(tile_px)
    levels = _levels((max_batch, *shape), num_levels)
    tiles = [
        runner.load(torch.zeros(shape), torch.zeros(3, tile_px, tile_px), levels[number]) for number in range(max_batch)
    ]
    timesteps = _timesteps(model, max_batch, num_levels)
    plans = torch.stack([timesteps, timesteps // 2]).flatten(1).numpy()
    coefficients = model.card.transition.coefficients(plans, 0.0)[0].float()
    return lambda: runner.forward(tiles, max_batch, timesteps, coefficients.reshape(max_batch, num_levels, -1), None)


def _timesteps(model: SuperResolutionModel, max_batch: int, num_levels: int) -> torch.Tensor:
    """Return (B,L) timesteps, all different as far as there are enough."""
    num = max_batch * num_levels
    return torch.linspace(model.card.num_timesteps - 1, 1, num).long().reshape(num_levels, max_batch).T.contiguous()


def _levels(shape: tuple[int, ...], num_levels: int) -> torch.Tensor:
    """Return (B,h,w) random levels."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, num_levels, (shape[0], *shape[2:]), generator=generator)


def _measure(
    ordinary: Pass, spatial: Pass, device: torch.device, rounds: int, warm_up: int
) -> tuple[float, float, float]:
    """Return the median seconds of both, and the median over the rounds of their ratio, less one."""
    seconds: list[tuple[float, float]] = []
    for number in range(warm_up + rounds):
        order = (ordinary, spatial) if number % 2 else (spatial, ordinary)
        taken = {each: _seconds(each, device) for each in order}
        seconds.append((taken[ordinary], taken[spatial]))
    counted = seconds[warm_up:]
    ratio = statistics.median(b / a for a, b in counted)
    return statistics.median(a for a, _ in counted), statistics.median(b for _, b in counted), ratio - 1


def _seconds(run: Pass, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    since = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - since


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The cost of a timestep for every position.")
    parser.add_argument("--model", default="tss-x4-small", help="embedded name or model folder")
    parser.add_argument("--rounds", type=int, default=15, help="pairs of passes that are counted")
    parser.add_argument("--warm-up", type=int, default=2, help="pairs before them that are not")
    parser.add_argument("--max-batch", type=int, help="tiles per forward; default: by device")
    parser.add_argument("--levels", type=int, default=PlanSpec().levels, help="levels of texture")
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
