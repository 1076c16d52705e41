"""What continuous batching is worth, on the same images, plans and weights.

    python jobs/benchmarks/engine.py [--quick] [--out out/bench] [--images 24] [--rounds 3]

The ways
- `continuous`: the product's engine, in the dtype and with the batch that a job would take on this device.
- `padded`: the same network, dtype and batch; every batch runs as long as its longest plan.
- `bucketed`: the same; images are sorted into one queue for each number of steps, and each queue runs in batches.
- `plain`: one image at a time in float32, as the examples of `diffusers` do it. It runs on every `--plain-every`-th
  image only and is scaled by the steps. Its network is channels last like ours, which such a loop's would not be.

The protocol
- Images are crops of the sample photographs, one tile each (64 px), in equal numbers of 0 to 15 steps, in random order,
  always the same. Those of 0 steps cost nothing anywhere and are left out. Noise is the product's own, plans are TDS.
- Loading a tile (noise, condition) is part of every way, decoding too; composing and encoding of none.
- A round is every way once, in alternating order; a figure is the median over the rounds of the ratio within a round.
  One round before them is not counted.
- `flop_share`: FLOP/s of the network in full batches, as a share of what one plain 3×3 convolution of its widest level
  at the tile's resolution reaches in the same rounds, same dtype and memory order. FLOPs are counted by torch.

Nothing else on the machine should be busy. The last line of stdout is one JSON object: continuous_vs_padded,
continuous_vs_bucketed, continuous_vs_plain (2 is twice as fast), occupancy, flop_share, warm_up_s.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measured import Row, alternate, ratio, report
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tss_ray.diffusion.noise import position_noise
from tss_ray.diffusion.sampler import ddim_step
from tss_ray.diffusion.timesteps import make_plan
from tss_ray.engine.device import default_max_batch, device_name, pick_device, pick_dtype
from tss_ray.engine.engine import Engine, EngineStats
from tss_ray.engine.runner import Runner, TileTensors
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.errors import TssRayError
from tss_ray.imaging.planes import to_planes
from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.registry import load_model
from tss_ray.spec import TileSpec
from tss_ray.storage import sample_photos

MOST_STEPS = 15


@dataclass(frozen=True)
class Bench:
    """A model on a device, and how many of its tiles share a forward."""

    model: SuperResolutionModel
    device: torch.device
    max_batch: int
    tile_px: int

    def wait(self) -> None:
        """Let the device finish."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    device, tile_px = pick_device(not arguments.cpu), arguments.tile_px
    try:
        model = load_model(arguments.model, device, pick_dtype("auto", device))
        slow = load_model(arguments.model, device, torch.float32)
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    max_batch = arguments.max_batch or default_max_batch(device)
    bench, plain = Bench(model, device, max_batch, tile_px), Bench(slow, device, 1, tile_px)
    images = make_requests(arguments.images, tile_px, model.card.num_timesteps)
    few = images[:: arguments.plain_every]
    engine = Engine(model, device, max_batch, tile_px, min(TileSpec().overlap_px, tile_px // 2))
    run_engine(engine, images[:1])  # its warm-up, once
    warm_up_s = engine.stats.warm_up_s
    ways: dict[str, Callable[[], float]] = {
        "continuous": lambda: _timed(bench, lambda: run_engine(engine, images)) / len(images),
        "padded": lambda: _timed(bench, lambda: run_padded(bench, images)) / len(images),
        "bucketed": lambda: _timed(bench, lambda: run_bucketed(bench, images)) / len(images),
        "plain": lambda: _timed(plain, lambda: run_plain(plain, few)) * _scale(images, few) / len(images),
        "network": lambda: network_flops(bench),
        "convolution": lambda: convolution_flops(bench, pick_dtype("auto", device)),
    }
    alternate(ways, 0 if arguments.quick else 1)
    before = engine.stats
    found = alternate(ways, arguments.rounds)
    figures = {
        **{f"continuous_vs_{way}": ratio(found[way], found["continuous"]) for way in ("padded", "bucketed", "plain")},
        "occupancy": _occupancy(before, engine.stats),
        "flop_share": ratio(found["network"], found["convolution"]),
        "warm_up_s": warm_up_s,
    }
    rows: list[Row] = [
        {
            "way": way,
            "round": number,
            "unit": "FLOP/s" if way in ("network", "convolution") else "s/image",
            "value": value,
        }
        for way, values in found.items()
        for number, value in enumerate(values)
    ]
    for way, values in found.items():
        print(f"{way:12} {statistics.median(values):.4g}", file=sys.stderr)
    about: Row = {"device": device_name(device), "images": len(images), "max_batch": max_batch, "tile_px": tile_px}
    print(report(arguments.out, "engine", [row | about for row in rows], figures))
    return 0


def make_requests(num_images: int, tile_px: int, num_timesteps: int) -> list[ImageRequest]:
    """Return images of one tile with 1 to 15 steps each, in random order: always the same ones."""
    rng, names, found = random.Random(0), sample_photos.names(), []
    most = min(MOST_STEPS, num_timesteps)
    steps = [number % (most + 1) for number in range(num_images)]
    rng.shuffle(steps)
    for number, num_steps in enumerate(steps):
        photo = sample_photos.reference(names[number % len(names)])
        left, top = rng.randrange(photo.width - tile_px), rng.randrange(photo.height - tile_px)
        lr = np.asarray(photo.crop((left, top, left + tile_px, top + tile_px)))
        if num_steps:
            plan = make_plan(num_timesteps, num_steps, "tds")
            found.append(ImageRequest(f"{number}", lr, plan, 0.0, 0))
    return found


def run_engine(engine: Engine, images: Sequence[ImageRequest]) -> list[Tensor]:
    """Return the tile of each image, by the product's engine."""
    futures = [Future[DenoisedImage]() for _ in images]
    for image, future in zip(images, futures, strict=True):
        engine.submit(image, future)
    while not engine.idle:
        engine.step()
    return [future.result(timeout=0).tiles[0] for future in futures]


def run_padded(bench: Bench, images: Sequence[ImageRequest]) -> list[Tensor]:
    """The same in batches of neighbours; a tile that has finished keeps its slot until the longest has."""
    found: list[Tensor] = []
    for start in range(0, len(images), bench.max_batch):
        found += _run_batch(bench, images[start : start + bench.max_batch])
    return found


def run_bucketed(bench: Bench, images: Sequence[ImageRequest]) -> list[Tensor]:
    """The same in batches of equal numbers of steps."""
    found: dict[str, Tensor] = {}
    for num_steps in sorted({image.num_steps for image in images}):
        bucket = [image for image in images if image.num_steps == num_steps]
        tiles = run_padded(bench, bucket)
        found |= {image.image_key: tile for image, tile in zip(bucket, tiles, strict=True)}
    return [found[image.image_key] for image in images]


def _run_batch(bench: Bench, images: Sequence[ImageRequest]) -> list[Tensor]:
    """Run up to a batch of images to the end of the longest plan, in the constant shape of a full batch."""
    runner = Runner(bench.model, bench.device)
    tiles = [_load(bench, runner, image) for image in images]
    plans = [torch.from_numpy(np.array(image.plan, np.int64)) for image in images]
    tables = [_coefficients(bench, image) for image in images]
    for step in range(max(image.num_steps for image in images)):
        at = [min(step, len(plan) - 1) for plan in plans]
        timesteps = torch.stack([plan[i] for plan, i in zip(plans, at, strict=True)])[:, None]
        coefficients = torch.stack([table[i] for table, i in zip(tables, at, strict=True)])[:, None]
        latents = runner.forward(tiles, bench.max_batch, timesteps, coefficients, None)
        for tile, image, x in zip(tiles, images, latents, strict=True):
            tile.x = x if step < image.num_steps else tile.x
    return runner.finish([tile.x for tile in tiles])


@torch.inference_mode()
def run_plain(bench: Bench, images: Sequence[ImageRequest]) -> list[Tensor]:
    """One image after the other, step by step."""
    found = []
    for image in images:
        lr = (to_planes(image.lr) * 2 - 1)[None].to(bench.device)
        condition, x = bench.model.condition(lr), _noise(bench, image)[None].to(bench.device)
        for timestep, c in zip(image.plan, _coefficients(bench, image).to(bench.device), strict=True):
            prediction = bench.model.predict(x, condition, torch.tensor([timestep], device=bench.device))
            x = ddim_step(x, prediction, None, c)
        found.append(bench.model.decode(x)[0].cpu())
    return found


def network_flops(bench: Bench) -> float:
    """Return FLOP/s of full batches of the network alone."""
    size, px = bench.max_batch, bench.tile_px
    x = torch.randn(size, *bench.model.latent_shape(px), device=bench.device)
    x = x.contiguous(memory_format=torch.channels_last)
    condition = bench.model.condition(torch.zeros(size, 3, px, px, device=bench.device))
    timesteps = torch.zeros(size, dtype=torch.long, device=bench.device)
    return _flops_per_second(bench, lambda: bench.model.predict(x, condition, timesteps))


@torch.inference_mode()
def convolution_flops(bench: Bench, dtype: torch.dtype) -> float:
    """Return FLOP/s of one 3×3 convolution of the network's first level, in the same number of tiles."""
    channels = bench.model.card.unet.block_out_channels[0]
    plain = nn.Conv2d(channels, channels, 3, padding=1, device=bench.device, dtype=dtype)
    plain = plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(bench.max_batch, channels, bench.tile_px, bench.tile_px, device=bench.device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    return _flops_per_second(bench, lambda: [plain(x) for _ in range(8)])


def _flops_per_second(bench: Bench, run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / min(_timed(bench, run) for _ in range(2))


def _load(bench: Bench, runner: Runner, image: ImageRequest) -> TileTensors:
    levels = torch.zeros(bench.model.latent_shape(bench.tile_px)[1:], dtype=torch.long)
    return runner.load(_noise(bench, image), to_planes(image.lr) * 2 - 1, levels)


def _noise(bench: Bench, image: ImageRequest) -> Tensor:
    return position_noise(image.image_key, image.seed, 0, 0, 0, *bench.model.latent_shape(bench.tile_px))


def _coefficients(bench: Bench, image: ImageRequest) -> Tensor:
    model = bench.model
    return model.card.transition.coefficients(image.plan, image.eta).float()


def _timed(bench: Bench, run: Callable[[], object]) -> float:
    bench.wait()
    began = time.perf_counter()
    run()
    bench.wait()
    return time.perf_counter() - began


def _scale(images: Sequence[ImageRequest], few: Sequence[ImageRequest]) -> float:
    """Return by how much more steps all images have than the few that the plain loop runs."""
    return sum(image.num_steps for image in images) / sum(image.num_steps for image in few)


def _occupancy(before: EngineStats, after: EngineStats) -> float:
    return (after.slots_useful - before.slots_useful) / (after.slots_run - before.slots_run)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Continuous batching beside padded, bucketed and plain.")
    parser.add_argument("--model", default="tss-x4-small", help="embedded name or model folder")
    parser.add_argument("--images", type=int, help="how many, those of no steps included; default: 48, quick: 16")
    parser.add_argument("--rounds", type=int, help="that are counted; default: 3, quick: 1")
    parser.add_argument("--plain-every", type=int, default=8, help="the plain loop runs every so-manieth image")
    parser.add_argument("--max-batch", type=int, help="tiles per forward; default: by device")
    parser.add_argument("--tile-px", type=int, help="side of the tiles; default: 64, quick: 32")
    parser.add_argument("--out", type=Path, help="folder for engine.parquet and engine.md")
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    arguments = parser.parse_args()
    for name, usual, quick in (("images", 48, 16), ("rounds", 3, 1), ("tile_px", 64, 32)):
        if getattr(arguments, name) is None:
            setattr(arguments, name, quick if arguments.quick else usual)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
