"""How good the embedded model is, beside Real-ESRGAN, and what the number and the spacing of denoising steps change.

    python jobs/benchmarks/quality.py [--quick] [--photos DIR] [--with-realesrgan] [--model NAME|DIR]
                                         [--one-step-model NAME|DIR|none] [--windows textured|smooth] [--out DIR]

The protocol
- Photographs: (a) `sample`, those of sample://photos; (b) `heldout`, with --photos, those of the split heldout of
  tss_ray/training/photos.csv. None of them is trained on. Held-out photographs are first reduced by 2 (by 3 above 8
  megapixels) with Pillow's `reduce`, so that lossy sources are sharp. --limit takes the first N of each set only.
- Inputs: `clean` is the whole photograph, its sides cut to multiples of 4, reduced by 4 with Pillow's BICUBIC, as 8
  bits. `degraded` is blurred, made noisy and JPEG-compressed before and after that reduction, each drawn evenly from
  the photograph's name (quality_degrade.py): before, blur of sigma 0.4 to 1.6 px, white noise of sigma 1 to 8 of 255,
  JPEG quality 75 to 95; after, 0 to 0.5 px, 0.5 to 4 of 255, quality 60 to 95.
- Crops: 384 px of the original (96 px of the input), or the largest multiple of 32 px that fits; at least 192. Windows
  stand on a grid of 96 px, ranked by texture (mean standard deviation of luma in blocks of 8 px); the best is taken,
  then the next best that overlaps none taken, up to --crops for each photograph. With --windows smooth they are ranked
  the other way and overlap the most textured one neither: skies and what was out of focus, in photographs with room for
  two. Clean and degraded share their crops.
- Methods: `bicubic`, the enlargement that the model adds to; with --with-realesrgan `realesrgan`, Real-ESRGAN x4plus in
  one piece, on the CPU with torch's number of threads (realesrgan.py); `one-step model`, a step of --one-step-model;
  `1 step`; 2, 4, 7 and 15 steps, `uniform` and `tds` (--a, --n; with a = 0.5 the plans of 2 steps are the same), with
  --eta of the DDPM noise, each by default PlanSpec's; two of these once more with a plan.detail_gain above 1; through
  the product's engine with its default tiles and the dtype that it picks, the same noise for every method of a crop.
  Outputs are rounded to 8 bits before anything is measured.
- Metrics: PSNR-Y on full-range BT.601 luma (tss_ray.quality.psnr; MATLAB's convention reads 1.322 dB higher), SSIM on
  the same luma rounded to 8 bits (pyiqa `ssim`, 11 px Gaussian window, no downsampling), FSIM with colour (pyiqa
  `fsim`), GMSD (pyiqa `gmsd`), NIQE (pyiqa `niqe`), PIQE (pyiqa `piqe`) and its distance to the original's, crop by
  crop, and LR consistency (the output reduced again against the input, RGB: a degraded input's faults count as content
  there). Border px count. NIQE and PIQE need no original: the row `original` says what the photograph itself scores.
  `edges` and `grain` (quality_edges.py) are 1 for the original, the second less where it is flatter than rounding: how
  steep luma is at the original's steepest places, and how much of a slope there is at its flattest.
- Seconds are wall clock for one crop, after one call of each network that does not count.
- Values are means over crops; ± is half a 95% bootstrap interval of the mean (2000 resamples of the crops).
- Texture: the product's score of the crop's clean input; below 0.45 `smooth`, below 0.60 `middle`, from there
  `textured`. Where only "textured crops" are spoken of, those from 0.45 on are meant.
- Without NIQE's parameter file (see README.md) there is no NIQE column, and a line says that PIQE stands in.

--quick: clean sample photographs only, one crop each, bicubic, one-step model, 1 step, 7 and 15 tds steps, without FSIM
and GMSD; under a minute on two cores (--with-realesrgan adds some 10 s a crop).

Tables and logs go to stderr. The last line of stdout is one JSON object of means over the held-out crops, or over the
sample's where --photos was not given, on clean inputs unless the key says degraded; null where something was not
measured:
  setting_best               of our settings of at most 15 steps the one with the lowest NIQE; `ours` below is that one
  niqe_ours_best             its NIQE
  niqe_realesrgan            Real-ESRGAN's
  psnry_ours_best            its PSNR-Y, dB
  psnry_realesrgan           Real-ESRGAN's
  edges_ours_best            its edges, 1 for the original's
  edges_realesrgan           Real-ESRGAN's
  psnry_gain_1step           PSNR-Y of 1 step less that of bicubic, dB, textured crops only
  psnry_gain_one_step_model  that of one-step model
  seconds_ratio              seconds of Real-ESRGAN by those of ours; null where ours ran on a GPU
  niqe_drop_7step            NIQE of bicubic less that of 7 tds
  niqe_drop_15step           NIQE of bicubic less that of 15 tds
  psnry_loss_15step          PSNR-Y of bicubic less that of 15 tds, dB
  niqe_ours_degraded         NIQE of setting_best, which is chosen on clean inputs here too
  niqe_realesrgan_degraded   Real-ESRGAN's
  psnry_ours_degraded        PSNR-Y of setting_best, dB
  psnry_realesrgan_degraded  Real-ESRGAN's
  lr_psnr_1step              LR consistency of 1 step, dB
  lr_psnr_one_step_model     that of one-step model, dB
  lr_psnr_15step             LR consistency of 15 tds, dB
  niqe_monotone              whether NIQE falls from each of 1, 2, 4, 7 and 15 tds steps to the next
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from quality_crops import Crop, Windows, heldout_crops, sample_crops
from quality_headline import ONE_STEP_MODEL, REALESRGAN, headline
from quality_judge import ORIGINAL, Judge, Output
from quality_model import Upscaler
from quality_pictures import Row, write_grids, write_page
from quality_report import print_report, write_parquet
from quality_values import Value
from realesrgan import RealEsrgan
from rich.console import Console

from tss_ray.diffusion.timesteps import PlanFamily
from tss_ray.errors import InputError, TssRayError
from tss_ray.spec import JobSpec, PlanSpec, load_spec

Method = tuple[str, int, PlanFamily, float]
_FULL: tuple[Method, ...] = (
    ("1 step", 1, "tds", 1.0),
    *((f"{steps} {family}", steps, family, 1.0) for steps in (2, 4, 7, 15) for family in ("uniform", "tds")),
    ("4 tds, gain 1.5", 4, "tds", 1.5),
)
_QUICK: tuple[Method, ...] = (("1 step", 1, "tds", 1.0), ("7 tds", 7, "tds", 1.0), ("15 tds", 15, "tds", 1.0))
_ONE_STEP_GAIN = 2.0
_SHARPENED = f"{ONE_STEP_MODEL}, gain {_ONE_STEP_GAIN:g}"
_FULL_METRICS = ("ssim", "fsim", "gmsd", "niqe", "piqe")
_QUICK_METRICS = ("ssim", "niqe", "piqe")
_PICTURED = (
    "bicubic",
    REALESRGAN,
    ONE_STEP_MODEL,
    _SHARPENED,
    "1 step",
    "4 tds, gain 1.5",
    "7 tds",
    "15 tds",
    ORIGINAL,
)
_LOG_COLUMNS = 150


class Bench:
    """The networks of one run and the methods that they are measured under."""

    def __init__(self, spec: JobSpec, methods: tuple[Method, ...], with_realesrgan: bool) -> None:
        """Load them. Raises ModelError for damaged weights or missing wheels."""
        self._upscaler = Upscaler(spec.model, spec.plan)
        self._one_step = None if spec.one_step_model is None else Upscaler(spec.one_step_model, spec.plan)
        self._methods = methods
        self._realesrgan: RealEsrgan | None = None
        if with_realesrgan:
            self._realesrgan = RealEsrgan(torch.get_num_threads(), self._upscaler.dtype is torch.bfloat16)
        self.same_device = self._upscaler.device.type == "cpu"
        self._is_warm = False

    def outputs(self, crop: Crop) -> dict[str, Output]:
        """Enlarge a crop by every method."""
        runs = self._runs(crop)
        if not self._is_warm:
            for name in {REALESRGAN, ONE_STEP_MODEL, "1 step"} & runs.keys():
                runs[name][0]()
            self._is_warm = True
        return {name: _timed(run, num_steps) for name, (run, num_steps) in runs.items()}

    def _runs(self, crop: Crop) -> dict[str, tuple[Callable[[], NDArray[np.uint8]], int]]:
        key = f"{crop.photo}/{crop.top}/{crop.left}"

        def ours(
            upscaler: Upscaler, num_steps: int, family: PlanFamily, gain: float = 1.0
        ) -> tuple[Callable[[], NDArray[np.uint8]], int]:
            return lambda: upscaler.upscale(crop.lr, num_steps, family, key, gain), num_steps

        runs = {"bicubic": ours(self._upscaler, 0, "uniform")}
        if (theirs := self._realesrgan) is not None:
            runs[REALESRGAN] = (lambda: theirs.upscale(crop.lr), 0)
        if self._one_step is not None:
            runs[ONE_STEP_MODEL] = ours(self._one_step, 1, "uniform")
            runs[_SHARPENED] = ours(self._one_step, 1, "uniform", _ONE_STEP_GAIN)
        return runs | {name: ours(self._upscaler, steps, family, gain) for name, steps, family, gain in self._methods}


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    console = Console(stderr=True, width=None if sys.stderr.isatty() else _LOG_COLUMNS)  # 80 cuts figures off in a log
    quick = arguments.quick
    try:
        bench = Bench(_spec(arguments), _QUICK if quick else _FULL, arguments.with_realesrgan)
        judge = Judge(_QUICK_METRICS if quick else _FULL_METRICS)
        values, rows = _measure(bench, judge, _crops(arguments), console)
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print_report(values, console)
    if all(value.niqe is None for value in values):
        console.print("NIQE's parameters are missing: PIQE stands in for it; see jobs/benchmarks/README.md")
    if arguments.out is not None:
        _write(values, rows, arguments.out, console)
    print(json.dumps(headline(values, bench.same_device)))
    return 0


def _measure(bench: Bench, judge: Judge, crops: Iterator[Crop], console: Console) -> tuple[list[Value], list[Row]]:
    values: list[Value] = []
    rows: list[Row] = []
    for crop in crops:
        started = time.monotonic()
        outputs = bench.outputs(crop)
        values += judge.values(crop, outputs)
        pictures = {name: output.pixels for name, output in outputs.items()} | {ORIGINAL: crop.hr}
        shown = {name: pictures[name] for name in _PICTURED if name in pictures}
        rows.append(Row(values[-1].crop, crop.inputs, crop.lr, shown))
        console.print(f"{rows[-1].title}: {time.monotonic() - started:.1f} s")
    if not values:
        raise InputError("no photograph has room for such a window; raise --limit or take --windows textured")
    return values, rows


def _timed(run: Callable[[], NDArray[np.uint8]], num_steps: int) -> Output:
    since = time.monotonic()
    pixels = run()
    return Output(pixels, num_steps, time.monotonic() - since)


def _write(values: list[Value], rows: list[Row], folder: Path, console: Console) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parquet, page = folder / "quality.parquet", folder / "pictures.html"
    write_parquet(values, parquet)
    write_page(rows, values, page)
    console.print("written:", parquet, page, *write_grids(rows, folder))


def _crops(arguments: argparse.Namespace) -> Iterator[Crop]:
    if arguments.quick:
        yield from sample_crops(1, arguments.limit, windows=arguments.windows)
        return
    yield from sample_crops(arguments.crops, arguments.limit, degraded=True, windows=arguments.windows)
    if arguments.photos is not None:
        yield from heldout_crops(
            arguments.photos, arguments.crops, arguments.limit, degraded=True, windows=arguments.windows
        )


def _spec(arguments: argparse.Namespace) -> JobSpec:
    """Return the settings as a job has them, so that their bounds are a job's. Raises SpecError."""
    plan = {f"plan.{name}": getattr(arguments, name) for name in ("a", "n", "eta")}
    one_step = None if arguments.one_step_model == "none" else arguments.one_step_model
    models = {"model": arguments.model, "one_step_model": one_step}
    return load_spec(None, {"input": "sample://photos", "output": "unused"} | models | plan)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small protocol, under a minute")
    parser.add_argument("--photos", type=Path, help="folder of the photographs (fetched by jobs/train_x4.py)")
    parser.add_argument("--with-realesrgan", action="store_true", help="beside ours (extra `bench`)")
    parser.add_argument("--model", default=JobSpec.model_fields["model"].default, help="embedded name or model folder")
    parser.add_argument("--one-step-model", default="tss-x4-one-step", help="of one step, or none")
    parser.add_argument("--out", type=Path, help="folder for quality.parquet, pictures.html and grid_*.png")
    parser.add_argument("--crops", type=_count, default=2, help="crops of each photograph, at most")
    parser.add_argument("--windows", choices=get_args(Windows), default="textured", help="which (%(default)s)")
    parser.add_argument("--limit", type=_count, help="photographs of each set, at most")
    for name in ("a", "n", "eta"):
        field = PlanSpec.model_fields[name]
        parser.add_argument(f"--{name}", type=float, default=field.default, help=f"{field.description} (%(default)g)")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: need a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
