"""How far colours drift, and what each correction makes of it, on photographs reduced by 4.

    python jobs/benchmarks/colour.py --photos photos [--limit 12] [--steps 4]

The protocol
- A crop of 512 px from the middle of every photograph, reduced to 128 by the package's bicubic, is enlarged again by
  the product's own engine with the default plan and so many steps.
- The same denoised tiles are composed with each correction; the original is the yardstick of PSNR.
- colour_delta_e and LR consistency are what a manifest row holds. ± is half a 95% bootstrap interval over photographs.

The table goes to stderr. The last line of stdout is one JSON object of means.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from quality_model import run
from rich.console import Console
from rich.table import Table

from tss_ray.diffusion.timesteps import make_plan
from tss_ray.engine.compose import Composition
from tss_ray.engine.device import pick_device, pick_dtype
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import ImageRequest
from tss_ray.imaging.correct import Correction, colour_shift
from tss_ray.imaging.planes import to_pixels, to_planes
from tss_ray.imaging.resample import downsample
from tss_ray.models.registry import load_model
from tss_ray.quality.colour_delta import colour_delta_e
from tss_ray.quality.psnr import psnr
from tss_ray.spec import PlanSpec, TileSpec

_CROP_PX, _MAX_BATCH = 512, 8
_COLUMNS = ("psnr", "lr_consistency", "delta_e")


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    device = pick_device(not arguments.cpu)
    model = load_model(arguments.model, device, pick_dtype("auto", device))
    tiles, plan = TileSpec(), PlanSpec()
    engine = Engine(model, device, _MAX_BATCH, tiles.tile_px, tiles.overlap_px)
    timesteps = make_plan(model.card.num_timesteps, arguments.steps, plan.family, plan.a, plan.n)
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in get_args(Correction)}
    for path in _photos(arguments.photos, arguments.limit):
        hr = to_planes(_crop(path))
        lr = to_pixels(downsample(hr[None], model.card.scale)[0])
        (denoised,) = run([ImageRequest(path.name, lr, timesteps, eta=plan.eta, seed=0)], engine)
        for correction in get_args(Correction):
            composition = Composition(denoised, model.card.scale)
            shift = colour_shift(composition.added(), correction)
            if shift is not None:
                composition.add(shift)
            reduced, sr = composition.reduced(), composition.rows(0, composition.height).clamp(0, 1)
            found[correction].append(
                (psnr(sr, hr), psnr(reduced, composition.lr), colour_delta_e(reduced, composition.lr))
            )
    _report(found, arguments.steps)
    return 0


def _photos(folder: Path, limit: int) -> list[Path]:
    """Return `limit` photographs spread evenly over the folder's names."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".png", ".webp"))
    return paths[:: max(1, len(paths) // limit)][:limit]


def _crop(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        left, top = (image.width - _CROP_PX) // 2, (image.height - _CROP_PX) // 2
        return np.array(image.convert("RGB").crop((left, top, left + _CROP_PX, top + _CROP_PX)))


def _report(found: dict[str, list[tuple[float, ...]]], steps: int) -> None:
    table = Table(title=f"{len(found['none'])} photographs, {steps} steps")
    for heading in ("correction", "PSNR, dB", "LR consistency, dB", "colour ΔE (CIEDE2000)"):
        table.add_column(heading, justify="right")
    means = {}
    for name, rows in found.items():
        values = np.array(rows)
        half = _half_interval(values)
        table.add_row(name, *(f"{m:.3f} ±{h:.3f}" for m, h in zip(values.mean(0), half, strict=True)))
        means |= {f"{name}_{c}": round(float(m), 4) for c, m in zip(_COLUMNS, values.mean(0), strict=True)}
    Console(stderr=True).print(table)
    print(json.dumps(means))


def _half_interval(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half the width of the 95% interval of each column's mean, by 1000 resamplings of the rows."""
    picks = np.random.default_rng(0).integers(0, len(values), (1000, len(values)))
    low, high = np.percentile(values[picks].mean(1), (2.5, 97.5), axis=0)
    half: NDArray[np.float64] = (high - low) / 2
    return half


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What each colour correction does.")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs of 512 px and more")
    parser.add_argument("--limit", type=int, default=12, help="how many of them")
    parser.add_argument("--steps", type=int, default=4, help="denoising steps")
    parser.add_argument("--model", default="tss-x4-small", help="embedded name or model folder")
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    return parser.parse_args()


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
