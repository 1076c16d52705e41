"""How good the embedded model is, and what the number and the spacing of denoising steps change.

    python jobs/benchmarks/quality.py [--quick] [--photos DIR] [--model NAME|DIR] [--out DIR]

The protocol
- Photographs: (a) `sample`, those of sample://photos; (b) `heldout`, with --photos, those of the split heldout of
  tss_ray/training/photos.csv. None of them is trained on. Held-out photographs are first reduced by 2 (by 3 above 8
  megapixels) with Pillow's `reduce`, so that lossy sources are sharp.
- Input: the whole photograph, its sides cut to multiples of 4, reduced by 4 with Pillow's BICUBIC, as 8 bits.
- Crops: 384 px of the original (96 px of the input), or the largest multiple of 32 px that fits; at least 192. Windows
  stand on a grid of 96 px, ranked by texture (mean standard deviation of luma in blocks of 8 px); the best is taken,
  then the next best that overlaps none taken, up to --crops for each photograph.
- Methods: `bicubic`, the enlargement that the model adds to; `1 step`; 4, 7 and 15 steps, `uniform` and `tds` (a = 0.5,
  n = 2); deterministic DDIM (eta 0), through the product's engine with its default tiles and the dtype that it picks,
  the same noise for every method of a crop. Outputs are rounded to 8 bits before anything is measured.
- Metrics: PSNR-Y on full-range BT.601 luma (tss_ray.quality.psnr; MATLAB's convention reads 1.322 dB higher), SSIM on
  the same luma rounded to 8 bits (pyiqa `ssim`, 11 px Gaussian window, no downsampling), NIQE (pyiqa `niqe`), PIQE
  (pyiqa `piqe`), and LR consistency (the output reduced again against the input, RGB). Border px count. NIQE and PIQE
  need no original: the row `original` says what the photograph itself scores. Values are means over crops.
- Without NIQE's parameter file (see README.md) there is no NIQE column, and a line says that PIQE stands in.

--quick: sample photographs only, one crop each, bicubic, 1 step, 7 and 15 tds steps; under a minute on two cores.

Tables and logs go to stderr. The last line of stdout is one JSON object, from the tds rows (1 step is the same in both
families), averaged over all crops measured, all against `bicubic`, null where it could not be measured:
  psnry_gain_1step    PSNR-Y of 1 step less that of bicubic, dB
  niqe_drop_7step     NIQE of bicubic less that of 7 steps; niqe_drop_15step likewise
  psnry_loss_15step   PSNR-Y of bicubic less that of 15 steps, dB
"""

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from quality_crops import SCALE, Crop, heldout_crops, sample_crops
from quality_model import Upscaler
from quality_report import Value, mean, print_tables, write_grids, write_parquet
from rich.console import Console
from torch import Tensor

from tss_ray.diffusion.timesteps import PlanFamily
from tss_ray.errors import TssRayError
from tss_ray.quality.lr_consistency import lr_consistency_psnr
from tss_ray.quality.metrics import Metric, metric
from tss_ray.quality.psnr import psnry
from tss_ray.spec import JobSpec

Method = tuple[str, int, PlanFamily]
_FULL: tuple[Method, ...] = (
    ("1 step", 1, "tds"),
    *((f"{steps} {family}", steps, family) for steps in (4, 7, 15) for family in ("uniform", "tds")),
)
_QUICK: tuple[Method, ...] = (("1 step", 1, "tds"), ("7 tds", 7, "tds"), ("15 tds", 15, "tds"))
_IN_GRID = ("bicubic", "1 step", "7 uniform", "7 tds", "15 tds", "original")


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 120)  # 80 cuts figures off in a log
    try:
        upscaler = Upscaler(arguments.model)
        values, pictures = _measure(upscaler, _crops(arguments), _QUICK if arguments.quick else _FULL, console)
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print_tables(values, console)
    if all(value.niqe is None for value in values):
        console.print("NIQE's parameters are missing: PIQE stands in for it; see jobs/benchmarks/README.md")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_parquet(values, arguments.out / "quality.parquet")
        console.print("written:", arguments.out / "quality.parquet", *write_grids(pictures, arguments.out))
    print(json.dumps(headline(values)))
    return 0


def headline(values: list[Value]) -> dict[str, float | None]:
    """Return the four figures of the last line."""

    def difference(metric_name: str, first: str, second: str) -> float | None:
        a, b = mean(values, first, metric_name), mean(values, second, metric_name)
        return None if a is None or b is None else round(a - b, 4)

    return {
        "psnry_gain_1step": difference("psnry", "1 step", "bicubic"),
        "niqe_drop_7step": difference("niqe", "bicubic", "7 tds"),
        "niqe_drop_15step": difference("niqe", "bicubic", "15 tds"),
        "psnry_loss_15step": difference("psnry", "bicubic", "15 tds"),
    }


def _measure(
    upscaler: Upscaler, crops: Iterator[Crop], methods: tuple[Method, ...], console: Console
) -> tuple[list[Value], list[tuple[str, dict[str, NDArray[np.uint8]]]]]:
    metrics = {name: metric(name) for name in ("ssim", "niqe", "piqe")}
    values, pictures = [], []
    for crop in crops:
        started = time.monotonic()
        outputs, key = {}, f"{crop.photo}/{crop.top}/{crop.left}"
        for name, num_steps, family in (("bicubic", 0, "uniform"), *methods):
            since = time.monotonic()
            outputs[name] = upscaler.upscale(crop.lr, num_steps, family, key), num_steps, time.monotonic() - since
        outputs["original"] = crop.hr, 0, 0.0
        values += [_value(crop, name, *output, metrics) for name, output in outputs.items()]
        pictures.append((crop.photo, {name: outputs[name][0] for name in _IN_GRID if name in outputs}))
        console.print(f"{crop.source} {crop.photo} {crop.top},{crop.left}: {time.monotonic() - started:.1f} s")
    return values, pictures


def _value(
    crop: Crop, method: str, sr: NDArray[np.uint8], num_steps: int, seconds: float, metrics: dict[str, Metric | None]
) -> Value:
    picture, hr, lr = (_unit(pixels) for pixels in (sr, crop.hr, crop.lr))
    is_original = method == "original"

    def ask(name: str) -> float | None:
        asked = metrics[name]
        value = math.nan if asked is None or (is_original and name == "ssim") else asked(picture, hr)
        return value if math.isfinite(value) else None

    return Value(
        source=crop.source,
        photo=crop.photo,
        top=crop.top,
        left=crop.left,
        method=method,
        num_steps=num_steps,
        psnry=None if is_original else psnry(picture, hr),
        ssim=ask("ssim"),
        niqe=ask("niqe"),
        piqe=ask("piqe"),
        lr_psnr=lr_consistency_psnr(picture, lr, SCALE),
        seconds=seconds,
    )


def _unit(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def _crops(arguments: argparse.Namespace) -> Iterator[Crop]:
    yield from sample_crops(1 if arguments.quick else arguments.crops)
    if arguments.photos is not None and not arguments.quick:
        yield from heldout_crops(arguments.photos, arguments.crops)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small protocol, under a minute")
    parser.add_argument("--photos", type=Path, help="folder of the photographs (fetched by jobs/train_x4.py)")
    parser.add_argument("--model", default=JobSpec.model_fields["model"].default, help="embedded name or model folder")
    parser.add_argument("--out", type=Path, help="folder for quality.parquet and grid_*.png")
    parser.add_argument("--crops", type=int, default=2, help="crops of each photograph, at most")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
