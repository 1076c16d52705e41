"""Which recipe learns most in little time? Short trainings from nothing, each with one setting changed.

    python jobs/benchmarks/recipes.py --photos photos [--iterations 500] [--variant 'name: key=value key.key=value']

The protocol
- Every variant trains the first phase (denoising) from random weights for the same number of iterations, on the same
  crops in the same order where its crops are of the same size, with a cosine decay that ends with it. Variants that
  change crops change the batch too, so that the number of pixels, and with it the compute, stays the same.
- Then the averaged weights enlarge the crops of the split `validation` in 1, 4, 7 and 15 TDS steps, as `tss-ray train`
  measures itself: gain in PSNR-Y over bicubic (dB), NIQE (lower is better; needs niqe_parameters.py).
- One seed each, and a small fraction of a real training: another seed of the same recipe strayed by 0.05 dB at 1 step
  and by 0.2 at several, and what wins early need not win late. --seeds 3 shows how far one setting strays by itself.

The table goes to stderr as Markdown. The last line of stdout is one JSON object: variant -> list of the runs'
{"gain_1", "gain_7", "niqe_7", ...}.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tss_ray.errors import TrainingError, TssRayError
from tss_ray.training.crops import build_pool
from tss_ray.training.job import pick_device
from tss_ray.training.loop import train
from tss_ray.training.photos import photos
from tss_ray.training.recipe import Recipe, load_recipe
from tss_ray.training.validation import Validator

VARIANTS = (
    "as it is:",
    "predicts v: prediction_type=v",
    "SNR weight capped at 5: snr_weight_cap=5",
    "SNR weight capped at 1000: snr_weight_cap=1000",
    "schedule shifted to noise: schedule_shift=-1.4",
    "schedule shifted to clean: schedule_shift=1.4",
    "residual scale halved: residual_scale=0.05",
    "residual scale doubled: residual_scale=0.2",
    "longer crops, fewer: crops.crop_px=192 batch_size=4",
)
_STEPS = (1, 4, 7, 15)


def main() -> int:
    """Train, measure, report, and return the exit code."""
    arguments = _arguments()
    try:
        base, device = load_recipe(arguments.recipe), pick_device(arguments.device)
        recipes = dict(variant(text, base, arguments.iterations) for text in arguments.variant or VARIANTS)
        print(f"| {arguments.iterations} iterations | {' | '.join(_headings())} | minutes |", file=sys.stderr)
        print(f"|---{'|---' * (len(_headings()) + 1)}|", file=sys.stderr)
        runs: dict[str, list[dict[str, float | None]]] = {name: [] for name in recipes}
        for seed in range(arguments.seeds):
            for name, recipe in recipes.items():
                since = time.monotonic()
                figures = _run(recipe.model_copy(update={"seed": seed}), arguments.photos, device)
                runs[name].append(figures)
                values = " | ".join("–" if value is None else f"{value:.3f}" for value in figures.values())
                print(f"| {name} | {values} | {(time.monotonic() - since) / 60:.1f} |", file=sys.stderr, flush=True)
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(runs))
    return 0


def variant(text: str, base: Recipe, iterations: int) -> tuple[str, Recipe]:
    """Return the name and the recipe of 'name: key=value key.key=value'; the values are YAML without spaces.

    Raises TrainingError for what is not of that form, and for what the recipe refuses.
    """
    name, colon, settings = text.partition(":")
    if not colon:
        raise TrainingError(f"variant {text!r} has no colon; write 'name: key=value key=value'")
    data = base.model_dump()
    data |= {"iterations": iterations, "decay_iterations": iterations, "adversarial": None, "initial_weights": None}
    data["validation"] |= {"steps": _STEPS, "every": iterations}
    try:
        for setting in settings.split():
            key, _, value = setting.partition("=")
            *path, last = key.split(".")
            place: dict[str, Any] = data
            for part in path:
                place = place[part]
            place[last] = yaml.safe_load(value)
        return name.strip(), Recipe.model_validate(data)
    except (KeyError, TypeError, ValidationError, yaml.YAMLError) as error:
        raise TrainingError(f"variant {text!r}: {error}; correct its settings (tss_ray/training/recipe.py)") from error


def _run(recipe: Recipe, folder: Path, device: str) -> dict[str, float | None]:
    """Train one recipe and return its figures at the end."""
    validator = Validator(recipe, photos(folder, "validation"))
    with tempfile.TemporaryDirectory(prefix="tss-ray-recipes-") as out:
        train(recipe, build_pool(photos(folder, "train"), recipe.crops), Path(out), device, validator=validator)
        rows = [json.loads(line) for line in (Path(out) / "validation.jsonl").read_text().splitlines()]
    by_steps = {row["num_steps"]: row for row in rows}
    gains = {f"gain_{num}": by_steps[num]["psnry_gain"] for num in _STEPS}
    return gains | {f"niqe_{num}": by_steps[num]["niqe"] for num in _STEPS}


def _headings() -> list[str]:
    return [f"{kind}, {num} step{'s' * (num > 1)}" for kind in ("gain dB", "NIQE") for num in _STEPS]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "train_x4.yaml")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--iterations", type=int, default=500, help="of each variant")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each variant")
    parser.add_argument("--variant", action="append", help="'name: key=value ...', instead of the built-in ones")
    arguments = parser.parse_args()
    names = Counter(text.partition(":")[0].strip() for text in arguments.variant or ())
    if twice := [name for name, count in names.items() if count > 1]:
        parser.error(f"variants share the name {twice[0]!r}; name each differently")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
