"""Which thresholds of texture the policy `texture` should have, and what they are worth beside the same steps for all.

    python jobs/benchmarks/thresholds.py --photos photos [--crops 12] [--rows FOLDER]

The protocol
- Chosen on: up to --crops windows of each photograph of the split `validation` (inputs of 48x48 px, on an even grid, so
  that smooth places take part), an eighth as many flat pictures, and a noisy copy of each. Judged on: the set of
  budget.py, which shares nothing with it: photographs that are samples or held out (96x96 px), as many flat pictures,
  and a noisy copy of each.
- Every image runs every rung of the default ladder once. `detail` is the package's own score; psnry and ssim are
  against the original; niqe is minus the distance to the original's own NIQE, of photographs alone. Higher is better.
- Chosen are the thresholds, multiples of 0.02, that gain most `detail` less a price of a step, steps never falling with
  texture: by dynamic programming over the groups of texture that lie between them. Several prices are tried.
- `gain_<metric>`: mean score of a tile less that of the same steps for every image at equal NFE, with a 95% bootstrap
  interval over images. `share`: NFE over those of the top rung for all; `over_top`: `detail` over that of the top rung.
- `--rows FOLDER` keeps what was measured there, and a later call measures nothing that it finds.

Tables go to stderr. The last line of stdout is one JSON object: `budgets`, a list for the present default and for every
price.
"""

import argparse
import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import budget
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
from quality_crops import SCALE, Crop
from quality_judge import Judge
from rich.console import Console
from rich.table import Table
from tss_measure import Bench

from tss_ray.budget.outcome import Measured, quality_gain_at_equal_nfe
from tss_ray.budget.policy import choose_steps
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.tiles import best_tile
from tss_ray.pipeline.plans import image_request
from tss_ray.pipeline.probe import probe
from tss_ray.quality.bootstrap import interval
from tss_ray.quality.detail import detail_score
from tss_ray.spec import BudgetSpec, PlanSpec, TileSpec
from tss_ray.training.photos import measured_size, open_photo, photos

METRICS = ("detail", "psnry", "ssim", "niqe")
STEP = 0.02
WINDOW_PX = 192
PRICES = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.008)

Row = dict[str, Any]


@dataclass(frozen=True)
class Image:
    """An image on every rung: scores by metric, None where it has none."""

    name: str
    texture: float
    num_tiles: float
    scores: dict[str, tuple[float, ...] | None]


def main() -> int:
    """Measure or read, choose, judge, report, and return the exit code."""
    arguments = _arguments()
    sets = {}
    for split in ("tuning", "judged"):
        kept = None if arguments.rows is None else arguments.rows / f"thresholds-{split}.parquet"
        if kept is not None and kept.exists():
            rows = pq.read_table(kept).to_pylist()
        else:
            rows = list(measure(pictures(split, arguments)))
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(pa.Table.from_pylist(rows), kept)
        sets[split] = images(rows)
    figures = [judge_budget("default", BudgetSpec(), sets)]
    for price in PRICES:
        thresholds = choose(sets["tuning"], BudgetSpec().ladder, price)
        figures.append(judge_budget(f"{price:g}", BudgetSpec(thresholds=thresholds), sets))
    show(figures)
    print(json.dumps({"budgets": figures}))
    return 0


def pictures(split: str, arguments: Namespace) -> Iterator[Crop]:
    """Yield photographs, flat pictures and noisy copies of both."""
    if split == "tuning":
        found = [each for path in photos(arguments.photos, "validation") for each in windows(path, arguments.crops)]
        found += [(f"flat-{1000 + number}", *budget.flat(1000 + number)) for number in range(len(found) // 8)]
    else:
        found = budget.pictures(Namespace(quick=False, photos=arguments.photos))
    for name, lr, hr in found:
        for kind, pixels in (("clean", lr), ("noisy", budget.noisy(lr, name))):
            texture = probe(pixels).texture_score
            yield Crop(split, "clean", f"{name}-{kind}", 0, 0, texture, hr, pixels)


def windows(path: Path, most: int) -> Iterator[tuple[str, budget.Pixels, budget.Pixels]]:
    """Yield (name, lr, hr) of at most `most` windows of a photograph, evenly spread over it."""
    hr = np.asarray(measured_size(open_photo(path)))
    places = [
        (top, left)
        for top in range(0, hr.shape[0] - WINDOW_PX + 1, WINDOW_PX)
        for left in range(0, hr.shape[1] - WINDOW_PX + 1, WINDOW_PX)
    ]
    for pick in np.unique(np.linspace(0, len(places) - 1, most).round().astype(int)) if places else ():
        top, left = places[pick]
        window = hr[top : top + WINDOW_PX, left : left + WINDOW_PX]
        small = PIL.Image.fromarray(window).resize((WINDOW_PX // SCALE,) * 2, PIL.Image.Resampling.BICUBIC)
        yield f"validation-{path.stem}-{top}-{left}", np.asarray(small), window


def measure(crops: Iterator[Crop]) -> Iterator[Row]:
    """Yield a row for each rung of each picture."""
    bench, ladder, judge, tiles = Bench("tss-x4-small"), BudgetSpec().ladder, Judge(("ssim", "niqe")), TileSpec()
    for crop in crops:
        timesteps = bench.model.card.num_timesteps
        outputs = bench.enlarge([image_request(PlanSpec(), timesteps, crop.photo, crop.lr, n, 0) for n in ladder])
        sigma, own = probe(crop.lr).noise_sigma, judge.scores(crop, crop.hr, is_original=True)["niqe"]
        num_tiles = best_tile(*crop.lr.shape[:2], tiles.sides, tiles.overlap_px).full_tiles(tiles.tile_px)
        for steps, (sr, _) in zip(ladder, outputs, strict=True):
            found = judge.scores(crop, sr)
            niqe = None if own is None or found["niqe"] is None or crop.photo.startswith("flat") else found["niqe"]
            yield {
                "name": crop.photo,
                "texture": crop.texture,
                "num_tiles": num_tiles,
                "num_steps": steps,
                "detail": detail_score(to_planes(sr), to_planes(crop.lr), sigma).score,
                "psnry": found["psnry"],
                "ssim": found["ssim"],
                "niqe": None if niqe is None or own is None else -abs(niqe - own),
            }
        print(crop.photo, file=sys.stderr)


def images(rows: Sequence[Row]) -> list[Image]:
    """Put the rungs of each picture together."""
    found = []
    for name, group in groupby(sorted(rows, key=lambda r: (r["name"], r["num_steps"])), lambda r: r["name"]):
        of = list(group)
        scores = {m: None if any(r[m] is None for r in of) else tuple(r[m] for r in of) for m in METRICS}
        found.append(Image(name, of[0]["texture"], of[0]["num_tiles"], scores))
    return found


def choose(tuning: Sequence[Image], ladder: Sequence[int], price: float) -> tuple[float, ...]:
    """Return the thresholds that gain most `detail` at this price of a step."""
    num = round(1 / STEP)
    worth = np.zeros((num, len(ladder)))
    for each in tuning:
        gained = np.array(each.scores["detail"]) - price * np.array(ladder)
        worth[min(int(each.texture / STEP), num - 1)] += each.num_tiles * gained
    # best[k]: of all groups so far, when the last is on rung k; groups in between are on rungs that never fall
    best, came = np.zeros(len(ladder)), []
    for group in worth:
        before = [int(np.argmax(best[: k + 1])) for k in range(len(ladder))]
        came.append(before)
        best = best[before] + group
    rung, rungs = int(np.argmax(best)), []
    for before in reversed(came):
        rungs.append(rung)
        rung = before[rung]
    rungs.reverse()
    return tuple(next((i * STEP for i, k in enumerate(rungs) if k > below), 1.0) for below in range(len(ladder) - 1))


def judge_budget(name: str, spec: BudgetSpec, sets: dict[str, list[Image]]) -> Row:
    """Return what a budget is worth on both sets."""
    found: Row = {"name": name, "thresholds": [round(t, 4) for t in spec.thresholds]}
    for split, of in sets.items():
        steps = np.array([choose_steps(spec, each.texture, each.name) for each in of], float)
        tiles = np.array([each.num_tiles for each in of])
        found[f"{split}_steps"] = round(float((steps * tiles).sum() / tiles.sum()), 3)
        found[f"{split}_share"] = round(float((steps * tiles).sum() / tiles.sum()) / spec.ladder[-1], 4)
        for metric in METRICS:
            some = [_measured(each, metric, spec) for each in of if each.scores[metric] is not None]
            gain = quality_gain_at_equal_nfe(some, spec.ladder)
            found[f"{split}_gain_{metric}"] = [round(v, 4) for v in (gain.value, gain.low, gain.high)]
        over = [e.qualities[e.chosen] - e.qualities[-1] for e in (_measured(each, "detail", spec) for each in of)]
        ends = interval(over)
        found[f"{split}_over_top"] = None if ends is None else [round(v, 4) for v in (ends.mean, ends.low, ends.high)]
    return found


def _measured(each: Image, metric: str, spec: BudgetSpec) -> Measured:
    costs = tuple(float(steps * each.num_tiles) for steps in spec.ladder)
    at = spec.ladder.index(choose_steps(spec, each.texture, each.name))
    return Measured(each.num_tiles, costs, each.scores[metric] or (), at)


def show(figures: Sequence[Row]) -> None:
    """Print a table for each set."""
    for split in ("tuning", "judged"):
        table = Table(title=split)
        for heading in ("price", "thresholds", "steps", "share", *METRICS, "detail over top rung"):
            table.add_column(heading)
        for each in figures:
            gains = [_between(each[f"{split}_gain_{metric}"]) for metric in METRICS]
            told = " ".join(f"{t:g}" for t in each["thresholds"])
            over = _between(each[f"{split}_over_top"])
            table.add_row(each["name"], told, f"{each[f'{split}_steps']}", f"{each[f'{split}_share']}", *gains, over)
        Console(stderr=True, width=220).print(table)


def _between(found: Sequence[float] | None) -> str:
    return "" if found is None else f"{found[0]:+.4f} [{found[1]:+.4f}, {found[2]:+.4f}]"


def _arguments() -> Namespace:
    parser = argparse.ArgumentParser(description="Thresholds of the policy texture.")
    parser.add_argument("--photos", type=Path, required=True, help="the folder that training filled")
    parser.add_argument("--crops", type=int, default=12, help="windows of each validation photograph")
    parser.add_argument("--rows", type=Path, help="folder for what is measured, or was")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
