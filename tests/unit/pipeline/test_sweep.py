"""Promises of the streamed way: the same file as the way that holds all tiles, with few of them in memory."""

import itertools
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from checkpoints import write_ldm

from tss_ray.engine.engine import Engine
from tss_ray.engine.stream import rows_ahead
from tss_ray.engine.thread import EngineThread
from tss_ray.errors import GateError
from tss_ray.imaging.channels import to_model_rgb
from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.card import ModelCard
from tss_ray.models.registry import load_model
from tss_ray.pipeline import finish as finish_module
from tss_ray.pipeline import sweep
from tss_ray.pipeline.finish import Finished, Streamed, finish, finish_streamed
from tss_ray.pipeline.plans import image_request
from tss_ray.pipeline.rows import PreparedImage
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec, load_spec

HEIGHT, WIDTH = 170, 130
BAND_PX = 60_000
"""The result is made in bands, as one of more than 4 million px is."""


@pytest.fixture(autouse=True)
def narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make bands of few rows."""
    monkeypatch.setattr(finish_module, "BAND_PX", BAND_PX)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Return RGBA of 16 bits: slopes, stripes and grain."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rng = np.random.default_rng(0)
    planes = [y * 150 + x * 200, (x // 9 % 2) * 40_000, x * 300, np.minimum(y * 500, 65_535)]
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
    engine: EngineThread,
    card: ModelCard,
    pixels: np.ndarray,
    num_steps: int = 1,
    linear: bool = False,
    **settings: Any,
) -> tuple[Finished, Streamed, bytes]:
    """Return an image finished whole and streamed, and the streamed file."""
    spec = load_spec(None, {"input": "in", "output": "out", "plan.n_range": [1, 2], "plan.levels": 4} | settings)
    image = prepared(spec, pixels, linear)
    request = image_request(spec.plan, card.num_timesteps, "a.png", to_model_rgb(pixels, linear), num_steps, 0)
    whole = finish(spec, image, engine.submit(request).result(), card.scale)
    file = BytesIO()
    streamed = finish_streamed(spec, image, engine.stream(request) if num_steps else None, card, file)
    return whole, streamed, file.getvalue()


CASES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = {
    "16-bit RGBA": (lambda p: p, {}),
    "RGB": (lambda p: (p[..., :3] >> 8).astype(np.uint8), {}),
    "grey with alpha": (lambda p: (p[..., 2:] >> 8).astype(np.uint8), {}),
    "uncorrected": (lambda p: (p[..., :3] >> 8).astype(np.uint8), {"colour.correction": "none"}),
    "crisper": (lambda p: (p[..., :3] >> 8).astype(np.uint8), {"plan.detail_gain": 1.7}),
    "2.3 times": (lambda p: (p >> 8).astype(np.uint8), {"scale": 2.3}),
    "no steps": (lambda p: (p[..., :3] >> 8).astype(np.uint8), {"num_steps": 0}),
    "no steps, 1.5 times": (lambda p: (p[..., :1] >> 8).astype(np.uint8), {"num_steps": 0, "scale": 1.5}),
    "webp": (lambda p: (p[..., :3] >> 8).astype(np.uint8), {"encode.format": "webp"}),
}


@pytest.mark.parametrize("case", CASES)
def test_both_ways_write_the_same_bytes_and_measure_the_same(
    engine: EngineThread, tiny_model: SuperResolutionModel, pixels: np.ndarray, case: str
) -> None:
    change, settings = CASES[case]
    whole, streamed, file = both_ways(engine, tiny_model.card, change(pixels), **settings)
    assert file == whole.file.data
    assert (streamed.mode, streamed.bits, streamed.format) == (whole.file.mode, whole.file.bits, whole.format)
    assert streamed.colour_correction == whole.colour_correction
    assert streamed.lr_consistency_psnr == pytest.approx(whole.lr_consistency_psnr, abs=1e-4)
    assert streamed.colour_delta_e == pytest.approx(whole.colour_delta_e, rel=1e-3)


def test_a_model_that_paints_pixels_writes_the_same_bytes_both_ways(
    pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, gate in ((finish_module, "refusal"), (sweep, "off_colour"), (sweep, "constant")):
        monkeypatch.setattr(module, gate, lambda *_: None)  # weights by chance paint no picture of the input
    model = load_model(str(write_ldm(tmp_path / "ldm")), torch.device("cpu"), torch.float32)
    assert model.card.paints_pixels
    rgb = np.ascontiguousarray((pixels[:90, :80, :3] >> 8).astype(np.uint8))
    with EngineThread(Engine(model, torch.device("cpu"), 4, 32, 8, num_levels=4)) as engine:
        whole, streamed, file = both_ways(engine, model.card, rgb)
    assert file == whole.file.data
    assert streamed.lr_consistency_psnr == pytest.approx(whole.lr_consistency_psnr, abs=1e-4)


def test_linear_values_are_the_same_to_rounding(
    engine: EngineThread, tiny_model: SuperResolutionModel, pixels: np.ndarray
) -> None:
    # the curve of sRGB is a power, whose last bits depend on where in memory a value lies
    settings = {"linear": True, "encode.format": "tiff"}
    whole, _, file = both_ways(engine, tiny_model.card, pixels[..., :3], **settings)
    ours, theirs = (tifffile.imread(BytesIO(data)).astype(int) for data in (file, whole.file.data))
    assert ours.shape == theirs.shape == (4 * HEIGHT, 4 * WIDTH, 3)
    assert abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("times", [3, 6])
def test_what_is_held_is_some_rows_of_tiles_whatever_the_height(
    engine: EngineThread,
    tiny_model: SuperResolutionModel,
    pixels: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    tall = np.tile((pixels[..., :3] >> 8).astype(np.uint8), (times, 1, 1))
    spec = load_spec(None, {"input": "in", "output": "out"})
    stream = engine.stream(image_request(spec.plan, 50, "a.png", tall, 1, 0))
    held, drop = [], stream.drop
    monkeypatch.setattr(stream, "drop", lambda row: (held.append(stream.num_held), drop(row)))
    finish_streamed(spec, prepared(spec, tall), stream, tiny_model.card, BytesIO())
    most = rows_ahead(stream.grid, 8) + 4  # one is asked for, three have what the rows below still look at
    assert max(held) <= most * len(stream.grid.lefts)
    assert times < 6 or max(held) < stream.grid.num_tiles / 2


@pytest.mark.parametrize(("value", "kind"), [(float("nan"), "output_nan"), (1.0, "output_off_colour")])
def test_what_is_no_picture_of_its_input_is_refused_before_the_last_row(
    engine: EngineThread,
    tiny_model: SuperResolutionModel,
    pixels: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    value: float,
    kind: str,
) -> None:
    spec = load_spec(None, {"input": "in", "output": "out"})
    rgb = (pixels[..., :3] >> 8).astype(np.uint8)
    stream = engine.stream(image_request(spec.plan, 50, "a.png", rgb, 1, 0))
    tile, asked = stream.tile, []
    monkeypatch.setattr(
        stream, "tile", lambda index, stopping: (asked.append(index), torch.full_like(tile(index), value))[1]
    )
    with pytest.raises(GateError) as refused:
        finish_streamed(spec, prepared(spec, rgb), stream, tiny_model.card, BytesIO())
    assert refused.value.kind == kind
    assert max(asked) < stream.grid.num_tiles - 1
    stream.give_up()


def test_one_colour_of_an_input_of_several_is_refused(
    tiny_model: SuperResolutionModel, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(None, {"input": "in", "output": "out"})
    monkeypatch.setattr(sweep, "upsample_part", lambda part, top, scale, first, last: torch.zeros(3, last - first, 520))
    with pytest.raises(GateError, match="output_constant"):
        finish_streamed(spec, prepared(spec, (pixels[..., :3] >> 8).astype(np.uint8)), None, tiny_model.card, BytesIO())


@pytest.mark.parametrize("scale", [4, 2.3])
def test_each_row_is_enlarged_once_for_its_file_and_for_what_is_measured(
    tiny_model: SuperResolutionModel, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    spec = load_spec(None, {"input": "in", "output": "out", "scale": scale})
    made: list[tuple[int, int]] = []
    upsample = sweep.upsample_part
    monkeypatch.setattr(sweep, "upsample_part", lambda *args: (made.append(args[3:]), upsample(*args))[1])
    rgb = (pixels[..., :3] >> 8).astype(np.uint8)
    finish_streamed(spec, prepared(spec, rgb), None, tiny_model.card, BytesIO())
    assert made[0][0] == 0
    assert made[-1][1] == 4 * HEIGHT
    assert all(last == first for (_, last), (first, _) in itertools.pairwise(made))
