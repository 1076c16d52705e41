"""Promises of the streamed way: the same file as the way that holds all tiles, with few of them in memory."""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch

from tss_ray.engine.engine import Engine
from tss_ray.engine.thread import EngineThread
from tss_ray.imaging.channels import to_model_rgb
from tss_ray.models.base import SuperResolutionModel
from tss_ray.pipeline.finish import Finished, Streamed, finish, finish_streamed
from tss_ray.pipeline.plans import image_request
from tss_ray.pipeline.rows import PreparedImage
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec, load_spec

HEIGHT, WIDTH = 430, 650
"""Enlarged by 4 it is larger than a band."""


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Return RGBA of 16 bits: slopes, stripes and grain."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rng = np.random.default_rng(0)
    planes = [y * 40 + x * 50, (x // 9 % 2) * 40_000, x * 90, np.minimum(y * 200, 65_535)]
    noisy = np.stack(planes, 2) + rng.integers(0, 4000, (HEIGHT, WIDTH, 4))
    return noisy.clip(0, 65_535).astype(np.uint16)


@pytest.fixture(scope="module")
def engine(tiny_model: SuperResolutionModel) -> Iterator[EngineThread]:
    """Return a running engine of the tiny model with the tiles of a job."""
    with EngineThread(Engine(tiny_model, torch.device("cpu"), 8, 64, 16, num_levels=4)) as running:
        yield running


def prepared(spec: JobSpec, pixels: np.ndarray, linear: bool = False) -> PreparedImage:
    height, width = pixels.shape[:2]
    row = ManifestRow(
        image_key="a.png",
        input_uri="a",
        spec_hash="0",
        in_width=width,
        in_height=height,
        out_width=round(width * spec.scale),
        out_height=round(height * spec.scale),
    )
    return PreparedImage(row, pixels, linear=linear)


def both_ways(
    engine: EngineThread, pixels: np.ndarray, num_steps: int = 1, linear: bool = False, **settings: Any
) -> tuple[Finished, Streamed, bytes]:
    """Return an image finished whole and streamed, and the streamed file."""
    spec = load_spec(None, {"input": "in", "output": "out", "plan.n_range": [1, 2], "plan.levels": 4} | settings)
    image = prepared(spec, pixels, linear)
    request = image_request(spec.plan, 50, "a.png", to_model_rgb(pixels, linear), num_steps, 0)
    whole = finish(spec, image, engine.submit(request).result(), 4)
    file = BytesIO()
    streamed = finish_streamed(spec, image, engine.stream(request) if num_steps else None, 4, file)
    return whole, streamed, file.getvalue()


CASES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = {
    "16-bit RGBA": (lambda p: p, {}),
    "RGB": (lambda p: (p[..., :3] >> 8).astype(np.uint8), {}),
    "grey with alpha": (lambda p: (p[..., 2:] >> 8).astype(np.uint8), {}),
    "uncorrected": (lambda p: (p[..., :3] >> 8).astype(np.uint8), {"colour.correction": "none"}),
    "2.3 times": (lambda p: (p >> 8).astype(np.uint8), {"scale": 2.3}),
    "linear": (lambda p: p[..., :3], {"linear": True, "encode.format": "tiff"}),
    "no steps": (lambda p: (p[..., :3] >> 8).astype(np.uint8), {"num_steps": 0}),
    "no steps, 1.5 times": (lambda p: (p[..., :1] >> 8).astype(np.uint8), {"num_steps": 0, "scale": 1.5}),
    "webp": (lambda p: (p[:300, :, :3] >> 8).astype(np.uint8), {"encode.format": "webp"}),
}


@pytest.mark.parametrize("case", CASES)
def test_both_ways_write_the_same_bytes_and_measure_the_same(
    engine: EngineThread, pixels: np.ndarray, case: str
) -> None:
    change, settings = CASES[case]
    whole, streamed, file = both_ways(engine, change(pixels), **settings)
    assert file == whole.file.data
    assert (streamed.mode, streamed.bits, streamed.format) == (whole.file.mode, whole.file.bits, whole.format)
    assert streamed.colour_correction == whole.colour_correction
    assert streamed.lr_consistency_psnr == pytest.approx(whole.lr_consistency_psnr, abs=1e-4)
    assert streamed.colour_delta_e == pytest.approx(whole.colour_delta_e, rel=1e-3)
