from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tss_ray.training.crops import CropPool, build_pool
from tss_ray.training.recipe import Recipe

TINY = {
    "name": "tiny",
    "iterations": 6,
    "batch_size": 4,
    "warmup_iterations": 2,
    "checkpoint_every": 2,
    "unet": {"block_out_channels": (8, 8), "layers_per_block": 1, "norm_num_groups": 4},
    "adversarial": None,
    "crops": {"crop_px": 32, "margin_px": 8, "reductions": (2,), "min_side_px": 64},
}


@pytest.fixture
def tiny() -> Recipe:
    """A recipe that trains in a second."""
    return Recipe.model_validate(TINY)


@pytest.fixture(scope="session")
def photo_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two pictures of 256 px: waves, and one whose left half is flat and right half is noise."""
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[:256, :256]
    waves = 128 + 60 * np.sin(x / 5) * np.cos(y / 7)
    rng = np.random.default_rng(0)
    halves = np.where(x < 128, 90, rng.integers(0, 256, x.shape))
    for name, grey in (("a.png", waves), ("b.png", halves)):
        Image.fromarray(np.stack([grey, grey * 0.8, grey * 0.6], 2).astype(np.uint8)).save(folder / name)
    return [folder / "a.png", folder / "b.png"]


@pytest.fixture
def pool(tiny: Recipe, photo_files: list[Path]) -> CropPool:
    return build_pool(photo_files, tiny.crops)
