"""Promises of the blur score: it follows blur, and agrees with the reference implementation on what is blurred."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from skimage.measure import blur_effect
from torch import Tensor

from tss_ray.imaging.blur import blur_score
from tss_ray.storage.sample_photos import names, reduced_png


def grey(name: str, blur_px: float = 0.0) -> Tensor:
    with Image.open(io.BytesIO(reduced_png(name))) as image:
        blurred = image.convert("L").filter(ImageFilter.GaussianBlur(blur_px))
    return torch.from_numpy(np.array(blurred, dtype=np.float32))[None, None] / 255


@pytest.mark.parametrize("name", names())
def test_more_blur_scores_more(name: str) -> None:
    scores = [blur_score(grey(name, px)) for px in (0, 0.6, 1, 2, 4)]
    assert None not in scores
    assert scores == sorted(scores)
    assert scores[-1] > 0.6
    assert scores[-1] > scores[0] + 0.25


def test_it_ranks_photographs_as_the_reference_does() -> None:
    images = [grey(name, px) for name in names() for px in (0, 1, 2)]
    ours = np.array([blur_score(y) for y in images])
    theirs = np.array([blur_effect(y[0, 0].numpy()) for y in images])  # Sobel and 11 taps where ours follows the paper
    assert np.corrcoef(ours.argsort().argsort(), theirs.argsort().argsort())[0, 1] > 0.9


def test_blur_along_one_axis_is_seen_whichever_it_is() -> None:
    y = grey("chelsea")
    smeared = torch.nn.functional.avg_pool2d(y, (1, 7), stride=1)
    assert blur_score(smeared) > blur_score(y) + 0.2
    assert blur_score(smeared.mT) == pytest.approx(blur_score(smeared))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (64, 64)])
def test_an_image_without_any_edge_has_none(shape: tuple[int, int]) -> None:
    assert blur_score(torch.full((1, 1, *shape), 0.5)) is None


@pytest.mark.parametrize("height", [1, 2, 8])
@pytest.mark.parametrize("width", [2, 3, 8, 100])
def test_tiny_images_have_a_score_within_0_and_1(height: int, width: int) -> None:
    score = blur_score(torch.rand((1, 1, height, width), generator=torch.Generator().manual_seed(0)))
    assert score is not None
    assert 0 <= score <= 1
