"""One training run from an empty folder to weights: photographs, pool, device, loop."""

import logging
from pathlib import Path

import torch

from tss_ray.errors import TrainingError
from tss_ray.training.crops import build_pool
from tss_ray.training.loop import train
from tss_ray.training.photos import Collection, fetch_photos, photos
from tss_ray.training.recipe import Recipe, load_recipe
from tss_ray.training.validation import Validator

log = logging.getLogger(__name__)


def run(
    photos_folder: Path, out: Path, recipe_path: Path | None = None, device: str = "auto", stop_at: int | None = None
) -> Path:
    """Fetch what `photos_folder` lacks, train into `out` (going on from its checkpoint) and return the weights' path.

    Without a `recipe_path` the defaults of `Recipe` hold; `stop_at` ends the run early at that iteration, as a
    checkpoint that a later call goes on from. Raises TrainingError as `load_recipe`, `fetch_photos`, `build_pool` and
    `train` do, and for a device that is not there.
    """
    if not logging.getLogger().handlers:  # a program that set up logging keeps its own
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("tss_ray").setLevel(logging.INFO)
    recipe = Recipe() if recipe_path is None else load_recipe(recipe_path)
    chosen = pick_device(device)
    collections: tuple[Collection, ...] = ("debian", "github") if recipe.crops.github else ("debian",)
    fetch_photos(photos_folder, collections)
    files = photos(photos_folder, "train", collections)
    pool = build_pool(files, recipe.crops)
    log.info(
        "%s: %d photographs, %d crop positions, iterations up to %d on %s",
        recipe.name,
        len(files),
        len(pool.positions),
        recipe.all_iterations if stop_at is None else min(stop_at, recipe.all_iterations),
        chosen,
    )
    validator = Validator(recipe, photos(photos_folder, "validation")) if recipe.validation.every else None
    weights = train(recipe, pool, out, chosen, stop_at, validator)
    log.info("weights: %s (%.1f MB)", weights, weights.stat().st_size / 1e6)
    return weights


def pick_device(name: str) -> str:
    """Return `name`, or for "auto" cuda where there is one, else cpu. Raises TrainingError for a device not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise TrainingError(f"device {name!r}: {error}; choose auto, cpu or cuda") from error
    return name
