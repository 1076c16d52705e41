"""How far the mean colour of a region moves in what a working model makes: what the gates' threshold is held against.

    python jobs/benchmarks/gates.py --photos photos [--steps 1,4,15] [--limit 20]

The protocol
- The middle 256x256 px of every photograph of the folder, at the size it is measured at, reduced by the model's scale
  with the package's bicubic; and each once more with white noise of std 12/255. Smaller photographs are left out.
- Each goes through the product's own engine with the default plan at every number of steps. `shift` is
  `tss_ray.quality.gates.worst_shift`, in [0,1]; `refused` counts the outputs that the gates would keep from upload.

The table goes to stderr. The last line of stdout is one JSON object: inputs, outputs, refused, largest_shift with the
output that has it, and the shift that is allowed.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from quality_model import run
from rich.console import Console
from rich.table import Table

from tss_ray.diffusion.timesteps import make_plan
from tss_ray.engine.compose import Composition
from tss_ray.engine.device import default_max_batch, pick_device, pick_dtype
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.errors import TssRayError
from tss_ray.imaging.planes import to_pixels, to_planes
from tss_ray.imaging.resample import downsample
from tss_ray.models.registry import load_model
from tss_ray.quality.gates import MAX_SHIFT, refusal, worst_shift
from tss_ray.spec import JobSpec, PlanSpec
from tss_ray.training.photos import listed, measured_size, open_photo

_CROP_PX, _NOISE_STD = 256, 12


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    try:
        device = pick_device(True)
        model = load_model(arguments.model, device, pick_dtype("auto", device))
        scale = model.card.scale
        inputs = dict(_inputs(arguments.photos, scale, arguments.limit))
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if not inputs:
        print(f"{arguments.photos} holds no listed photograph of {_CROP_PX} px; run jobs/train_x4.py", file=sys.stderr)
        return 2
    plan = PlanSpec()
    engine = Engine(model, device, default_max_batch(device), _CROP_PX // scale, 0)
    shifts: dict[str, float] = {}
    refused = 0
    table = Table(title=f"{arguments.model} on {device}, {len(inputs)} inputs")
    for heading in ("steps", "mean shift", "largest", "refused"):
        table.add_column(heading, justify="right")
    for num_steps in arguments.steps:
        timesteps = make_plan(model.card.num_timesteps, num_steps, plan.family, plan.a, plan.n)
        requests = [ImageRequest(name, lr, timesteps, eta=plan.eta, seed=0) for name, lr in inputs.items()]
        judged = {image.request.image_key: _judge(image, scale) for image in run(requests, engine)}
        own = [shift for shift, _ in judged.values()]
        refused_here = sum(why is not None for _, why in judged.values())
        refused += refused_here
        shifts |= {f"{name}, steps {num_steps}": shift for name, (shift, _) in judged.items()}
        table.add_row(str(num_steps), f"{np.mean(own):.4f}", f"{max(own):.4f}", str(refused_here))
    Console(stderr=True).print(table)
    worst = max(shifts, key=lambda name: shifts[name])
    figures = {"inputs": len(inputs), "outputs": len(shifts), "refused": refused}
    print(json.dumps(figures | {"largest_shift": round(shifts[worst], 4), "largest_in": worst, "allowed": MAX_SHIFT}))
    return 0


def _judge(image: DenoisedImage, scale: int) -> tuple[float, str | None]:
    """Return the largest shift of a region of an output, and why it would be refused, or None."""
    composition = Composition(image, scale)
    added = composition.added()
    return worst_shift(added, composition.lr), refusal(image.tiles, added, composition.reduced(), composition.lr)


def _inputs(folder: Path, scale: int, limit: int | None) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield a name and pixels (h,w,3) uint8: each crop clean, then with noise that follows from its name's place."""
    there = [folder / photo.name for photo in listed() if (folder / photo.name).exists()]
    for index, path in enumerate(there[:limit]):
        photo = measured_size(open_photo(path))
        left, top = (photo.width - _CROP_PX) // 2, (photo.height - _CROP_PX) // 2
        if min(left, top) < 0:
            continue
        crop = np.asarray(photo.crop((left, top, left + _CROP_PX, top + _CROP_PX)))
        clean = to_pixels(downsample(to_planes(crop)[None], scale)[0])
        yield path.name, clean
        noise = np.random.default_rng(index).normal(0, _NOISE_STD, clean.shape)
        yield f"{path.name}, noisy", (clean + noise).round().clip(0, 255).astype(np.uint8)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--model", default=JobSpec.model_fields["model"].default, help="embedded name or model folder")
    parser.add_argument("--steps", type=lambda text: [int(part) for part in text.split(",")], default=[1, 4, 15])
    parser.add_argument("--limit", type=int, help="photographs, at most")
    return parser.parse_args()


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    sys.exit(main())
