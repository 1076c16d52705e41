from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tss_ray.errors import TrainingError
from tss_ray.training import photos as photos_module
from tss_ray.training.crops import CropPool, build_pool, recolour
from tss_ray.training.recipe import Recipe


def test_texture_is_drawn_more_often_than_flatness(pool: CropPool) -> None:
    probability = np.diff(pool.cumulative, prepend=0)
    image, _, left = pool.positions.T
    flat, noise = (image == 1) & (left == 0), (image == 1) & (left >= 64)
    assert probability[noise].min() > 5 * probability[flat].max() > 0


def test_every_crop_position_lies_inside_its_photograph(pool: CropPool) -> None:
    for image, top, left in pool.positions:
        height, width = pool.images[image].shape[:2]
        assert top + pool.window_px <= height
        assert left + pool.window_px <= width


def test_the_generator_alone_decides_the_draw(pool: CropPool) -> None:
    first, again, other = (pool.draw(8, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == (8, 3, pool.window_px, pool.window_px)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def varied(pool: CropPool, **shares: float) -> CropPool:
    """Return the pool with other shares of what is varied."""
    return replace(pool, recipe=pool.recipe.model_copy(update=shares))


def test_a_share_of_the_crops_is_drawn_and_the_others_stay_what_they_were(pool: CropPool) -> None:
    plain, some, every = (
        varied(pool, drawn_share=share).draw(32, np.random.default_rng(3)) for share in (0.0, 0.4, 1.0)
    )
    same = [torch.equal(a, b) for a, b in zip(plain, some, strict=True)]
    assert 10 < sum(same) < 28
    assert not any(torch.equal(a, b) for a, b in zip(plain, every, strict=True))


def test_a_recoloured_crop_has_other_colours_and_the_same_structure(pool: CropPool) -> None:
    plain, recoloured = (varied(pool, recolour_share=share).draw(16, np.random.default_rng(3)) for share in (0.0, 1.0))
    for before, after in zip(plain, recoloured, strict=True):
        assert not torch.equal(before, after)
        if before.std() > 0.05:
            alike = torch.corrcoef(torch.stack([before.mean(0).flatten(), after.mean(0).flatten()]))[0, 1]
            assert abs(alike) > 0.9


def test_half_of_the_recoloured_are_inverted() -> None:
    rng, slope = np.random.default_rng(0), np.linspace(50, 200, 16).astype(np.uint8)
    crop = np.broadcast_to(slope[:, None], (16, 16))[..., None].repeat(3, 2)
    falls = [recolour(crop, rng)[0].mean() > recolour(crop, rng)[-1].mean() for _ in range(200)]
    assert 60 < sum(falls) < 140


def test_a_shrunk_crop_shows_more_of_its_photograph(pool: CropPool, photo_files: list[Path]) -> None:
    """Waves of a known length come closer together."""
    waves = build_pool(photo_files[:1], pool.recipe)
    as_is, shrunk = (
        varied(waves, shrink_share=share, largest_shrink=1.6).draw(64, np.random.default_rng(5)) for share in (0.0, 1.0)
    )
    assert as_is.shape == shrunk.shape

    def slope(crops: torch.Tensor) -> torch.Tensor:
        return crops.diff(dim=2).abs().mean() + crops.diff(dim=3).abs().mean()

    assert 1.1 < slope(shrunk) / slope(as_is) < 1.6


def test_photographs_that_are_too_small_are_refused_with_the_remedy(tiny: Recipe, photo_files: list[Path]) -> None:
    with pytest.raises(TrainingError, match=r"lower crops\.min_side_px"):
        build_pool(photo_files, tiny.crops.model_copy(update={"min_side_px": 500}))


def test_a_file_that_is_no_photograph_is_named(tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(TrainingError, match=r"broken\.jpg is no photograph"):
        build_pool([tmp_path / "broken.jpg"], tiny.crops)


def test_evenness_makes_large_photographs_count_less(tmp_path: Path, tiny: Recipe) -> None:
    """Of two photographs of noise, one four times as large, the large one is drawn four times, twice, as often."""
    rng = np.random.default_rng(0)
    files = [tmp_path / "large.png", tmp_path / "small.png"]
    for file, side in zip(files, (1024, 512), strict=True):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(file)
    for evenness, low, high in ((0.0, 3.5, 6.5), (0.5, 1.8, 2.6), (1.0, 0.99, 1.01)):
        pool = build_pool(files, tiny.crops.model_copy(update={"evenness": evenness, "reductions": (1,)}))
        weight = np.bincount(pool.positions[:, 0], weights=np.diff(pool.cumulative, prepend=0))
        assert low < weight[0] / weight[1] < high


def test_a_lossy_photograph_is_used_at_no_reduction_at_which_it_is_not_sharp(
    photo_files: list[Path], tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = tiny.crops.model_copy(update={"reductions": (1, 2), "min_side_px": 64})
    sizes = [image.shape for image in build_pool(photo_files[:1], both).images]
    assert sizes[0][0] == 2 * sizes[1][0]
    monkeypatch.setattr(photos_module, "debian_names", lambda: frozenset({photo_files[0].name}))
    assert [image.shape for image in build_pool(photo_files[:1], both).images] == sizes[1:]
