"""Promises of the engine: an image comes out the same whoever it shares a batch with."""

import random
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import replace

import numpy as np
import pytest
import torch
from crowds import same_bits

from tss_ray.engine.compose import compose
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.errors import EngineError, SpecError
from tss_ray.imaging.resample import upsample
from tss_ray.models.base import SuperResolutionModel

MakeRequest = Callable[..., ImageRequest]
MakeEngine = Callable[..., Engine]
RunAll = Callable[..., dict[str, DenoisedImage]]


@pytest.fixture
def crowd(make_request: MakeRequest) -> list[ImageRequest]:
    """Images of several sizes and step counts, with and without noise put back."""
    return [
        make_request("a", 16, 16, 3),
        make_request("b", 30, 41, 2),
        make_request("c", 5, 9, 7, eta=1.0),
        make_request("d", 16, 28, 1),
        make_request("e", 20, 16, 5, eta=0.4),
        make_request("f", 8, 8, 0),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_an_image_is_bit_equal_alone_and_among_others_in_any_order(
    crowd: list[ImageRequest], run_all: RunAll, seed: int
) -> None:
    alone = {request.image_key: run_all([request])[request.image_key] for request in crowd}
    random.Random(seed).shuffle(crowd)
    together = run_all(crowd)
    for key, image in together.items():
        assert same_bits(image, alone[key]), key
        assert np.array_equal(compose(image, 4), compose(alone[key], 4))


def test_an_image_that_comes_while_others_are_half_way_is_bit_equal_too(
    make_engine: MakeEngine, make_request: MakeRequest, run_all: RunAll
) -> None:
    engine, late = make_engine(), Future[DenoisedImage]()
    engine.submit(make_request("long", 16, 28, 9), Future())
    for _ in range(4):
        engine.step()
    engine.submit(make_request("late", 16, 16, 3), late)
    while not engine.idle:
        engine.step()
    assert same_bits(late.result(timeout=0), run_all([make_request("late", 16, 16, 3)])["late"])


@pytest.mark.parametrize("max_batch", [1, 2, 3, 8])
def test_another_batch_size_changes_no_more_than_rounding(
    crowd: list[ImageRequest], run_all: RunAll, max_batch: int
) -> None:
    expected, found = run_all(crowd), run_all(crowd, max_batch)
    for key in expected:
        ours, theirs = (compose(image[key], 4).astype(int) for image in (expected, found))
        assert abs(ours - theirs).max() <= 1


def test_evaluations_are_tiles_times_steps(crowd: list[ImageRequest], run_all: RunAll) -> None:
    images = run_all(crowd)
    assert {key: image.nfe for key, image in images.items()} == {
        "a": 1 * 3,
        "b": 3 * 4 * 2,  # 30 px: 0, 7, 14; 41 px: 0, 8, 16, 25
        "c": 1 * 7,
        "d": 2 * 1,
        "e": 2 * 5,
        "f": 0,
    }


def test_a_full_engine_wastes_no_slot(make_engine: MakeEngine, make_request: MakeRequest) -> None:
    engine = make_engine(2)
    for key, num_steps in (("a", 5), ("b", 2), ("c", 3)):  # b's slot is c's as soon as b is done
        engine.submit(make_request(key, num_steps=num_steps), Future())
    forwards = 0
    while not engine.idle:
        engine.step()
        forwards += 1
    assert forwards == 5
    assert engine.occupancy == 1


def test_a_short_image_is_answered_while_a_long_one_still_runs(
    make_engine: MakeEngine, make_request: MakeRequest
) -> None:
    engine, long, short = make_engine(2), Future[DenoisedImage](), Future[DenoisedImage]()
    engine.submit(make_request("long", num_steps=9), long)
    engine.submit(make_request("short", num_steps=2), short)
    engine.step()
    engine.step()
    assert short.done()
    assert not long.done()


def test_no_steps_is_exactly_the_bicubic_enlargement(run_all: RunAll, make_request: MakeRequest) -> None:
    request = make_request("a", 13, 21, 0)
    image = run_all([request])["a"]
    lr = torch.from_numpy(request.lr).permute(2, 0, 1)[None].float() / 127.5 - 1
    enlarged = ((upsample(lr, 4)[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(compose(image, 4), enlarged)
    assert (image.nfe, image.device_seconds) == (0, 0)


def test_no_steps_is_answered_without_a_forward(make_engine: MakeEngine, make_request: MakeRequest) -> None:
    engine, future = make_engine(), Future[DenoisedImage]()
    engine.submit(make_request("a", num_steps=0), future)
    assert future.done()
    assert engine.idle


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (8, 8), (15, 17), (16, 16), (33, 50)])
def test_any_size_comes_out_scale_times_as_large(
    run_all: RunAll, make_request: MakeRequest, height: int, width: int
) -> None:
    image = run_all([make_request("a", height, width, 2)])["a"]
    assert compose(image, 4).shape == (4 * height, 4 * width, 3)


def test_a_cancelled_image_is_not_run(make_engine: MakeEngine, make_request: MakeRequest) -> None:
    engine, kept, dropped, empty = make_engine(2), *(Future[DenoisedImage]() for _ in range(3))
    engine.submit(make_request("kept", num_steps=2), kept)
    engine.submit(make_request("dropped", 40, 40, 5), dropped)
    assert dropped.cancel()
    assert empty.cancel()
    engine.submit(make_request("empty", num_steps=0), empty)
    forwards = 0
    while not engine.idle:
        engine.step()
        forwards += 1
    assert forwards == 2
    assert kept.result(timeout=0).nfe == 2
    for future in (dropped, empty):
        with pytest.raises(CancelledError):
            future.result(timeout=0)


def test_an_image_that_has_begun_cannot_be_cancelled_and_finishes(
    make_engine: MakeEngine, make_request: MakeRequest
) -> None:
    engine, future = make_engine(2), Future[DenoisedImage]()
    engine.submit(make_request("a", 40, 40, 2), future)
    engine.step()
    assert not future.cancel()
    while not engine.idle:
        engine.step()
    assert len(future.result(timeout=0).tiles) == future.result().grid.num_tiles > 2


def test_a_step_without_work_does_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.step()
    assert engine.idle
    assert engine.occupancy == 1


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_noise_put_back_follows_from_key_and_seed_alone(run_all: RunAll, make_request: MakeRequest, eta: float) -> None:
    def run(key: str, seed: int, eta: float) -> DenoisedImage:
        request = make_request("pixels", 20, 20, 4)
        return run_all([ImageRequest(key, request.lr, request.plan, eta, seed)])[key]

    assert same_bits(run("a", 1, eta), run("a", 1, eta))
    for other in (run("b", 1, eta), run("a", 2, eta), run("a", 1, 0.0)):
        assert not same_bits(run("a", 1, eta), other)


def test_overlapping_tiles_start_from_the_same_noise(
    make_engine: MakeEngine, make_request: MakeRequest, watch_load: Callable[..., None]
) -> None:
    engine, seen = make_engine(2), []
    watch_load(engine, lambda noise, lr, levels: seen.append(noise))
    engine.submit(make_request("a", 16, 28, 1), Future())
    engine.step()
    assert torch.equal(seen[0][..., 12:], seen[1][..., :4])


def test_the_seconds_of_a_forward_are_shared_out(run_all: RunAll, make_request: MakeRequest) -> None:
    image = run_all([make_request(key, num_steps=3) for key in "abcd"])["a"]
    assert 0 < image.device_seconds <= image.denoise_s / 4 * 1.01
    assert image.queue_s >= 0


def test_a_tile_that_the_network_cannot_take_is_refused(tiny_model: SuperResolutionModel) -> None:
    with pytest.raises(SpecError, match=r"tile_px=17: tiny needs a multiple of 2; correct tiles\.tile_px"):
        Engine(tiny_model, torch.device("cpu"), 2, 17, 4)


def test_tiles_with_plans_of_their_own_are_those_of_images_that_have_that_plan_throughout(
    run_all: RunAll, make_request: MakeRequest
) -> None:
    images = {n: run_all([make_request("a", 20, 40, n)])["a"] for n in (1, 3, 5)}
    plans = [(), *(images[n].request.plan for n in (1, 3, 5)), (), images[1].request.plan]
    request = replace(make_request("a", 20, 40, 5), tile_plans=tuple(plans))
    mixed = run_all([request, make_request("b", 20, 40, 4)])["a"]
    assert mixed.nfe == sum(map(len, plans)) == 10
    for tile, plan, number in zip(mixed.tiles, plans, range(6), strict=True):
        expected = images[len(plan)].tiles[number] if plan else torch.zeros(3, 64, 64)
        assert torch.equal(tile, expected), number


def test_an_image_whose_tiles_have_no_step_is_its_enlargement(
    make_engine: MakeEngine, make_request: MakeRequest, run_all: RunAll
) -> None:
    engine, future = make_engine(), Future[DenoisedImage]()
    engine.submit(replace(make_request("a", 20, 40, 2), tile_plans=((),) * 6), future)
    assert engine.idle
    assert np.array_equal(compose(future.result(0), 4), compose(run_all([make_request("a", 20, 40, 0)])["a"], 4))


def test_plans_that_are_not_one_for_each_tile_are_refused(make_engine: MakeEngine, make_request: MakeRequest) -> None:
    with pytest.raises(EngineError, match="2 plans for 6 tiles"):
        make_engine().submit(replace(make_request("a", 20, 40, 2), tile_plans=((), ())), Future())
