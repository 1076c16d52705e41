"""How far the mean colour of a region moves in what a working model makes: what the gates' threshold is held against.

    python jobs/benchmarks/gates.py --photos photos [--steps 1,4,15]

The protocol
- The middle 256x256 px of every photograph of the folder, at the size it is measured at, reduced by the model's scale
  with the package's bicubic, and once more with the white noise of budget.py (std 0.05). Smaller ones are left out.
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
from budget import noisy
from numpy.typing import NDArray
from quality_model import run
from rich.console import Console
from rich.table import Table

from tss_ray.engine.compose import Composition
from tss_ray.engine.device import default_max_batch, pick_device, pick_dtype
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage
from tss_ray.errors import TssRayError
from tss_ray.imaging.planes import to_pixels, to_planes
from tss_ray.imaging.resample import downsample
from tss_ray.models.registry import load_model
from tss_ray.pipeline.plans import image_request
from tss_ray.quality.gates import MAX_SHIFT, refusal, worst_shift
from tss_ray.spec import JobSpec, PlanSpec
from tss_ray.training.photos import listed, measured_size, open_photo

_CROP_PX = 256


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    try:
        device = pick_device(True)
        model = load_model(arguments.model, device, pick_dtype("auto", device))
        scale = model.card.scale
        inputs = dict(_inputs(arguments.photos, scale))
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if not inputs:
        print(f"{arguments.photos} holds no listed photograph of {_CROP_PX} px; run jobs/train_x4.py", file=sys.stderr)
        return 2
    engine = Engine(model, device, default_max_batch(device), _CROP_PX // scale, 0)
    found: dict[str, tuple[float, str | None]] = {}
    table = Table(title=f"{arguments.model} on {device}, {len(inputs)} inputs")
    for heading in ("steps", "mean shift", "largest", "refused"):
        table.add_column(heading, justify="right")
    for num_steps in arguments.steps:
        requests = [
            image_request(PlanSpec(), model.card.num_timesteps, name, lr, num_steps, 0) for name, lr in inputs.items()
        ]
        judged = {
            f"{image.request.image_key}, steps {num_steps}": _judge(image, scale) for image in run(requests, engine)
        }
        shifts = [shift for shift, _ in judged.values()]
        table.add_row(str(num_steps), f"{np.mean(shifts):.4f}", f"{max(shifts):.4f}", str(_refused(judged)))
        found |= judged
    Console(stderr=True).print(table)
    worst = max(found, key=lambda name: found[name][0])
    figures = {
        "inputs": len(inputs),
        "outputs": len(found),
        "refused": _refused(found),
        "largest_shift": round(found[worst][0], 4),
        "largest_in": worst,
        "allowed": MAX_SHIFT,
    }
    print(json.dumps(figures))
    return 0


def _judge(image: DenoisedImage, scale: int) -> tuple[float, str | None]:
    """Return the largest shift of a region of an output, and why it would be refused, or None."""
    composition = Composition(image, scale)
    added = composition.added()
    return worst_shift(added, composition.lr), refusal(image.tiles, added, composition.reduced(), composition.lr)


def _refused(judged: dict[str, tuple[float, str | None]]) -> int:
    return sum(why is not None for _, why in judged.values())


def _inputs(folder: Path, scale: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield a name and pixels (h,w,3) uint8: each crop clean, then noisy."""
    for path in (folder / photo.name for photo in listed()):
        if not path.exists():
            continue
        photo = measured_size(open_photo(path))
        left, top = (photo.width - _CROP_PX) // 2, (photo.height - _CROP_PX) // 2
        if min(left, top) < 0:
            continue
        crop = np.asarray(photo.crop((left, top, left + _CROP_PX, top + _CROP_PX)))
        clean = to_pixels(downsample(to_planes(crop)[None], scale)[0])
        yield path.name, clean
        yield f"{path.name}, noisy", noisy(clean, path.name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--model", default=JobSpec.model_fields["model"].default, help="embedded name or model folder")
    parser.add_argument("--steps", type=lambda text: [int(part) for part in text.split(",")], default=[1, 4, 15])
    return parser.parse_args()


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    sys.exit(main())
