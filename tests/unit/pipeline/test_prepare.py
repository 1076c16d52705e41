"""Promises of the probe: what is seen in an image before it is upscaled."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tss_ray.pipeline.probe import probe
from tss_ray.storage.sample_photos import reduced_png


def pixels(mode: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(reduced_png("chelsea"))) as photo:
        out = np.array(photo.convert(mode))
    return out.reshape(*out.shape[:2], -1)


def test_noise_raises_the_estimate_and_hides_blur_but_buys_no_texture() -> None:
    clean, rng = pixels("RGB"), np.random.default_rng(0)
    noisy = (clean + rng.normal(0, 8, (*clean.shape[:2], 1))).clip(0, 255).astype(np.uint8)
    before, after = probe(clean), probe(noisy)
    assert after.noise_sigma == pytest.approx(8 / 255, rel=0.2)
    assert after.noise_sigma > 3 * before.noise_sigma
    assert after.texture_score < before.texture_score + 0.02
    assert before.blur_score is not None
    assert after.blur_score is not None
    assert after.blur_score < before.blur_score


def test_grey_is_seen_as_the_same_grey_in_three_channels() -> None:
    grey = pixels("L")
    assert probe(grey) == probe(np.repeat(grey, 3, 2))


def test_alpha_is_not_looked_at() -> None:
    rgb = pixels("RGB")
    alpha = np.random.default_rng(0).integers(0, 256, (*rgb.shape[:2], 1), dtype=np.uint8)
    assert probe(np.concatenate([rgb, alpha], 2)) == probe(rgb)
    assert probe(np.concatenate([pixels("L"), alpha], 2)) == probe(pixels("L"))


def test_a_single_pixel_has_no_texture_no_noise_and_no_edge() -> None:
    seen = probe(np.full((1, 1, 3), 90, np.uint8))
    assert (seen.texture_score, seen.noise_sigma, seen.blur_score) == (0, 0, None)
