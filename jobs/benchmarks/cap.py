"""Whether a run lands on its cap by the clock, on a machine whose speed drifts.

    python jobs/benchmarks/cap.py [--photos photos] [--images 500] [--sample 50] [--seed 0] [--out out/bench] [--quick]

The protocol
- The set: as many different images of 64 to 160 px (--sides) as asked for, cut from the sample photographs and, with
  --photos, from those in that folder, each reduced by two to four; every tenth is a flat ground with a disc. Another
  --seed makes another set.
- `tss-ray plan` runs every rung of the ladder on --sample of them. The cap is halfway between the least and the most
  that its frontier takes. `tss-ray upscale --budget` runs all images under it, first with the controller, then, for
  comparison, with `--no-controller`. Every command is a process of its own.
- The drift is real: during a run processes spin and pause in turns of --drift-s seconds, one fewer than there are
  cores (at least one). With one for each core, threads that work together wait for each other's turns on top: blocks
  in flight then took 7 to 18 times as long, a turn cost up to a third of a cap, and none could have been kept.
- `cap_error`: device-seconds of all rows over the cap, less 1; `cap_error_without`: the same without the controller.

The last line of stdout is one JSON object: cap_error, cap_error_without, cap_s, images, mean_steps, mean_steps_without.
"""

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from measured import Row, report
from PIL import Image, ImageDraw

from tss_ray.budget.files import read_calibration
from tss_ray.budget.planning import Goal, Terms, solve
from tss_ray.storage import sample_photos

_FLAT_EVERY = 10


def main() -> int:
    """Plan, run twice, report, and return the exit code."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "in", arguments)
        tss_ray("plan", folder / "in", "--sample", arguments.sample, "--out", folder / "first")
        problem = solve(read_calibration(folder / "first" / "calibration.parquet"), Goal("best"), Terms()).problem
        cap_s = (problem.least.cost + problem.most.cost) / 2
        measured = ("--calibration", folder / "first" / "calibration.parquet", "--max-device-hours", cap_s / 3600)
        tss_ray("plan", folder / "in", *measured, "--out", folder / "plan")
        rows = [run(folder, how, cap_s, arguments.drift_s) for how in ("with", "without")]
    controlled, plain = rows
    figures: Row = {"cap_error": controlled["error"], "cap_error_without": plain["error"], "cap_s": cap_s}
    figures |= {"images": controlled["images"], "mean_steps": controlled["mean_steps"]}
    figures["mean_steps_without"] = plain["mean_steps"]
    print(report(arguments.out, "cap", rows, figures))
    return 0


def run(folder: Path, controller: str, cap_s: float, drift_s: float) -> Row:
    """Upscale everything under the cap while the machine drifts."""
    began, out = time.perf_counter(), folder / controller
    options = ["--no-controller"] if controller == "without" else []
    with drifting(drift_s):
        tss_ray("upscale", folder / "in", out, "--budget", folder / "plan" / "plan.json", *options)
    table = pq.read_table(out / "manifest", columns=["device_seconds", "num_steps"])
    device_s = pc.sum(table["device_seconds"]).as_py()
    row: Row = {"controller": controller, "images": table.num_rows, "device_s": device_s, "cap_s": cap_s}
    row |= {"error": device_s / cap_s - 1, "mean_steps": pc.mean(table["num_steps"]).as_py()}
    row["wall_s"] = time.perf_counter() - began
    print(row, file=sys.stderr)
    return row


def tss_ray(*arguments: object) -> None:
    """Run a command; anything but an end with code 0 ends the benchmark."""
    call = [sys.executable, "-c", "from tss_ray.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{arguments[0]} ended with {done.returncode}:\n{done.stderr[-3000:]}")


@contextmanager
def drifting(turn_s: float) -> Iterator[None]:
    """Have all cores but one share their time with processes that spin and pause in turns; 0: nothing drifts."""
    spinning, num = multiprocessing.get_context("spawn"), max(1, (os.cpu_count() or 1) - 1)
    processes = [spinning.Process(target=_spin, args=(turn_s,), daemon=True) for _ in range(num)]
    for process in processes if turn_s else ():
        process.start()
    try:
        yield
    finally:
        for process in processes if turn_s else ():
            process.terminate()
            process.join()


def _spin(turn_s: float) -> None:
    while True:
        time.sleep(turn_s)
        until = time.monotonic() + turn_s
        while time.monotonic() < until:
            pass


def write_images(folder: Path, arguments: argparse.Namespace) -> None:
    """Write the set; the same for the same photographs, sides and seed."""
    chance, photos = random.Random(arguments.seed), arguments.photos
    least_px, most_px = map(int, arguments.sides.split(","))
    pictures = [sample_photos.reference(name) for name in sample_photos.names()]
    for path in sorted(photos.rglob("*.jpg"))[:60] if photos else ():
        with Image.open(path) as picture:
            pictures.append(picture.convert("RGB"))
    folder.mkdir()
    for number in range(arguments.images):
        width, height = (chance.randint(least_px, most_px) for _ in range(2))
        if number % _FLAT_EVERY == 0:
            image = Image.new("RGB", (width, height), tuple(chance.randint(40, 220) for _ in range(3)))
            ImageDraw.Draw(image).ellipse((8, 8, width // 2, height // 2), "white")
        else:
            image = _crop(chance, chance.choice(pictures), width, height)
        image.save(folder / f"{number:05d}.png")


def _crop(chance: random.Random, picture: Image.Image, width: int, height: int) -> Image.Image:
    by = min(chance.randint(2, 4), picture.width // width, picture.height // height)
    left, top = chance.randint(0, picture.width - by * width), chance.randint(0, picture.height - by * height)
    return picture.crop((left, top, left + by * width, top + by * height)).reduce(by)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A cap, kept by the clock.")
    parser.add_argument("--photos", type=Path, help="a folder of photographs (.jpg) besides the samples")
    parser.add_argument("--images", type=int, help="default: 500, quick: 40")
    parser.add_argument("--sample", type=int, help="images that the calibration runs; default: 50, quick: 10")
    parser.add_argument("--sides", default="64,160", help="px, at least and at most: smaller ones take less time")
    parser.add_argument("--seed", type=int, default=0, help="of the set")
    parser.add_argument("--drift-s", type=float, default=15.0, help="0: the machine is left alone")
    parser.add_argument("--out", type=Path, help="folder for cap.parquet and cap.md")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    arguments = parser.parse_args()
    arguments.images = arguments.images or (40 if arguments.quick else 500)
    arguments.sample = arguments.sample or (10 if arguments.quick else 50)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
