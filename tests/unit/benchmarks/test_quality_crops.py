from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quality_crops import CROP_PX, photo_crops

_LEVELS = {(0, 0): 60, (0, 1): 5, (1, 0): 20, (1, 1): 40}
"""How much noise each quarter of the photograph has."""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Write a photograph of four quarters, each of a crop's size and of a texture of its own."""
    noise = np.random.RandomState(0).uniform(-1, 1, (2 * CROP_PX, 2 * CROP_PX, 3))
    for (row, column), level in _LEVELS.items():
        noise[row * CROP_PX :, column * CROP_PX :][:CROP_PX, :CROP_PX] *= level
    path = tmp_path / "quarters.png"
    Image.fromarray((128 + noise).astype(np.uint8).repeat(2, 0).repeat(2, 1)).save(path)  # it is reduced by 2 first
    return path


def _quarters(path: Path, num: int, **settings) -> list[tuple[int, int]]:
    crops = photo_crops("heldout", [path], num, **settings)
    return [(crop.top // CROP_PX, crop.left // CROP_PX) for crop in crops]


def test_crops_are_the_most_textured_windows(photo: Path) -> None:
    assert _quarters(photo, 3) == [(0, 0), (1, 1), (1, 0)]


def test_smooth_ones_are_the_smoothest_beside_the_most_textured(photo: Path) -> None:
    assert _quarters(photo, 2, windows="smooth") == [(0, 1), (1, 0)]
    assert _quarters(photo, 9, windows="smooth") == [(0, 1), (1, 0), (1, 1)]


def test_a_photograph_with_room_for_one_window_has_no_smooth_one(photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as picture:
        picture.crop((0, 0, 3 * CROP_PX, 2 * CROP_PX)).save(tmp_path / "small.png")
    assert _quarters(tmp_path / "small.png", 2) != []
    assert _quarters(tmp_path / "small.png", 2, windows="smooth") == []
