"""Promises of the probe of large images: by bands it sees what the whole shows."""

import io

import numpy as np
import pytest
from PIL import Image

from tss_ray.diffusion.texture import luma, noise_sigma, texture_map
from tss_ray.imaging import decode as decode_module
from tss_ray.imaging.decode import decode, num_px
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.tiles import tile_grid
from tss_ray.pipeline import probe as probe_module
from tss_ray.pipeline.probe import image_levels, probe, tile_scores
from tss_ray.storage.sample_photos import reduced_png


@pytest.fixture
def photo() -> np.ndarray:
    """Return a photograph with grain."""
    pixels = decode(reduced_png("chelsea"), 10**6).pixels
    return (pixels + np.random.default_rng(0).normal(0, 5, pixels.shape)).clip(0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    """Return a file of a kind: a mode of Pillow's, an orientation, a transparent colour."""
    file, image, options = io.BytesIO(), Image.fromarray(pixels), {}
    if kind == "turned":
        options["exif"] = Image.Exif()
        options["exif"][274] = 8
    elif kind == "key":
        options["transparency"] = tuple(int(value) for value in pixels[3, 5])
    elif kind == "palette key":
        image, options["transparency"] = image.convert("P"), 7
    else:
        image = image.convert(kind)
    image.save(file, "TIFF" if kind == "YCbCr" else "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("band_px", [1, 1000, 4000, 30_000])
def test_a_large_image_is_seen_by_bands_as_it_would_be_whole(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, band_px: int
) -> None:
    whole, levels = probe(photo), image_levels(photo, 8)
    monkeypatch.setattr(probe_module, "WHOLE_PX", 4 * band_px)
    seen = probe(photo)
    assert seen.texture_score == pytest.approx(whole.texture_score, rel=1e-5)
    assert seen.noise_sigma == pytest.approx(whole.noise_sigma, rel=1e-5)
    assert seen.blur_score == pytest.approx(whole.blur_score, rel=1e-5)
    assert whole.noise_sigma > 0.01
    assert (image_levels(photo, 8) != levels).mean() < 1e-3  # a value on the edge between two levels


def test_a_tile_s_score_is_the_mean_of_its_image_s_map(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = tile_grid(*photo.shape[:2], 16, 4)
    y = luma(to_planes(photo)[None])
    v = texture_map(y, noise_sigma(y))[0, 0]
    scores = tile_scores(photo, grid)
    assert scores == pytest.approx([v[t : t + 16, x : x + 16].mean().item() for t, x in grid.boxes()], rel=1e-5)
    assert max(scores) > 2 * min(scores)
    monkeypatch.setattr(probe_module, "WHOLE_PX", 4000)
    assert tile_scores(photo, grid) == pytest.approx(scores, rel=1e-4)


def test_tiles_that_stand_over_a_narrow_image_are_scored_by_what_it_fills() -> None:
    narrow = np.random.default_rng(0).integers(0, 256, (9, 40, 3), np.uint8)
    grid = tile_grid(9, 40, 16, 4)
    assert len(tile_scores(narrow, grid)) == grid.num_tiles == 3
    assert all(0 <= score <= 1 for score in tile_scores(narrow, grid))


def test_a_large_flat_image_has_no_texture_and_no_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "WHOLE_PX", 100)
    seen = probe(np.full((40, 30, 3), 90, np.uint8))
    assert (seen.texture_score, seen.noise_sigma, seen.blur_score) == (pytest.approx(0, abs=1e-6), 0, None)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "L", "LA", "P", "1", "YCbCr", "turned", "key", "palette key"])
def test_a_large_file_is_decoded_by_strips_as_it_would_be_whole(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    data = encoded(photo, kind)
    whole = decode(data, 10**6)
    monkeypatch.setattr(decode_module, "_STRIPS_FROM_PX", 4 * 7 * photo.shape[1])
    by_strips = decode(data, 10**6)
    assert np.array_equal(by_strips.pixels, whole.pixels)
    assert by_strips.pixels.dtype == np.uint8
    assert num_px(data) == photo.shape[0] * photo.shape[1]


def test_bytes_without_a_header_have_no_pixels() -> None:
    assert num_px(b"no image") == 0
