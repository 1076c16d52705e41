"""What budgets are worth: the texture policy and a plan's λ policy against the same steps for every image.

    python jobs/benchmarks/budget.py [--quick] [--photos photos] [--out FOLDER] [--score detail|psnry|ssim]
    python jobs/benchmarks/budget.py --measured FOLDER/budget.parquet       # the figures again, nothing measured

The protocol
- The set: two crops of each sample photograph and, with --photos, of each held-out one, as inputs of 96x96 px; as many
  flat pictures (plain grounds with a disc); and a noisy copy of every one of these (white noise of std 0.05). --quick:
  one crop of three sample photographs, three flat pictures and their noisy copies.
- Every image runs every rung of the ladder once, on this machine's device; scores are of `tss_ray.quality` (--score;
  all but `detail` compare with the originals). NFE are steps times tiles.
- The plan comes from a calibration on a third of the pictures of each kind, drawn by name; figures are of the others.
  `lambda` gives each its steps at no more than the cost that `texture` (the default thresholds) takes.
- nfe_share_at_equal_quality: NFE of the λ policy over NFE of the fixed top rung, at the λ policy's cheapest point whose
  mean quality is at least the top rung's. nfe_share_texture: the same of uniform steps mixed to the texture policy's
  quality. quality_gain_at_equal_nfe: mean score of the λ policy less that of uniform steps of the same NFE;
  quality_gain_folds: the same with every image judged, by a plan made from the other two thirds of the pictures.
  quality_gain_texture: the same of the texture policy. texture_share_of_top, texture_over_top: NFE of the texture
  policy over those of the fixed top rung, and its mean score less the top rung's. 95% bootstrap intervals over images.
- cap_error: a replayed run of 500 images drawn from the set, in blocks of 8, four at a time, under a cap halfway
  between the least and the most that the frontier takes, while the pace of the machine drifts by up to a quarter around
  1.15 of the calibrated one; the controller's total over the cap, less 1. It replays the calibrated costs: no clock.
- noisy_flat_steps, clean_flat_steps: mean steps that the λ policy gives flat pictures with noise and without.

Tables go to stderr. The last line of stdout is one JSON object.
"""

import argparse
import io
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from quality_crops import heldout_crops, sample_crops
from rich.console import Console
from rich.table import Table

from tss_ray.budget.allocation import Choice, unit_hash
from tss_ray.budget.calibration import Calibration, Scanned, bin_edges
from tss_ray.budget.controller import Controller, Seen
from tss_ray.budget.files import read_calibration, write_calibration
from tss_ray.budget.outcome import Measured, nfe_share_at_equal_quality, quality_gain_at_equal_nfe
from tss_ray.budget.planning import Goal, Terms, solve, target_of
from tss_ray.budget.policy import choose_steps
from tss_ray.budget.target import assign, is_holdout
from tss_ray.errors import TssRayError
from tss_ray.pipeline.calibrate import SampleSizes, calibrate
from tss_ray.spec import BudgetSpec, JobSpec, TargetSpec

SIDE_PX = 96
NOISE_STD = 0.05
REPLAYED, BLOCK, AT_ONCE = 500, 8, 4
_SCALE, _FOLDS = 4, 3

Pixels = NDArray[np.uint8]


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    try:
        with tempfile.TemporaryDirectory() as folder:
            known = arguments.measured
            measured = measure(Path(folder), arguments) if known is None else read_calibration(known)
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if arguments.out is not None:
        write_calibration(arguments.out / "budget.parquet", measured)
    figures = compare(measured)
    table = Table(title=f"{len(measured.scanned)} images on {measured.facts.device}, {measured.facts.score_name}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, str(value))
    Console(stderr=True).print(table)
    print(json.dumps(figures))
    return 0


def measure(folder: Path, arguments: argparse.Namespace) -> Calibration:
    """Write the set, and run every rung of the ladder on all of it."""
    inputs, originals = folder / "in", folder / "originals"
    for target in (inputs, originals):
        target.mkdir()
    for name, lr, hr in pictures(arguments):
        for kind, pixels in (("clean", lr), ("noisy", noisy(lr, name))):
            (inputs / f"{name}-{kind}.png").write_bytes(_png(pixels))
            (originals / f"{name}-{kind}.png").write_bytes(_png(hr))
    num = len(list(inputs.iterdir()))
    spec = JobSpec(input=str(inputs), output="nowhere", model=arguments.model)
    reference = None if arguments.score == "detail" else str(originals)
    return calibrate(spec, SampleSizes(num, num, 6), arguments.score, reference)


def pictures(arguments: argparse.Namespace) -> list[tuple[str, Pixels, Pixels]]:
    """Return (name, lr, hr) of photographs and of as many flat pictures."""
    num = 1 if arguments.quick else 2
    crops = list(sample_crops(num, 3 if arguments.quick else None))
    if arguments.photos is not None and not arguments.quick:
        crops += list(heldout_crops(arguments.photos, num))
    found = [
        (f"{crop.source}-{crop.photo}-{crop.top}-{crop.left}", crop.lr, crop.hr)
        for crop in crops
        if crop.lr.shape[:2] == (SIDE_PX, SIDE_PX)
    ]
    return found + [(f"flat-{number}", *flat(number)) for number in range(len(found))]


def flat(number: int) -> tuple[Pixels, Pixels]:
    """Return a plain ground with a disc on it, reduced and whole."""
    side = SIDE_PX * _SCALE
    colours = np.random.RandomState(number).randint(20, 236, size=(2, 3))
    y, x = np.mgrid[:side, :side] - side / 2
    inside = (np.hypot(y, x) < side / 5)[..., None]
    hr = Image.fromarray(np.where(inside, colours[0], colours[1]).astype(np.uint8))
    return np.asarray(hr.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)), np.asarray(hr)


def noisy(lr: Pixels, name: str) -> Pixels:
    """Return pixels with white noise, the same for the same name."""
    seed = int(unit_hash(name, "noise") * 2**32)
    noise = np.random.RandomState(seed).normal(0, 255 * NOISE_STD, lr.shape)
    return np.asarray((lr + noise).round().clip(0, 255), np.uint8)


def compare(everything: Calibration) -> dict[str, object]:
    """Return the figures of the last line."""
    ladder = everything.facts.ladder
    learnt, judged = _split(everything)
    calibration = _restricted(everything, learnt)
    by_texture, by_lambda, at_texture = _policies(everything, learnt, judged)
    mean_steps = _mean_steps(by_texture, ladder)
    equal = equal_quality(everything, calibration, judged)
    figures: dict[str, object] = {
        **_figures("nfe_share_at_equal_quality", equal),
        **_figures("nfe_share_texture", nfe_share_at_equal_quality(by_texture, ladder)),
        **_figures("quality_gain_at_equal_nfe", quality_gain_at_equal_nfe(by_lambda, ladder)),
        **_figures("quality_gain_folds", quality_gain_at_equal_nfe(folded(everything), ladder)),
        **_figures("quality_gain_texture", quality_gain_at_equal_nfe(by_texture, ladder)),
        **_figures("texture_over_top", _over_top(by_texture)),
        "texture_share_of_top": round(mean_steps / ladder[-1], 4),
        "texture_steps": round(mean_steps, 3),
        "mean_steps": round(_mean_steps(by_lambda, ladder), 3),
        "cap_error": round(cap_error(calibration, judged), 4),
    }
    for kind in ("clean", "noisy"):
        steps = [_lambda_steps(at_texture, e) for e in judged if e.image_key.startswith("flat") and kind in e.image_key]
        figures[f"{kind}_flat_steps"] = round(float(np.mean(steps)), 3) if steps else None
    return figures


def folded(everything: Calibration) -> list[Measured]:
    """Return every image as the λ policy runs it, its plan made from the pictures of the other folds."""
    found = []
    for fold in range(_FOLDS):
        judged, learnt = _split(everything, fold)
        if judged:  # with fewer pictures than folds some are empty
            found += _policies(everything, learnt, judged)[1]
    return found


def equal_quality(everything: Calibration, calibration: Calibration, judged: Sequence[Scanned]) -> tuple[float, ...]:
    """Return the NFE share of the λ policy against the fixed top rung at its quality or better, with its interval."""
    ladder = everything.facts.ladder
    best = _target(calibration, Goal("best"))
    top = ladder[-1]
    for choice in _choices(calibration):
        found = [
            _measured(everything, each, assign(best, choice, each.texture_score, each.image_key).num_steps)
            for each in judged
        ]
        gains = sum(e.num_tiles * (e.qualities[e.chosen] - e.qualities[-1]) for e in found)
        if gains >= 0:
            break
    used = np.array([ladder[each.chosen] * each.num_tiles for each in found], np.float64)
    full = np.array([top * each.num_tiles for each in found], np.float64)
    picks = np.random.RandomState(0).randint(len(found), size=(1000, len(found)))
    low, high = np.percentile(used[picks].sum(1) / full[picks].sum(1), (2.5, 97.5))
    return float(used.sum() / full.sum()), float(low), float(high)


def cap_error(calibration: Calibration, judged: Sequence[Scanned]) -> float:
    """Return by what share the replayed run misses its cap."""
    best = solve(calibration, Goal("best"), Terms())
    middle = (best.problem.least.cost + best.problem.most.cost) / 2
    # a hair more, so that it is not below the least by rounding where there is nothing to climb
    plan = target_of(solve(calibration, Goal("max_device_hours", middle * (1 + 1e-9) / 3600), Terms()))
    planned_tiles = sum(each.weight for each in plan.bins)
    random = np.random.RandomState(0)
    dataset = [
        Seen(f"{number}/{each.image_key}", each.texture_score, each.num_tiles)
        for number, each in enumerate(judged[pick] for pick in random.randint(len(judged), size=REPLAYED))
    ]
    scale = REPLAYED * plan.tiles_per_image / planned_tiles
    bins = tuple(each.model_copy(update={"weight": each.weight * scale}) for each in plan.bins)
    target = plan.model_copy(update={"bins": bins, "cap": (plan.cap or 0.0) * scale})
    num_holdout = sum(is_holdout(target, image.image_key) for image in dataset)
    controller, total = Controller(target, REPLAYED, num_holdout=num_holdout), 0.0
    waiting: list[tuple[str, float]] = []
    for first in range(0, REPLAYED, BLOCK):
        group = dataset[first : first + BLOCK]
        keys = [image.image_key for image in group]
        choice = controller.choose(keys, group)
        controller.promise(f"{first}", keys, group, choice)
        cost = math.fsum(
            assign(target, choice, i.texture_score, i.image_key).cost_per_tile * i.num_tiles for i in group
        )
        taken = cost * (1.15 + 0.25 * math.sin(7 * first / REPLAYED))
        total += taken
        waiting.append((f"{first}", taken))
        if len(waiting) == AT_ONCE:
            controller.record(*waiting.pop(0))
    return total / (target.cap or 1.0) - 1


def _split(everything: Calibration, fold: int = 0) -> tuple[list[Scanned], list[Scanned]]:
    """Return a third of the flat pictures and of the others, one of three by `fold`, and the other two.

    Copies of one picture stay together.
    """
    pictures = {each.image_key: each.image_key.rpartition("-")[0] or each.image_key for each in everything.readable}
    third: set[str] = set()
    for is_flat in (True, False):
        kind = {name for name in pictures.values() if name.startswith("flat") is is_flat}
        third |= set(sorted(kind, key=lambda name: unit_hash(name, "split"))[fold::_FOLDS])
    halves = [
        [e for e in everything.readable if (pictures[e.image_key] in third) is inside] for inside in (True, False)
    ]
    return halves[0], halves[1]


def _policies(
    everything: Calibration, learnt: Sequence[Scanned], judged: Sequence[Scanned]
) -> tuple[list[Measured], list[Measured], TargetSpec]:
    """Return what is judged, as the texture policy runs it and the λ policy at that cost, and the latter's plan."""
    by_texture = [_measured(everything, each, _texture_steps(each)) for each in judged]
    steps = max(_mean_steps(by_texture, everything.facts.ladder), 1e-9)
    target = _target(_restricted(everything, learnt), Goal("max_mean_steps", steps))
    return by_texture, [_measured(everything, each, _lambda_steps(target, each)) for each in judged], target


def _restricted(everything: Calibration, learnt: Sequence[Scanned]) -> Calibration:
    keys = {each.image_key for each in learnt}
    edges = bin_edges([each.texture_score for each in learnt], 6, len(learnt))
    rungs = tuple(rung for rung in everything.rungs if rung.image_key in keys)
    return Calibration(everything.facts, tuple(learnt), rungs, edges)


def _measured(everything: Calibration, each: Scanned, steps: int) -> Measured:
    ladder = everything.facts.ladder
    rungs = sorted((r for r in everything.rungs if r.image_key == each.image_key), key=lambda rung: rung.num_steps)
    costs = tuple(float(rung.num_steps * each.num_tiles) for rung in rungs)
    return Measured(each.num_tiles, costs, tuple(rung.score for rung in rungs), ladder.index(steps))


def _texture_steps(each: Scanned) -> int:
    return choose_steps(BudgetSpec(), each.texture_score, each.image_key)


def _lambda_steps(target: TargetSpec, each: Scanned) -> int:
    choice = Choice(target.multiplier, target.share)
    return assign(target, choice, each.texture_score, each.image_key).num_steps


def _target(calibration: Calibration, goal: Goal) -> TargetSpec:
    return target_of(solve(calibration, goal, Terms(), holdout_share=0.0))


def _choices(calibration: Calibration) -> list[Choice]:
    problem = solve(calibration, Goal("best"), Terms(), holdout_share=0.0).problem
    return [Choice(multiplier, 1.0) for multiplier in problem.multipliers] or [Choice(0.0, 0.0)]


def _mean_steps(measured: Sequence[Measured], ladder: Sequence[int]) -> float:
    return sum(ladder[e.chosen] * e.num_tiles for e in measured) / sum(e.num_tiles for e in measured)


def _over_top(measured: Sequence[Measured]) -> tuple[float, ...]:
    tiles = np.array([each.num_tiles for each in measured])
    over = np.array([each.qualities[each.chosen] - each.qualities[-1] for each in measured]) * tiles
    picks = np.random.RandomState(0).randint(len(measured), size=(1000, len(measured)))
    low, high = np.percentile(over[picks].sum(1) / tiles[picks].sum(1), (2.5, 97.5))
    return float(over.sum() / tiles.sum()), float(low), float(high)


def _figures(name: str, found: object) -> dict[str, object]:
    value, low, high = found if isinstance(found, tuple) else (found.value, found.low, found.high)  # type: ignore[attr-defined]
    return {name: round(value, 4), f"{name}_low": round(low, 4), f"{name}_high": round(high, 4)}


def _png(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG")
    return out.getvalue()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What budgets are worth.")
    parser.add_argument("--quick", action="store_true", help="three photographs and three flat pictures")
    parser.add_argument("--photos", type=Path, help="the folder that training filled: its held-out photographs too")
    parser.add_argument("--model", default="tss-x4-small", help="embedded name or model folder")
    parser.add_argument("--score", default="detail", choices=("detail", "psnry", "ssim"))
    parser.add_argument("--out", type=Path, help="folder for budget.parquet, every image on every rung")
    parser.add_argument("--measured", type=Path, help="budget.parquet of an earlier --out, instead of measuring")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
