"""The engine's promises hold for every family: it knows nothing of them."""

import dataclasses
import random
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import write_ldm, write_sd_controlnet, write_sd_upscaler
from crowds import assert_a_crowd_changes_nothing
from resshift import write_resshift
from tiny import write_tiny_model

from tss_ray.diffusion.spatial import level_parameters
from tss_ray.diffusion.timesteps import make_plan, plan_table
from tss_ray.engine.compose import Composition, compose
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.imaging.resample import upsample
from tss_ray.models.base import LoadSettings, SuperResolutionModel
from tss_ray.models.registry import load_model

MakeRequest = Callable[..., ImageRequest]
MakeEngine = Callable[..., Engine]
RunAll = Callable[..., dict[str, DenoisedImage]]
NUM_LEVELS = 4
GUIDED = LoadSettings(prompt="cat", guidance_scale=3.0)
FAMILIES: dict[str, tuple[Callable[[Path], Path], LoadSettings]] = {
    "residual_unet": (write_tiny_model, LoadSettings()),
    "ldm_sr": (write_ldm, LoadSettings()),
    "sd_upscaler": (write_sd_upscaler, LoadSettings()),
    "sd_upscaler, guided": (write_sd_upscaler, GUIDED),
    "sd_controlnet": (write_sd_controlnet, LoadSettings()),
    "sd_controlnet, guided": (write_sd_controlnet, GUIDED),
    "resshift": (write_resshift, LoadSettings()),
}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SuperResolutionModel:
    write, settings = FAMILIES[request.param]
    folder = write(tmp_path_factory.mktemp("family") / "model")
    return load_model(str(folder), torch.device("cpu"), torch.float32, settings=settings)


def spatial(request: ImageRequest, n_range: tuple[float, float] = (1, 3), eta: float = 0.0) -> ImageRequest:
    plans = plan_table(50, request.num_steps, "tds", [0.5] * NUM_LEVELS, level_parameters(NUM_LEVELS, n_range))
    levels = np.random.default_rng(0).integers(0, NUM_LEVELS, request.lr.shape[:2], dtype=np.uint8)
    return dataclasses.replace(request, plan=plans, levels=levels, eta=eta)


def test_an_image_is_bit_equal_alone_and_among_others_of_other_step_counts(
    model: SuperResolutionModel, make_request: MakeRequest, run_all: RunAll
) -> None:
    crowd = [
        make_request("a", 16, 16, 3),
        make_request("b", 20, 28, 2),
        make_request("c", 5, 9, 5, eta=1.0),
        make_request("d", 16, 16, 1),
        make_request("e", 8, 8, 0),
    ]
    random.Random(0).shuffle(crowd)
    assert_a_crowd_changes_nothing(run_all, crowd, model=model)


def test_maps_of_levels_share_batches_with_plain_plans_bit_for_bit(
    model: SuperResolutionModel, make_request: MakeRequest, run_all: RunAll
) -> None:
    crowd = [
        spatial(make_request("a", 16, 16, 3)),
        make_request("b", 20, 16, 2),
        spatial(make_request("c", 16, 28, 4), eta=0.5),
    ]
    assert_a_crowd_changes_nothing(run_all, crowd[::-1], model=model, num_levels=NUM_LEVELS)


def test_levels_of_one_plan_are_that_plan_and_others_are_not(
    model: SuperResolutionModel, make_request: MakeRequest, run_all: RunAll
) -> None:
    request = make_request("a", 16, 20, 4)
    uniform = dataclasses.replace(request, plan=make_plan(50, 4, "uniform"))
    expected = run_all([uniform], model=model)["a"]
    flat, uneven = (
        run_all([spatial(request, n_range)], model=model, num_levels=NUM_LEVELS)["a"] for n_range in ((1, 1), (1, 4))
    )
    for one, other in zip(flat.tiles, expected.tiles, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    assert not all(torch.allclose(a, b, atol=1e-3) for a, b in zip(uneven.tiles, expected.tiles, strict=True))


def test_each_tile_runs_the_plan_of_its_own(
    model: SuperResolutionModel, make_request: MakeRequest, run_all: RunAll
) -> None:
    request = make_request("a", 16, 40, 3)  # tiles at 0, 12 and 24 px
    plans = [make_plan(50, num_steps, "uniform") for num_steps in (1, 3, 2)]
    dealt = run_all([dataclasses.replace(request, tile_plans=tuple(plans))], model=model)["a"]
    for number, plan in enumerate(plans):
        alone = run_all([dataclasses.replace(request, plan=plan)], model=model)["a"]
        assert torch.equal(dealt.tiles[number], alone.tiles[number])


def test_no_steps_is_exactly_the_bicubic_enlargement(
    model: SuperResolutionModel, make_request: MakeRequest, run_all: RunAll
) -> None:
    request = make_request("a", 13, 21, 0)
    lr = torch.from_numpy(request.lr).permute(2, 0, 1)[None].float() / 255
    enlarged = (upsample(lr, 4)[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(compose(run_all([request], model=model)["a"], 4), enlarged)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (15, 17), (20, 40)])
def test_any_size_comes_out_four_times_as_large_in_one_piece_or_in_bands(
    model: SuperResolutionModel, make_request: MakeRequest, run_all: RunAll, height: int, width: int
) -> None:
    image = run_all([make_request("a", height, width, 1)], model=model)["a"]
    whole = Composition(image, 4)
    banded = Composition(image, 4, band_px=4 * width * 8)
    pieces = torch.cat([banded.rows(first, last) for first, last in banded.bands()], 1)
    assert pieces.shape == (3, 4 * height, 4 * width)
    assert torch.allclose(pieces, whole.rows(0, 4 * height), atol=1e-5)


def test_an_autoencoder_sees_one_tile_at_a_time_however_large_the_image(
    model: SuperResolutionModel, make_request: MakeRequest, run_all: RunAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Size] = []
    decode = type(model).decode
    monkeypatch.setattr(type(model), "decode", lambda self, x: (seen.append(x.shape), decode(self, x))[1])
    image = run_all([make_request("a", 30, 44, 1)], model=model)["a"]
    assert len(image.tiles) > 1
    assert set(seen) == {torch.Size([1, *model.latent_shape(image.grid.tile_px)])}


def test_what_is_composed_is_what_was_painted(make_request: MakeRequest, run_all: RunAll, tmp_path: Path) -> None:
    model = load_model(str(write_ldm(tmp_path / "ldm")), torch.device("cpu"), torch.float32)
    image = run_all([make_request("a", 16, 16, 2)], model=model)["a"]
    assert image.paints_pixels
    assert torch.allclose(Composition(image, 4).rows(0, 64), image.tiles[0] / 2 + 0.5, atol=1e-5)


def test_overlapping_tiles_see_the_same_noise_on_their_pixels(
    make_engine: MakeEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = load_model(str(write_sd_upscaler(tmp_path / "sd")), torch.device("cpu"), torch.float32)
    engine, seen = make_engine(model=model), []
    load = engine._runner.load
    monkeypatch.setattr(
        engine._runner,
        "load",
        lambda noise, lr, levels, lr_noise: (seen.append(lr_noise), load(noise, lr, levels, lr_noise))[1],
    )
    monkeypatch.setattr(engine._runner, "try_tiles", lambda numbers, *_: torch.zeros(len(numbers)))
    engine.submit(make_request("a", 28, 28, 1), Future())
    engine.step()
    assert len(seen) == 4  # two rows of two
    assert torch.equal(seen[0][..., 12:], seen[1][..., :4])
    assert torch.equal(seen[0][:, 12:], seen[2][:, :4])
    assert not any(torch.equal(seen[0], other) for other in seen[1:])
