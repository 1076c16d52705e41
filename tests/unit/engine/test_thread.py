"""Promises of the engine's thread: every future is answered, whatever happens to the engine."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait

import pytest
import torch
from torch import Tensor

from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.engine.thread import EngineThread
from tss_ray.errors import EngineError
from tss_ray.models.base import SuperResolutionModel

MakeRequest = Callable[..., ImageRequest]
MakeEngine = Callable[..., Engine]
WAIT_S = 60


class Brittle:
    """A model that waits until it is told to go on, and then breaks at a given forward (0: never)."""

    def __init__(self, model: SuperResolutionModel, breaks_at: int = 0) -> None:
        self._model, self._breaks_at, self.forwards = model, breaks_at, 0
        self.card, self.alphas_cumprod = model.card, model.alphas_cumprod
        self.latent_shape, self.condition, self.decode = model.latent_shape, model.condition, model.decode
        self.entered, self.go_on = threading.Event(), threading.Event()

    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor) -> Tensor:
        self.entered.set()
        assert self.go_on.wait(WAIT_S)
        self.forwards += 1
        if self.forwards == self._breaks_at:
            raise RuntimeError("the device fell off the bus")
        return self._model.predict(x, condition, timesteps)


def test_futures_handed_in_by_several_threads_all_resolve(
    make_engine: MakeEngine, make_request: MakeRequest, run_all: Callable[..., dict[str, DenoisedImage]]
) -> None:
    requests = [make_request(f"{i}", 16, 16 + 6 * (i % 3), i % 4) for i in range(24)]
    with EngineThread(make_engine()) as engine, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda request: engine.submit(request).result(timeout=WAIT_S), requests))
    expected = run_all(requests)
    for request, image in zip(requests, found, strict=True):
        assert image.request is request
        assert all(map(torch.equal, image.tiles, expected[request.image_key].tiles))


def test_close_finishes_what_was_submitted(make_engine: MakeEngine, make_request: MakeRequest) -> None:
    engine = EngineThread(make_engine(2))
    futures = [engine.submit(make_request(f"{i}", num_steps=i % 5)) for i in range(9)]
    engine.close()
    assert all(future.done() and future.exception() is None for future in futures)
    engine.close()  # again is harmless


def test_a_closed_engine_takes_nothing_more(make_engine: MakeEngine, make_request: MakeRequest) -> None:
    engine = EngineThread(make_engine())
    engine.close()
    with pytest.raises(EngineError, match=r"closed.*start the worker again"):
        engine.submit(make_request("a"))


def test_a_failing_model_fails_every_waiting_image_with_the_cause_and_refuses_later_ones(
    make_engine: MakeEngine, make_request: MakeRequest, tiny_model: SuperResolutionModel
) -> None:
    model = Brittle(tiny_model, breaks_at=2)
    engine = EngineThread(make_engine(2, model))
    futures = [engine.submit(make_request(f"{i}", num_steps=3)) for i in range(5)]  # 2 run, 3 wait
    model.go_on.set()
    for future in futures:
        assert isinstance(future.exception(timeout=WAIT_S), RuntimeError)
    with pytest.raises(EngineError, match=r"fell off the bus.*start the worker again") as raised:
        engine.submit(make_request("later"))
    assert raised.value.__cause__ is futures[0].exception()
    engine.close()


def test_images_finished_before_the_failure_keep_their_result(
    make_engine: MakeEngine, make_request: MakeRequest, tiny_model: SuperResolutionModel
) -> None:
    model = Brittle(tiny_model, breaks_at=2)
    engine = EngineThread(make_engine(2, model))
    short, long = engine.submit(make_request("short", num_steps=1)), engine.submit(make_request("long", num_steps=3))
    model.entered.wait(WAIT_S)
    model.go_on.set()
    assert isinstance(long.exception(timeout=WAIT_S), RuntimeError)
    if short.exception() is None:  # unless it came too late for the first forward
        assert short.result().nfe == 1
    engine.close()


def test_a_caller_who_cancels_while_the_engine_dies_does_not_keep_the_news_from_others(
    make_engine: MakeEngine, make_request: MakeRequest, tiny_model: SuperResolutionModel
) -> None:
    model = Brittle(tiny_model, breaks_at=1)
    engine = EngineThread(make_engine(1, model))
    running = engine.submit(make_request("running"))
    assert model.entered.wait(WAIT_S)
    waiting = [engine.submit(make_request(f"{i}")) for i in range(6)]

    def give_up(told: Future[DenoisedImage]) -> None:
        next(future for future in waiting if future is not told and not future.done()).cancel()

    first_told = threading.Lock()
    for future in (running, *waiting):
        future.add_done_callback(lambda told: give_up(told) if first_told.acquire(blocking=False) else None)
    model.go_on.set()
    engine.close()
    assert isinstance(running.exception(timeout=0), RuntimeError)
    assert sum(future.cancelled() for future in waiting) == 1
    assert all(isinstance(f.exception(timeout=0), RuntimeError) for f in waiting if not f.cancelled())


def test_a_cancelled_image_costs_no_forward(
    make_engine: MakeEngine, make_request: MakeRequest, tiny_model: SuperResolutionModel
) -> None:
    model = Brittle(tiny_model)
    engine = EngineThread(make_engine(1, model))
    running = engine.submit(make_request("running", num_steps=2))
    assert model.entered.wait(WAIT_S)
    waiting = engine.submit(make_request("waiting", num_steps=5))
    assert waiting.cancel()
    assert not running.cancel()
    model.go_on.set()
    engine.close()
    assert running.result(timeout=0).nfe == model.forwards == 2
    assert wait([waiting], timeout=0).done  # who waits for several futures hears of the dropped one
    with pytest.raises(CancelledError):
        waiting.result(timeout=0)


def test_leaving_the_block_closes_it_even_after_a_fault_of_the_caller(
    make_engine: MakeEngine, make_request: MakeRequest
) -> None:
    engine = EngineThread(make_engine())
    future: Future[DenoisedImage] = Future()

    def work() -> None:
        nonlocal future
        with engine:
            future = engine.submit(make_request("a"))
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert future.done()
    assert 1 / 4 <= engine.occupancy <= 1  # one tile, in the smallest batch whose bits are the full one's


def test_the_engine_keeps_its_threads_whatever_its_callers_set(
    make_engine: MakeEngine, make_request: MakeRequest, tiny_model: SuperResolutionModel
) -> None:
    class Watched(Brittle):
        def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor) -> Tensor:
            seen.append(torch.get_num_threads())
            return self._model.predict(x, condition, timesteps)

    seen: list[int] = []
    before = torch.get_num_threads()
    try:
        with EngineThread(make_engine(1, Watched(tiny_model)), num_threads=3) as engine:
            torch.set_num_threads(1)
            engine.submit(make_request("a", num_steps=2)).result(timeout=WAIT_S)
    finally:
        torch.set_num_threads(before)
    assert seen == [3, 3]


def test_idle_seconds_count_from_the_first_image_on(make_engine: MakeEngine, make_request: MakeRequest) -> None:
    with EngineThread(make_engine()) as engine:
        threading.Event().wait(0.2)
        assert engine.idle_s == 0
        engine.submit(make_request("a")).result(timeout=WAIT_S)
        threading.Event().wait(0.2)
        waiting_s = engine.idle_s
        assert waiting_s >= 0.1, "a wait counts before it has ended"
        engine.submit(make_request("b")).result(timeout=WAIT_S)
        assert engine.idle_s >= waiting_s
        assert engine.stats.forwards == 6
