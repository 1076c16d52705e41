"""Promises of spatial sampling in the engine: a position follows its level's plan, whoever it shares a batch with."""

import dataclasses
import random
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from crowds import assert_a_crowd_changes_nothing, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tss_ray.diffusion.spatial import level_parameters
from tss_ray.diffusion.timesteps import make_plan, plan_table
from tss_ray.diffusion.transition import Ddim
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.errors import EngineError
from tss_ray.imaging.tiles import pad_to_tile
from tss_ray.models.base import SuperResolutionModel

MakeRequest = Callable[..., ImageRequest]
MakeEngine = Callable[..., Engine]
RunAll = Callable[..., dict[str, DenoisedImage]]
NUM_LEVELS = 4


def plans(num_steps: int, n_range: tuple[float, float] = (1, 3)) -> NDArray[np.int64]:
    n_values = level_parameters(NUM_LEVELS, n_range)
    return plan_table(50, num_steps, "tds", [0.5] * NUM_LEVELS, n_values)


def some_levels(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, NUM_LEVELS, (height, width), dtype=np.uint8)


def spatial(request: ImageRequest, **changes: object) -> ImageRequest:
    """Return the request with a plan per level and a map of levels."""
    levels = some_levels(*request.lr.shape[:2])
    return dataclasses.replace(request, **{"plan": plans(request.num_steps), "levels": levels} | changes)


class Pointwise:
    """A model of which every position knows itself and its timestep alone, so that maps can be checked exactly."""

    def __init__(self, model: SuperResolutionModel) -> None:
        self.card, self.alphas_cumprod = model.card, model.alphas_cumprod
        self.latent_shape, self.condition = model.latent_shape, model.condition

    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor, levels: Tensor | None = None) -> Tensor:
        if levels is None:
            t = timesteps[:, None, None, None]
        else:
            t = timesteps.gather(1, levels.flatten(1)).reshape(levels.shape)[:, None]
        return 0.5 * x + (t / 50) * condition.mean(1, keepdim=True)

    def decode(self, latents: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(latents[:, :3], scale_factor=4, mode="nearest")


@pytest.mark.parametrize("seed", range(3))
def test_images_with_and_without_maps_of_any_step_count_share_batches_and_come_out_bit_equal(
    make_request: MakeRequest, run_all: RunAll, seed: int
) -> None:
    crowd = [
        spatial(make_request("a", 16, 16, 3)),
        make_request("b", 30, 20, 2),
        spatial(make_request("c", 5, 9, 7, eta=1.0)),
        spatial(make_request("d", 16, 28, 1), eta=(0.0, 0.2, 0.5, 1.0)),
        make_request("e", 20, 16, 5, eta=0.4),
        spatial(make_request("f", 20, 28, 4)),
        spatial(make_request("g", 8, 8, 0)),
    ]
    random.Random(seed).shuffle(crowd)
    alone = assert_a_crowd_changes_nothing(run_all, crowd, num_levels=NUM_LEVELS)
    assert {key: image.nfe for key, image in alone.items()} == {
        "a": 3,
        "b": 2 * 3 * 2,
        "c": 7,
        "d": 2,
        "e": 2 * 5,
        "f": 2 * 2 * 4,
        "g": 0,
    }


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_range_of_n_from_1_to_1_is_the_uniform_plan_bit_for_bit(
    make_request: MakeRequest, run_all: RunAll, eta: float
) -> None:
    request = make_request("a", 20, 28, 5, eta=eta)
    flat = spatial(request, plan=plans(5, (1, 1)))
    uniform = dataclasses.replace(request, plan=make_plan(50, 5, "uniform"))
    expected = run_all([uniform], num_levels=NUM_LEVELS)["a"]
    assert same_bits(run_all([flat], num_levels=NUM_LEVELS)["a"], expected)
    ordinary = run_all([uniform])["a"]  # an engine without levels runs the network's ordinary forward
    for one, other in zip(expected.tiles, ordinary.tiles, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert not same_bits(run_all([spatial(request)], num_levels=NUM_LEVELS)["a"], expected)


def test_every_position_goes_the_way_of_its_own_level(
    make_request: MakeRequest, run_all: RunAll, tiny_model: SuperResolutionModel
) -> None:
    model, etas = Pointwise(tiny_model), (0.0, 0.2, 0.6, 1.0)
    request = spatial(make_request("a", 16, 16, 5), eta=etas)
    found = run_all([request], model=model, num_levels=NUM_LEVELS)["a"].tiles[0]
    for level in range(NUM_LEVELS):
        alone = dataclasses.replace(request, plan=tuple(request.plan[:, level]), eta=etas[level], levels=None)
        expected = run_all([alone], model=model)["a"].tiles[0]  # one plan for the tile, in an engine without levels
        here = torch.from_numpy(request.levels == level).repeat_interleave(4, 0).repeat_interleave(4, 1)
        assert torch.equal(found[:, here], expected[:, here])
        assert not torch.equal(found[:, ~here], expected[:, ~here])


def test_noise_is_put_back_only_where_the_level_asks_for_it(
    make_request: MakeRequest, run_all: RunAll, tiny_model: SuperResolutionModel
) -> None:
    model = Pointwise(tiny_model)
    request = spatial(make_request("a", 16, 16, 4), plan=plans(4, (2, 2)))
    quiet = run_all([request], model=model, num_levels=NUM_LEVELS)["a"].tiles[0]
    noisy = dataclasses.replace(request, eta=(0.0, 0.3, 0.6, 1.0))
    found = run_all([noisy], model=model, num_levels=NUM_LEVELS)["a"].tiles[0]
    smooth = torch.from_numpy(request.levels == 0).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert torch.equal(found[:, smooth], quiet[:, smooth])
    assert not (found[:, ~smooth] == quiet[:, ~smooth]).any()


class Loaded:
    """What tiles of an engine were started with, by their place in the image."""

    def __init__(self, engine: Engine, request: ImageRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        self.levels: list[NDArray[np.int64]] = []
        load = engine._runner.load
        monkeypatch.setattr(engine._runner, "try_tiles", lambda numbers, *_: torch.zeros(len(numbers)))
        monkeypatch.setattr(
            engine._runner,
            "load",
            lambda noise, lr, levels, _: (self.levels.append(levels.numpy()), load(noise, lr, levels))[1],
        )
        future: Future[DenoisedImage] = Future()
        engine.submit(request, future)
        while not engine.idle:
            engine.step()
        self.boxes = list(future.result(timeout=0).grid.boxes())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 99))
def test_overlapping_tiles_agree_on_the_level_of_every_position(height: int, width: int, seed: int) -> None:
    engine, levels = _fast_engine(), some_levels(height, width, seed)
    request = ImageRequest("a", np.zeros((height, width, 3), np.uint8), plans(1), 0.0, 0, levels)
    with pytest.MonkeyPatch.context() as patch:
        tiles = Loaded(engine, request, patch)
    seen: dict[tuple[int, int], int] = {}
    for (top, left), tile in zip(tiles.boxes, tiles.levels, strict=True):
        for y, x in np.ndindex(tile.shape):
            assert seen.setdefault((top + y, left + x), int(tile[y, x])) == tile[y, x]
    whole = pad_to_tile(levels, 16)  # mirrored as the pixels are
    assert seen == {place: int(whole[place]) for place in np.ndindex(whole.shape)}


def _fast_engine() -> Engine:
    """Return an engine whose network does nothing."""

    class Nothing:
        class card:  # noqa: N801
            transition = Ddim(torch.linspace(0.99, 0.01, 50, dtype=torch.float64), "x0")
            num_timesteps, paints_pixels, takes_noisy_lr = 50, False, False
            check_tile = staticmethod(lambda tile_px: None)

        latent_shape = staticmethod(lambda tile_px: (3, tile_px, tile_px))
        condition = decode = staticmethod(lambda x: x)
        predict = staticmethod(lambda x, condition, timesteps, levels=None: x)

    return Engine(Nothing(), torch.device("cpu"), 4, 16, 4, NUM_LEVELS)  # type: ignore[arg-type]


def test_a_small_image_s_levels_are_mirrored_as_its_pixels_are(
    make_engine: MakeEngine, watch_load: Callable[..., None]
) -> None:
    levels = some_levels(5, 9)
    request = ImageRequest("a", np.repeat(levels[..., None], 3, 2), plans(1), 0.0, 0, levels)
    engine, seen = make_engine(num_levels=NUM_LEVELS), []
    watch_load(engine, lambda noise, lr, levels: seen.append((lr, levels)))
    engine.submit(request, Future())
    engine.step()
    lr, found = seen[0]
    assert torch.equal(((lr[0] + 1) * 127.5).round().long(), found)


@pytest.mark.parametrize("scale", [2, 0.5])
def test_levels_follow_latents_of_another_resolution(
    make_engine: MakeEngine,
    make_request: MakeRequest,
    tiny_model: SuperResolutionModel,
    watch_load: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    scale: float,
) -> None:
    model, side = Pointwise(tiny_model), int(16 * scale)
    monkeypatch.setattr(model, "latent_shape", lambda tile_px: (3, side, side))
    engine, seen = make_engine(model=model, num_levels=NUM_LEVELS), []
    watch_load(engine, lambda noise, lr, levels: seen.append(levels))
    monkeypatch.setattr(engine._runner, "forward", lambda tiles, *_: [tile.x for tile in tiles])
    blocks = np.kron(some_levels(8, 8), np.ones((2, 2), np.uint8))
    engine.submit(spatial(make_request("a", num_steps=2), levels=blocks), Future())
    engine.step()
    expected = np.kron(blocks, np.ones((2, 2), np.uint8)) if scale == 2 else blocks[::2, ::2]
    assert np.array_equal(seen[0].numpy(), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": plans(3)[:, :3]},
        {"levels": np.full((16, 16), NUM_LEVELS, np.uint8)},
        {"levels": np.zeros((16, 15), np.uint8)},
    ],
)
def test_an_image_planned_for_other_levels_is_refused_with_the_remedy(
    make_engine: MakeEngine, make_request: MakeRequest, changes: dict[str, object]
) -> None:
    engine = make_engine(num_levels=NUM_LEVELS)
    with pytest.raises(EngineError, match="give the engine the num_levels that images were planned with"):
        engine.submit(spatial(make_request("a"), **changes), Future())
