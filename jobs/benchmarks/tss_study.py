"""What TSS is worth on this model: every way to place the steps, from 1 to 25 of them, and the paper's claims.

    python jobs/benchmarks/tss_study.py [--quick] [--photos DIR [--tuning]] [--folder DIR] [--out DIR [--resume]]

The protocol
- Photographs: `sample`, those of sample://photos; `heldout`, with --photos, those of the split heldout of
  tss_ray/training/photos.csv; `folder`, with --folder, every image directly in it. With --tuning it is the split
  `validation` of --photos and nothing else: settings are chosen on `tuning`, and held-out photographs are never seen by
  it. --without-sample leaves `sample` out. Originals, crops and inputs are those of quality.py (--crops of each
  photograph, --limit of each set, --inputs).
- Variants are the table of tss_variants.py. --variants takes a comma-separated list of its names, each with settings of
  PlanSpec of its own if wanted, as in `uniform,tds:n=3:a=0.4,tds+sds:n_range=[1,4]`, which is how settings are tuned.
  --tss names the one that is TSS: `tds+sds` where that is among them, else `tds`, unless told otherwise.
- All run through the product's engine with its default tiles, batch, and the dtype that it picks, with the same noise
  for every method of a crop. What comes to the same plan (of one step, all do) is run once. Outputs are rounded to 8
  bits before anything is measured.
- Metrics: those of quality.py, and MUSIQ, CLIPIQA and LPIPS (pyiqa's) where their weights lie in torch's hub folder;
  nothing is downloaded. The six that need no weights are PSNR-Y, SSIM, FSIM, GMSD, NIQE, and PIQE read as its
  distance to the original's; NIQE needs its parameter file (README.md).
- Intervals are 95%, by bootstrap of the photographs with all their crops (2000 resamples), of differences taken crop by
  crop. "Better" holds if the whole interval is on the better side, and does not hold if none of it is; with zero
  inside, or fewer than 5 photographs, it cannot be told. "No worse" holds if the interval reaches zero. A claim with
  several pieces of evidence holds if all of them do; MUSIQ, CLIPIQA and LPIPS may be missing, others may not.
- Frequency bands, after figure 1 of the paper: --band-crops crops, evenly by rank of texture, are sampled as one tile
  with --band-steps uniform steps. What each step takes the picture to be is compared with the last, in windowed patches
  of 128 px: the SNR in dB of luma in thirds of the radius up to Nyquist. Where plans of 4, 7 and 14 steps end is
  compared with that last step too, if it has at least 5 times their steps.
- sds_overhead: what a level for every position adds to a forward, as spatial_embedding.py measures it, in a few rounds.

--quick: two sample photographs, one crop each, uniform, tds and tds+sds at 7 and 14 steps, bands of one crop in 20
steps: under two minutes on two cores. The whole study is for an accelerator, or a night.

--out gets tss_study.parquet (a row for every crop and method), tss_bands.parquet (for every patch and step),
tss_reach.parquet (for every crop and short plan), tss_study.html and parts/, which holds every finished crop: --resume
takes from there what was measured by the same protocol on the same pixels.

Tables and logs go to stderr. The last line of stdout is one JSON object, over the held-out crops, or where there are
none over those of the folder, of tuning or of the sample; null where something was not measured:
  tss7_minus_uniform14_niqe    NIQE of TSS at 7 steps less that of uniform at 14, mean over crops
  tss7_minus_uniform14_psnry   the same of PSNR-Y, dB
  tss7_minus_uniform14_ssim    of SSIM
  tss7_minus_uniform14_gmsd    of GMSD
  wins_at_equal_steps          on how many of the six metrics TSS at 7 steps has the better mean than uniform at 7
  sds_overhead                 a share of the forward: 0.05 for 5%
  tss                          which variant TSS is
  source                       which photographs
  crops                        how many crops of them
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from quality_crops import Crop, photo_crops, sample_crops
from quality_judge import Judge
from rich.console import Console
from spatial_embedding import forward_overhead
from tss_arguments import parse_arguments
from tss_claims import Figure, claims, headline
from tss_measure import Bench, Parts, StudyValue, measure, observe, write_rows
from tss_page import Source, write_page
from tss_report import print_study
from tss_trajectory import BandRow, ReachRow, patch_curves
from tss_variants import Variant, parse_variants, settings, tss_variant

from tss_ray.errors import InputError, SpecError, TssRayError
from tss_ray.quality.metrics import missing_weights
from tss_ray.training.photos import photos

_PROTOCOL = 1
"""Goes up when values of before no longer compare; parts of another number are not resumed from."""
_METRICS = ("ssim", "fsim", "gmsd", "niqe", "piqe")
_WEIGHTED_METRICS = ("musiq", "clipiqa", "lpips")
_SOURCES = ("heldout", "folder", "tuning", "sample")
"""In the order in which the last line prefers them."""
_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
_OVERHEAD_ROUNDS = 5
_LOG_COLUMNS = 230


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = parse_arguments(__doc__)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    console = Console(stderr=True, width=None if sys.stderr.isatty() else _LOG_COLUMNS)  # 80 cuts figures off in a log
    try:
        return _study(arguments, console)
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _study(arguments: argparse.Namespace, console: Console) -> int:
    variants = parse_variants(arguments.variants)
    tss = tss_variant(arguments.tss, variants)
    if arguments.resume and arguments.out is None:
        raise SpecError("--resume without --out: there is nothing to go on from; name the folder of the run before")
    crops = list(_crops(arguments))
    if not crops:
        raise InputError("no crop to measure: every photograph is too small; give larger ones")
    bench = Bench(arguments.model)
    judge = Judge((*_METRICS, *(name for name in _WEIGHTED_METRICS if not missing_weights(name))))
    protocol = _protocol(bench, judge, variants, arguments)
    parts = Parts(None if arguments.out is None else arguments.out / "parts", protocol)
    values = _measure(bench, judge, crops, variants, arguments, parts, console)
    source = next(name for name in _SOURCES if any(crop.source == name for crop in crops))
    bands, reached = _observe(bench, [crop for crop in crops if crop.source == source], arguments, parts, console)
    overhead = forward_overhead(bench.model, bench.device, bench.max_batch, _OVERHEAD_ROUNDS, warm_up=1)

    found = []
    for name in (name for name in _SOURCES if any(value.source == name for value in values)):
        part = [value for value in values if value.source == name]
        leads = name == source
        curves = patch_curves(bands) if leads else []
        found.append(Source(part, claims(part, curves, reached if leads else [], tss), curves))
        print_study(part, found[-1].claims, tss, console)
    line: dict[str, Figure] = headline(found[0].values, tss, overhead)
    line |= {"tss": tss, "source": source, "crops": len({value.crop for value in found[0].values})}
    if arguments.out is not None:
        _write(arguments.out, values, bands, reached)
        page = arguments.out / "tss_study.html"
        write_page(found, line, protocol | _circumstances(bench), page)
        console.print(f"written: {arguments.out}/tss_*.parquet {page}")
    print(json.dumps(line))
    return 0


def _measure(
    bench: Bench,
    judge: Judge,
    crops: Sequence[Crop],
    variants: Sequence[Variant],
    arguments: argparse.Namespace,
    parts: Parts,
    console: Console,
) -> list[StudyValue]:
    values: list[StudyValue] = []
    for number, crop in enumerate(crops, start=1):
        started = time.monotonic()
        kept = parts.load("values", crop) if arguments.resume else None
        found = measure(bench, judge, crop, variants, arguments.steps) if kept is None else _rows(StudyValue, kept)
        if kept is None:
            parts.save("values", crop, found)
        values += found
        how = f"{time.monotonic() - started:.1f} s" if kept is None else "measured before"
        console.print(f"{number} of {len(crops)}, {crop.source}: {crop.photo} at {crop.top},{crop.left}: {how}")
    return values


def _observe(
    bench: Bench, crops: Sequence[Crop], arguments: argparse.Namespace, parts: Parts, console: Console
) -> tuple[list[BandRow], list[ReachRow]]:
    ordered = sorted(crops, key=lambda crop: crop.texture)
    num = min(arguments.band_crops, len(ordered))
    chosen = [int((k + 0.5) * len(ordered) / num) for k in range(num)]
    bands: list[BandRow] = []
    reached: list[ReachRow] = []
    for crop in (ordered[index] for index in chosen):
        kept = [parts.load(kind, crop) if arguments.resume else None for kind in ("bands", "reach")]
        if kept[0] is None or kept[1] is None:
            seen, near = observe(bench, crop, arguments.band_steps)
            parts.save("bands", crop, seen)
            parts.save("reach", crop, near)
        else:
            seen, near = _rows(BandRow, kept[0]), _rows(ReachRow, kept[1])
        bands += seen
        reached += near
        console.print(f"watched {arguments.band_steps} steps of {crop.photo} at {crop.top},{crop.left}")
    return bands, reached


def _rows(kind: Any, kept: Sequence[dict[str, Any]]) -> list[Any]:  # noqa: ANN401
    return [kind(**row) for row in kept]


def _write(folder: Path, values: Sequence[StudyValue], bands: Sequence[BandRow], reached: Sequence[ReachRow]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("study", values), ("bands", bands), ("reach", reached)):
        if rows:
            write_rows(rows, folder / f"tss_{name}.parquet")


def _protocol(bench: Bench, judge: Judge, variants: Sequence[Variant], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what decides the numbers: parts of another protocol are never resumed from."""
    card = bench.model.card
    return {
        "protocol": _PROTOCOL,
        "model": card.model_id,
        "model_sha256": card.sha256,
        "device": bench.device.type,
        "dtype": str(bench.dtype),
        "max_batch": bench.max_batch,
        "seed_of_the_noise": 0,
        "steps": list(arguments.steps),
        "band_steps": arguments.band_steps,
        "inputs": arguments.inputs,
        "metrics": list(judge.names),
        "variants": settings(variants),
        "versions": {name: _version(name) for name in ("tss-ray", "torch", "pyiqa", "numpy", "pillow")},
    }


def _circumstances(bench: Bench) -> dict[str, object]:
    """Return what is worth knowing but decides no number."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else None,
        "command": sys.argv[1:],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _crops(arguments: argparse.Namespace) -> Iterator[Crop]:
    """Yield the crops of every set that was asked for, with the one kind of input."""
    num, limit, degraded = arguments.crops, arguments.limit, arguments.inputs == "degraded"
    sets = []
    if arguments.tuning:
        if arguments.photos is None:
            raise SpecError("--tuning without --photos: name the folder of the photographs")
        sets.append(photo_crops("tuning", photos(arguments.photos, "validation")[:limit], num, degraded))
    else:
        if not arguments.without_sample:
            sets.append(sample_crops(num, limit, degraded))
        if arguments.photos is not None:
            sets.append(photo_crops("heldout", photos(arguments.photos, "heldout")[:limit], num, degraded))
    if arguments.folder is not None:
        sets.append(photo_crops("folder", _images(arguments.folder)[:limit], num, degraded))
    for crops in sets:
        yield from (crop for crop in crops if crop.inputs == arguments.inputs)


def _images(folder: Path) -> list[Path]:
    """Return the images directly in a folder, by name. Raises InputError if there is none."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in _IMAGE_SUFFIXES)
    if not found:
        raise InputError(f"{folder} holds no image; give a folder of {', '.join(sorted(_IMAGE_SUFFIXES))} files")
    return found


if __name__ == "__main__":
    sys.exit(main())
