"""What making the training batches costs beside training on them: does the data side ever hold the processor?

    python jobs/benchmarks/train_data.py --photos photos [--recipe jobs/train_x4.yaml] [--device auto]

The protocol
- A pool of the first --num-photos photographs of the split `train`: a batch costs the same whatever the pool holds.
- Rounds alternate, so that what else runs on the machine slows both sides alike: --batches batches are made by one
  thread with nothing beside it, then --iterations iterations are trained as `tss-ray train` does, its batches made one
  ahead in a thread. The first round of each warms up and is not counted.
- Figures are wall-clock seconds, medians over the rounds. `data_share` is the ratio: below 1, a batch is ready before
  the iteration that wants it begins; on an accelerator, it is also the share of one core that the data side takes.

The table goes to stderr. The last line of stdout is one JSON object: data_seconds_per_batch,
train_seconds_per_iteration, data_share.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tss_ray.errors import TssRayError
from tss_ray.training.crops import CropPool, build_pool
from tss_ray.training.job import pick_device
from tss_ray.training.loop import make_batch, train
from tss_ray.training.photos import photos
from tss_ray.training.recipe import Recipe, load_recipe


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    try:
        recipe, device = load_recipe(arguments.recipe), pick_device(arguments.device)
        pool = build_pool(photos(arguments.photos, "train")[: arguments.num_photos], recipe.crops)
        data_s, train_s = _measure(recipe, pool, device, arguments)
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    share = data_s / train_s
    table = Table(title=f"{recipe.name}: batches of {recipe.batch_size}, training on {device}")
    for heading in ("data s/batch", "data batches/s", "train s/iteration", "data share"):
        table.add_column(heading, justify="right")
    table.add_row(f"{data_s:.4f}", f"{1 / data_s:.1f}", f"{train_s:.4f}", f"{share:.3f}")
    Console(stderr=True).print(table)
    figures = {"data_seconds_per_batch": data_s, "train_seconds_per_iteration": train_s, "data_share": share}
    print(json.dumps({name: round(value, 5) for name, value in figures.items()}))
    return 0


def _measure(recipe: Recipe, pool: CropPool, device: str, arguments: argparse.Namespace) -> tuple[float, float]:
    """Return the median seconds of a batch and of an iteration."""
    data_s, train_s = [], []
    with tempfile.TemporaryDirectory(prefix="tss-ray-train-data-") as folder:
        for done in range(arguments.rounds + 1):
            data_s.append(_data_seconds(recipe, pool, arguments.batches))
            train(recipe, pool, Path(folder), device, (done + 1) * arguments.iterations)
            train_s.append(_train_seconds(recipe, Path(folder)))
    return statistics.median(data_s[1:]), statistics.median(train_s[1:])


def _data_seconds(recipe: Recipe, pool: CropPool, num: int) -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        since = time.monotonic()
        for iteration in range(num):
            make_batch(recipe, pool, iteration)
        return (time.monotonic() - since) / num
    finally:
        torch.set_num_threads(threads)


def _train_seconds(recipe: Recipe, folder: Path) -> float:
    """Read an iteration's seconds off the last line of the log, which counts from where that call went on."""
    line = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    return float(recipe.batch_size / line["images_per_s"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "train_x4.yaml")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--num-photos", type=int, default=8)
    parser.add_argument("--batches", type=int, default=20, help="batches of a round")
    parser.add_argument("--iterations", type=int, default=10, help="training iterations of a round")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds, after one that is not")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
