"""The constants of `tss_ray.quality.detail`, and what its score is worth beside metrics that have the original.

    python jobs/benchmarks/detail_score.py --photos photos [--crops 2] [--split validation|heldout]

The protocol
- Constants: least squares over all blocks of one crop of each photograph of the split `train`, originals against their
  reductions by 4; no network takes part. The shares of noise are those of white noise of 512x512 px.
- Worth: crops of the split `validation`, by some of which the tolerance was chosen, or of `heldout`; every rung of the
  default ladder by the default plan. For each crop,
  Spearman's rank correlation over the rungs between the score and each metric, signs turned so that better is higher;
  the mean over crops, with a 95% bootstrap interval over photographs. NIQE and PIQE enter as they are, and as distances
  to the original's own value.
- `gap` is what choosing the rung by the score loses in a metric against choosing it by that metric itself, and
  `gap_middle` what taking the middle rung for all loses: what a blind choice would.

The tables go to stderr. The last line of stdout is one JSON object: constants, noise_gains, rank_<metric>, and
gap_<metric>, the middle rung's second.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from bootstrap import interval
from quality_crops import Crop, photo_crops
from quality_judge import Judge
from rich.console import Console
from rich.table import Table
from tss_measure import Bench, crop_key

from tss_ray.imaging.planes import to_planes
from tss_ray.pipeline.plans import image_request
from tss_ray.pipeline.probe import probe
from tss_ray.quality.detail import VISIBLE, detail_score, high_energy, octave_energies
from tss_ray.quality.psnr import luma
from tss_ray.spec import BudgetSpec, PlanSpec
from tss_ray.training.photos import photos

HIGHER_IS_BETTER = {"psnry": True, "ssim": True, "fsim": True, "gmsd": False, "lr_psnr": True}
DISTANCES = ("niqe", "piqe")


def main() -> int:
    """Fit, measure, report, and return the exit code."""
    arguments = _arguments()
    figures: dict[str, object] = {
        "constants": fit(photo_crops("train", photos(arguments.photos, "train"), 1)),
        "noise_gains": noise_gains(),
    }
    judge = Judge(("ssim", "fsim", "gmsd", *DISTANCES))
    split = arguments.split
    found = list(worth(photo_crops(split, photos(arguments.photos, split), arguments.crops), judge))
    num_photos, ladder = len({photo for photo, _ in found}), ", ".join(map(str, BudgetSpec().ladder))
    table = Table(title=f"{split}: {len(found)} crops of {num_photos} photographs, {ladder} steps")
    for heading in ("metric", "rank correlation", "gap", "gap_middle"):
        table.add_column(heading, justify="right")
    for name in found[0][1]:
        photo_names, ranks = [photo for photo, _ in found], [values[name][0] for _, values in found]
        means = [float(np.mean([values[name][i] for _, values in found])) for i in (0, 1, 2)]
        ends = interval(ranks, photo_names)
        between = "" if ends is None else f" [{ends.low:+.2f}, {ends.high:+.2f}]"
        table.add_row(name, f"{means[0]:+.2f}{between}", f"{means[1]:.4f}", f"{means[2]:.4f}")
        figures[f"rank_{name}"] = round(means[0], 3)
        figures[f"gap_{name}"] = [round(mean, 4) for mean in means[1:]]
    Console(stderr=True).print(table)
    print(json.dumps(figures))
    return 0


def fit(crops: Iterator[Crop]) -> list[float]:
    """Return the constants of `LOG_FALLOFF` by least squares over the blocks of these crops."""
    rows, answers = [], []
    for crop in crops:
        x, y = luma(to_planes(crop.lr))[None].float(), luma(to_planes(crop.hr))[None].float()
        first, second = octave_energies(x, probe(crop.lr).noise_sigma)
        rows.append(torch.stack([(each / VISIBLE).log1p().flatten() for each in (first, second)], 1))
        answers.append((high_energy(y) / VISIBLE).log1p().flatten())
    solution = torch.linalg.lstsq(torch.cat(rows).double(), torch.cat(answers).double()[:, None]).solution
    return [round(float(value), 3) for value in solution[:, 0]]


def noise_gains() -> list[float]:
    """Return the share of the variance of white noise in each octave."""
    noise = torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(0))
    return [round(float(each.mean()), 3) for each in octave_energies(noise, 0.0)]


def worth(crops: Iterator[Crop], judge: Judge) -> Iterator[tuple[str, dict[str, tuple[float, float, float]]]]:
    """Yield for each crop its photograph and, by metric, (rank correlation, gap, gap of the middle rung)."""
    bench, ladder = Bench("tss-x4-small"), BudgetSpec().ladder
    for crop in crops:
        timesteps, key = bench.model.card.num_timesteps, crop_key(crop)
        outputs = bench.enlarge([image_request(PlanSpec(), timesteps, key, crop.lr, num, 0) for num in ladder])
        sigma = probe(crop.lr).noise_sigma
        scores = [detail_score(to_planes(sr), to_planes(crop.lr), sigma).score for sr, _ in outputs]
        metrics = [judge.scores(crop, sr) for sr, _ in outputs]
        original = judge.scores(crop, crop.hr, is_original=True)
        yield crop.photo, {name: _agreement(scores, values) for name, values in _oriented(metrics, original).items()}


def _oriented(metrics: Sequence[dict[str, float | None]], original: dict[str, float | None]) -> dict[str, list[float]]:
    """Return every metric that has a value everywhere, so turned that higher is better."""
    found = {}
    for name in (*HIGHER_IS_BETTER, *DISTANCES):
        values = [each[name] for each in metrics]
        own = original[name] if name in DISTANCES else 0.0
        if own is None or any(value is None for value in values):
            continue
        numbers = [float(value) for value in values if value is not None]
        if name in DISTANCES:
            found[name] = [-number for number in numbers]
            found[f"{name}_distance"] = [-abs(number - own) for number in numbers]
        else:
            found[name] = numbers if HIGHER_IS_BETTER[name] else [-number for number in numbers]
    return found


def _agreement(scores: Sequence[float], values: Sequence[float]) -> tuple[float, float, float]:
    ranks = [np.argsort(np.argsort(each)) for each in (scores, values)]
    best, chosen, middle = max(values), values[int(np.argmax(scores))], values[len(values) // 2]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1]), best - chosen, best - middle


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The constants and the worth of the detail score.")
    parser.add_argument("--photos", type=Path, required=True, help="the folder that training filled")
    parser.add_argument("--crops", type=int, default=2, help="crops of each photograph")
    parser.add_argument("--split", default="validation", choices=("validation", "heldout"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
