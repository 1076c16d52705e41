"""Promises of the gates: what is no picture of its input is refused, and what is one never is."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from tss_ray.imaging.planes import to_pixels, to_planes
from tss_ray.imaging.resample import downsample, upsample
from tss_ray.quality import gates
from tss_ray.quality.gates import MAX_SHIFT
from tss_ray.storage.sample_photos import reduced_png

Pixels = NDArray[np.uint8]
FINITE = [torch.zeros(3, 4, 4)]


def photo(side: int = 64) -> Pixels:
    with Image.open(io.BytesIO(reduced_png("chelsea"))) as image:
        return np.array(image.convert("RGB").crop((30, 10, 30 + side, 10 + side)))


def enlarged(lr: Pixels) -> Pixels:
    return to_pixels(upsample(to_planes(lr)[None], 4)[0])


def reduced(planes: torch.Tensor) -> torch.Tensor:
    return downsample(planes[None], 4)[0]


def added(sr: Pixels, lr: Pixels) -> torch.Tensor:
    return reduced(to_planes(sr) - to_planes(enlarged(lr)))


def refusal(tiles: list[torch.Tensor], sr: Pixels, lr: Pixels) -> str | None:
    return gates.refusal(tiles, added(sr, lr), reduced(to_planes(sr)), to_planes(lr))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_value_that_is_no_number_is_enough(value: float) -> None:
    tile = torch.zeros(3, 64, 64)
    tile[1, 20, 30] = value
    assert refusal([*FINITE, tile], enlarged(photo()), photo()) == "output_nan"


def test_the_enlargement_passes() -> None:
    assert refusal(FINITE, enlarged(photo()), photo()) is None


def test_black_is_refused_whole_or_in_one_tile() -> None:
    sr = enlarged(photo())
    assert refusal(FINITE, np.zeros_like(sr), photo()) == "output_black"
    sr[64:128, 128:192] = 0
    assert refusal(FINITE, sr, photo()) == "output_black"


def test_a_black_input_may_come_out_black_and_a_flat_one_flat() -> None:
    black, flat = np.zeros((20, 30, 3), np.uint8), np.full((20, 30, 3), 90, np.uint8)
    assert refusal(FINITE, enlarged(black), black) is None
    assert refusal(FINITE, enlarged(flat), flat) is None


def test_one_colour_is_refused_even_if_it_is_the_mean() -> None:
    rng = np.random.default_rng(0)
    lr = rng.integers(100, 140, (32, 32, 3), np.uint8)
    sr = np.broadcast_to(lr.mean((0, 1)).round().astype(np.uint8), (128, 128, 3))
    assert gates.worst_shift(added(sr, lr), to_planes(lr)) < MAX_SHIFT
    assert refusal(FINITE, sr, lr) == "output_constant"


@pytest.mark.parametrize(
    "spoil", [lambda sr: 255 - sr, lambda sr: np.roll(sr, 1, 2), lambda sr: sr * np.uint8([1, 0, 1])]
)
def test_other_colours_are_refused(spoil: object) -> None:
    lr = np.zeros((40, 40, 3), np.uint8)
    lr[:, :20], lr[:, 20:] = (200, 120, 30), (20, 90, 220)
    assert refusal(FINITE, spoil(enlarged(lr)), lr) == "output_off_colour"


def test_a_blotch_in_the_last_corner_is_seen() -> None:
    lr = np.full((43, 45, 3), 120, np.uint8)
    sr = enlarged(lr)
    sr[-32:, -32:, 0] = 255
    assert refusal(FINITE, sr, lr) == "output_off_colour"


@settings(deadline=None, max_examples=150)
@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 21), st.integers(1, 21), st.just(3)), elements=st.sampled_from([0, 9, 255])
    )
)
def test_no_enlargement_is_ever_refused_however_hard_its_edges(lr: Pixels) -> None:
    assert refusal(FINITE, enlarged(lr), lr) is None
