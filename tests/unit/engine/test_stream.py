"""Promises of streamed images: the same tiles, few of them at a time, and others are not held up."""

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import replace

import pytest
import torch

from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.engine.stream import TileStream, rows_ahead
from tss_ray.engine.thread import EngineThread
from tss_ray.errors import EngineError

MakeRequest = Callable[..., ImageRequest]
MakeEngine = Callable[..., Engine]


@pytest.fixture
def tall(make_request: MakeRequest) -> ImageRequest:
    """Return an image of 17 rows of 3 tiles."""
    return make_request("tall", 200, 40, 2)


def stepped(engine: Engine, request: ImageRequest) -> TileStream:
    """Return a stream over an engine that this thread steps itself whenever a tile is asked for."""

    def ask(stream: TileStream, row: int) -> None:
        engine.extend(stream, row)
        while not engine.idle:
            engine.step()

    return TileStream(request, engine.grid(*request.lr.shape[:2]), Future(), ask)


@pytest.mark.parametrize("by_tile", [False, True])
def test_streamed_tiles_are_those_of_the_image_held_whole(
    make_engine: MakeEngine, tall: ImageRequest, run_all: Callable[..., dict[str, DenoisedImage]], by_tile: bool
) -> None:
    if by_tile:  # whole rows of tiles have no step
        tall = replace(tall, tile_plans=tuple(() if i < 9 or i % 4 == 0 or i > 40 else tall.plan for i in range(51)))
    whole = run_all([tall])["tall"]
    with EngineThread(make_engine()) as engine:
        stream = engine.stream(tall)
        for index in range(stream.grid.num_tiles):
            assert torch.equal(stream.tile(index), whole.tiles[index])
            stream.drop(index // len(stream.grid.lefts))
        done = stream.future.result(timeout=10)
    assert (done.nfe, done.tiles, done.padding_ratio) == (whole.nfe, [], whole.padding_ratio)


def test_no_more_rows_of_tiles_are_held_than_were_asked_for_and_some_ahead(
    make_engine: MakeEngine, tall: ImageRequest
) -> None:
    stream = stepped(make_engine(), tall)
    columns = len(stream.grid.lefts)
    ahead = rows_ahead(stream.grid, 4)
    assert (columns, ahead, len(stream.grid.tops)) == (3, 3, 17)
    for row in range(len(stream.grid.tops)):
        stream.tile(row * columns)
        assert stream.num_held <= (1 + ahead) * columns
        stream.drop(row + 1)
    assert stream.num_held == 0


def test_a_small_image_that_comes_later_does_not_wait_for_the_end_of_a_streamed_one(
    make_engine: MakeEngine, make_request: MakeRequest, tall: ImageRequest
) -> None:
    engine, small = make_engine(), Future[DenoisedImage]()
    stream = TileStream(tall, engine.grid(200, 40), Future(), engine.extend)
    stream._ask(stream, 0)
    engine.submit(make_request("small"), small)
    while not engine.idle:
        engine.step()
    assert small.done()
    assert not stream.future.done()


def test_what_shares_batches_with_a_streamed_image_keeps_its_bits(
    make_engine: MakeEngine,
    make_request: MakeRequest,
    tall: ImageRequest,
    run_all: Callable[..., dict[str, DenoisedImage]],
) -> None:
    requests = [make_request(f"{i}", 30, 30, 1 + i) for i in range(4)]
    alone = run_all(requests)
    with EngineThread(make_engine()) as engine:
        stream = engine.stream(tall)
        stream.tile(0)
        futures = [engine.submit(request) for request in requests]
        for row in range(len(stream.grid.tops)):
            stream.tile(row * 3)
            stream.drop(row)
        for request, future in zip(requests, futures, strict=True):
            assert all(map(torch.equal, future.result(timeout=10).tiles, alone[request.image_key].tiles))


def test_a_stream_that_is_given_up_leaves_the_engine_to_the_others(
    make_engine: MakeEngine, make_request: MakeRequest, tall: ImageRequest
) -> None:
    engine = EngineThread(make_engine())
    stream = engine.stream(tall)
    stream.tile(0)
    stream.give_up()
    with pytest.raises(CancelledError):
        stream.tile(30)
    assert engine.submit(make_request("after")).result(timeout=10).tiles
    engine.close()
    assert stream.num_held == 0
    assert not engine._open


def test_who_waits_for_a_tile_hears_of_a_stop_and_of_a_dead_engine(make_engine: MakeEngine, tall: ImageRequest) -> None:
    stream = TileStream(tall, make_engine().grid(200, 40), Future(), lambda stream, row: None)
    with pytest.raises(CancelledError):
        stream.tile(0, stopping=lambda: True)
    stream.future.set_exception(EngineError("dead; start it again"))
    with pytest.raises(EngineError, match="dead"):
        stream.tile(0)


def test_a_tile_that_was_dropped_is_an_error_and_no_endless_wait(make_engine: MakeEngine, tall: ImageRequest) -> None:
    stream = stepped(make_engine(), tall)
    stream.tile(3)
    stream.drop(1)
    with pytest.raises(EngineError, match="dropped"):
        stream.tile(0)


def test_an_image_of_no_steps_has_no_stream(make_engine: MakeEngine, make_request: MakeRequest) -> None:
    with pytest.raises(EngineError, match="without the engine"):
        stepped(make_engine(), make_request("none", num_steps=0)).tile(0)
