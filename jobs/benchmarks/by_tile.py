"""What an image gains by dealing its steps out to its tiles by texture, the number of evaluations being the same.

    python jobs/benchmarks/by_tile.py --photos photos [--limit 18] [--steps 2,4,7]

The protocol
- The middle, at most 1024 px a side, of every held-out photograph of at least 384 px at the size it is measured at,
  reduced by 4 with the package's bicubic: 4 to 25 tiles. It is enlarged twice by the product's own engine, with the
  same steps for every tile and with `budget.by_tile` of the policy `fixed`; evaluations must agree to one in a hundred.
- Gains are of the second over the first: psnry and ssim in dB and units against the original, niqe (lower is better)
  where its parameters are at hand, `detail` of the package. The 95% bootstrap interval is over photographs.
- `uneven`: the mean over images of the standard deviation of steps over tiles, in steps.

The table goes to stderr. The last line of stdout is one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from bootstrap import interval
from numpy.typing import NDArray
from quality_model import run
from rich.console import Console
from rich.table import Table

from tss_ray.engine.compose import compose
from tss_ray.engine.device import default_max_batch, pick_device, pick_dtype
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.imaging.planes import to_pixels, to_planes
from tss_ray.imaging.resample import downsample
from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.registry import load_model
from tss_ray.pipeline.plans import row_request
from tss_ray.quality.detail import detail_score
from tss_ray.quality.metrics import Metric, metric
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec
from tss_ray.training.photos import measured_size, open_photo, photos

_LEAST_PX, _MOST_PX, _UNIT_PX = 384, 1024, 4
_SAME_NFE = 0.01
_COMPARING, _ALONE = ("psnry", "ssim"), ("niqe",)


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    device = pick_device(not arguments.cpu)
    model = load_model(arguments.model, device, pick_dtype("auto", device))
    chosen = _crops(arguments.photos, arguments.limit)
    if not chosen:
        print(f"{arguments.photos} holds no held-out photograph of {_LEAST_PX} px; give larger ones", file=sys.stderr)
        return 2
    measures = {name: made for name in (*_COMPARING, *_ALONE) if (made := metric(name)) is not None}
    figures: dict[str, object] = {"photos": len(chosen)}
    for num_steps in map(int, arguments.steps.split(",")):
        gains: dict[str, list[float]] = {}
        for photo, pixels in chosen.items():
            for name, value in _gains(model, device, photo, pixels, num_steps, measures).items():
                gains.setdefault(name, []).append(value)
        figures |= _report(num_steps, gains)
    print(json.dumps(figures))
    return 0


def _gains(
    model: SuperResolutionModel,
    device: torch.device,
    photo: str,
    pixels: NDArray[np.uint8],
    num_steps: int,
    measures: dict[str, Metric],
) -> dict[str, float]:
    """Return what dealing the steps out gains on one photograph, and how uneven they were."""
    hr = to_planes(pixels)
    lr = to_pixels(downsample(hr[None], model.card.scale)[0])
    even, dealt = (_denoised(model, device, photo, lr, num_steps, by_tile) for by_tile in (False, True))
    plans = dealt.request.tile_plans
    if plans is None or not 0 <= 1 - dealt.nfe / even.nfe <= _SAME_NFE:
        raise SystemExit(f"{photo}: {dealt.nfe} evaluations beside {even.nfe}; this compares nothing")
    found = []
    for denoised in (even, dealt):
        sr = to_planes(compose(denoised, model.card.scale))
        values = {name: made(sr, hr if name in _COMPARING else None) for name, made in measures.items()}
        found.append(values | {"detail": detail_score(sr, to_planes(lr)).score})
    return {name: found[1][name] - found[0][name] for name in found[0]} | {"uneven": float(np.std([*map(len, plans)]))}


def _denoised(
    model: SuperResolutionModel, device: torch.device, name: str, lr: NDArray[np.uint8], num_steps: int, by_tile: bool
) -> DenoisedImage:
    settings = {"policy": "fixed", "num_steps": num_steps, "by_tile": by_tile}
    spec = JobSpec.model_validate({"input": "in", "output": "out", "budget": settings})
    engine = Engine(model, device, default_max_batch(device), spec.tiles.tile_px, spec.tiles.overlap_px)
    row = ManifestRow(image_key=name, input_uri="", spec_hash="", num_steps=num_steps)
    request: ImageRequest = row_request(spec, model.card, row, lr, engine.grid)
    return run([request], engine)[0]


def _crops(folder: Path, limit: int) -> dict[str, NDArray[np.uint8]]:
    """Return the middle (h,w,3) of at most `limit` held-out photographs that are large enough, by name."""
    large = {}
    for path in photos(folder, "heldout"):
        photo = measured_size(open_photo(path))
        if min(photo.size) >= _LEAST_PX:
            width, height = (min(_MOST_PX, side // _UNIT_PX * _UNIT_PX) for side in photo.size)
            left, top = (photo.width - width) // 2, (photo.height - height) // 2
            large[path.name] = np.array(photo.crop((left, top, left + width, top + height)))
    return dict(list(large.items())[:: max(1, len(large) // limit)][:limit])


def _report(num_steps: int, gains: dict[str, list[float]]) -> dict[str, object]:
    table = Table(title=f"{num_steps} steps, gains by dealing them out")
    for heading in ("figure", "mean", "from", "to"):
        table.add_column(heading, justify="right")
    figures: dict[str, object] = {}
    for name, values in gains.items():
        if (found := interval(values)) is None:
            raise SystemExit("one photograph has no interval; give more, or a larger --limit")
        table.add_row(name, *(f"{each:+.4f}" for each in (found.mean, found.low, found.high)))
        figures[f"{name}_{num_steps}"] = [round(each, 4) for each in (found.mean, found.low, found.high)]
    Console(stderr=True).print(table)
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What budgets by tile are worth.")
    parser.add_argument("--photos", type=Path, required=True, help=f"folder of photographs of {_LEAST_PX} px and more")
    parser.add_argument("--limit", type=int, default=18, help="how many of them")
    parser.add_argument("--steps", default="2,4,7", help="steps of an image, on average over its tiles")
    parser.add_argument("--model", default="tss-x4-small", help="embedded name or model folder")
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
