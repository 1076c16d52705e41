"""Promises of before and after."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from tss_ray.report.build import ReportOptions, ask_figures
from tss_ray.report.figures import Example
from tss_ray.report.gallery import SIDE_PX, Pair, busiest, pairs
from tss_ray.spec import StoreSpec


def made_pairs(output: Path) -> list[Pair]:
    examples: tuple[Example, ...] = ask_figures(str(output), ReportOptions()).worst
    return list(pairs(examples, StoreSpec(), StoreSpec()).values())


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,")))).convert("RGB")


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_both_pictures_show_the_same_place_at_the_size_of_the_output(
    mode: str, picture_output: Callable[..., Path]
) -> None:
    for pair in made_pairs(picture_output(["a.png", "b/c.png"], mode)):
        assert pair.fault == ""
        before, after = opened(pair.before), opened(pair.after)
        assert before.size == after.size == (pair.width, pair.height) == (SIDE_PX, SIDE_PX)
        # The fixture's output is the bicubic enlargement itself: only the coding of WebP may differ.
        assert np.asarray(ImageChops.difference(before, after)).mean() < 3


def test_what_is_gone_or_changed_says_so_and_the_others_are_shown(picture_output: Callable[..., Path]) -> None:
    output = picture_output(["a.png", "b.png", "c.png", "d.png"])
    (output.parent / "in/a.png").unlink()
    Image.new("RGB", (300, 400)).save(output / "images/b.png")
    (output / "images/c.png").write_bytes(b"rotten")
    faults = {pair.example.image_key: pair.fault for pair in made_pairs(output)}
    assert "does not exist" in faults["a.png"]
    assert "changed after the run" in faults["b.png"]
    assert faults["c.png"]
    assert faults["d.png"] == ""


def test_the_busiest_crop_holds_the_busy_corner_and_small_images_are_shown_whole() -> None:
    picture = np.zeros((60, 80), np.uint8)
    picture[40:55, 50:75] = np.random.RandomState(0).randint(0, 255, (15, 25))
    left, top, right, bottom = busiest(picture, 30)
    assert (right - left, bottom - top) == (30, 30)
    assert left <= 50
    assert right >= 75
    assert top <= 40
    assert bottom >= 55
    assert busiest(np.zeros((5, 3), np.uint8), 30) == (0, 0, 3, 5)
