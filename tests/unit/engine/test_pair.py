"""Promises of two models in one engine: each image is what its own model makes of it, and nothing else changes."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from tiny import write_tiny_model

from tss_ray.engine.engine import Engine
from tss_ray.engine.pair import EnginePair, engine_of
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.engine.thread import EngineThread
from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.registry import load_model

MakeRequest = Callable[..., ImageRequest]


@pytest.fixture
def one_step(tmp_path: Path) -> SuperResolutionModel:
    """Return a model that paints otherwise than the tiny one: its residual is twice as strong."""
    folder = write_tiny_model(tmp_path / "one", num_steps=[1], residual_scale=0.2)
    return load_model(str(folder), torch.device("cpu"), torch.float32)


@pytest.fixture
def pair(tiny_model: SuperResolutionModel, one_step: SuperResolutionModel) -> Engine | EnginePair:
    return engine_of((tiny_model, one_step), torch.device("cpu"), 4, 16, 4, sides_px=(8,))


def alone(model: SuperResolutionModel, requests: list[ImageRequest]) -> list[DenoisedImage]:
    return run(engine_of((model,), torch.device("cpu"), 4, 16, 4, sides_px=(8,)), requests)


def run(engine: Engine | EnginePair, requests: list[ImageRequest]) -> list[DenoisedImage]:
    futures: list[Future[DenoisedImage]] = [Future() for _ in requests]
    for request, future in zip(requests, futures, strict=True):
        engine.submit(request, future)
    while not engine.idle:
        engine.step()
    return [future.result(timeout=0) for future in futures]


def test_images_of_one_step_are_the_second_model_s_and_all_others_the_first_s(
    pair: EnginePair, tiny_model: SuperResolutionModel, one_step: SuperResolutionModel, make_request: MakeRequest
) -> None:
    steps = [1, 3, 0, 1, 2]
    requests = [make_request(f"{number}", 24, 40, num) for number, num in enumerate(steps)]
    found = run(pair, requests)
    first, second = alone(tiny_model, requests), alone(one_step, requests)
    for num, ours, one, other in zip(steps, found, first, second, strict=True):
        wanted, unwanted = (other, one) if num == 1 else (one, other)
        assert len(ours.tiles) == len(wanted.tiles) == (ours.grid.num_tiles if num else 0)
        for tile, same, different in zip(ours.tiles, wanted.tiles, unwanted.tiles, strict=True):
            assert torch.equal(tile, same)
            assert not torch.equal(tile, different)
    assert pair.stats.slots_useful == sum(num * each.grid.num_tiles for num, each in zip(steps, found, strict=True))
    assert 0 < pair.occupancy <= 1


def test_a_streamed_image_goes_to_the_model_of_its_steps(
    pair: EnginePair, one_step: SuperResolutionModel, make_request: MakeRequest
) -> None:
    request = make_request("tall", 100, 40, 1)
    (whole,) = alone(one_step, [request])
    with EngineThread(pair) as engine:
        stream = engine.stream(request)
        for index in range(stream.grid.num_tiles):
            assert torch.equal(stream.tile(index), whole.tiles[index])
            stream.drop(index // len(stream.grid.lefts))
        assert stream.future.result(timeout=10).nfe == whole.nfe


def test_smaller_tiles_are_those_that_both_take(
    tiny_model: SuperResolutionModel, one_step: SuperResolutionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = (tiny_model, one_step)
    assert engine_of(models, torch.device("cpu"), 4, 16, 4, sides_px=(8,)).grid(8, 8).tile_px == 8
    monkeypatch.setattr(type(one_step.card), "takes_tile", lambda card, side: card.num_steps is None or side == 16)
    assert engine_of(models, torch.device("cpu"), 4, 16, 4, sides_px=(8,)).grid(8, 8).tile_px == 16
