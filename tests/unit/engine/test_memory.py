"""Promises about memory: it is measured before, and running out of it loses no state and no bit."""

from collections.abc import Callable
from concurrent.futures import Future

import pytest
import torch
from torch import Tensor

from tss_ray.engine import memory
from tss_ray.engine.engine import Engine
from tss_ray.engine.memory import fitting_batch, is_out_of_memory
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.errors import EngineError
from tss_ray.models.base import SuperResolutionModel

MakeRequest = Callable[..., ImageRequest]
MakeEngine = Callable[..., Engine]
CPU = torch.device("cpu")
NOT_ENOUGH = RuntimeError("[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: not enough memory: you tried")


class Cramped:
    """A model that has memory for batches of at most `room`, and from forward `tight_from` on for `then`."""

    def __init__(
        self, model: SuperResolutionModel, room: int, error: Exception, tight_from: int = 0, decode_fails: int = 0
    ) -> None:
        self._model, self._room, self._error, self._tight_from = model, room, error, tight_from
        self._decode_fails, self.sizes = decode_fails, list[int]()
        self.card, self.alphas_cumprod = model.card, model.alphas_cumprod
        self.latent_shape, self.condition = model.latent_shape, model.condition

    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor) -> Tensor:
        if len(x) > self._room and len(self.sizes) >= self._tight_from:
            raise self._error
        self.sizes.append(len(x))
        one_by_one = [self._model.predict(*(a[i : i + 1] for a in (x, condition, timesteps))) for i in range(len(x))]
        return torch.cat(one_by_one)

    def decode(self, latents: Tensor) -> Tensor:
        self._decode_fails -= 1
        if self._decode_fails == 0:
            raise self._error
        return self._model.decode(latents)


def run(engine: Engine, requests: list[ImageRequest]) -> list[list[Tensor]]:
    futures = [Future[DenoisedImage]() for _ in requests]
    for request, future in zip(requests, futures, strict=True):
        engine.submit(request, future)
    while not engine.idle:
        engine.step()
    return [future.result(timeout=0).tiles for future in futures]


def same_bits(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.fixture
def requests(make_request: MakeRequest) -> list[ImageRequest]:
    return [make_request(f"{i}", 16, 16 + 12 * (i % 2), 1 + i, eta=0.5 * (i % 2)) for i in range(5)]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to"), NOT_ENOUGH, MemoryError()])
@pytest.mark.parametrize("tight_from", [0, 9, 12])
def test_out_of_memory_halves_the_batch_for_good_and_changes_no_bit(
    make_engine: MakeEngine,
    requests: list[ImageRequest],
    tiny_model: SuperResolutionModel,
    error: Exception,
    tight_from: int,
) -> None:
    roomy = run(make_engine(8, Cramped(tiny_model, 99, error)), requests)
    model = Cramped(tiny_model, 2, error, tight_from)
    engine = make_engine(8, model)
    found = run(engine, requests)
    for expected, tiles in zip(roomy, found, strict=True):
        assert same_bits(expected, tiles)
    assert (engine.max_batch, engine.stats.out_of_memory) == (2, 2)
    run(engine, requests)
    assert engine.stats.out_of_memory == 2  # remembered
    assert max(model.sizes[-5:]) <= 2


def test_memory_that_runs_out_after_the_forward_does_not_run_a_step_twice(
    make_engine: MakeEngine, requests: list[ImageRequest], tiny_model: SuperResolutionModel
) -> None:
    expected = run(make_engine(8, Cramped(tiny_model, 99, NOT_ENOUGH)), requests)
    engine = make_engine(8, Cramped(tiny_model, 99, NOT_ENOUGH, decode_fails=3))
    found = run(engine, requests)
    for one, other in zip(expected, found, strict=True):
        assert same_bits(one, other)
    assert engine.stats.out_of_memory == 1


def test_a_tile_that_does_not_fit_alone_is_an_error_with_its_remedy(
    make_engine: MakeEngine, requests: list[ImageRequest], tiny_model: SuperResolutionModel
) -> None:
    with pytest.raises(EngineError, match=r"does not fit into memory.*lower tiles\.tile_px"):
        run(make_engine(4, Cramped(tiny_model, 0, NOT_ENOUGH)), requests)


def test_any_other_fault_of_the_device_is_not_taken_for_a_lack_of_memory(
    make_engine: MakeEngine, requests: list[ImageRequest], tiny_model: SuperResolutionModel
) -> None:
    fault = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert not is_out_of_memory(fault)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run(make_engine(4, Cramped(tiny_model, 0, fault)), requests)


@pytest.mark.parametrize(("free_mib", "expected"), [(10_000, 8), (160, 8), (79, 3), (1, 1)])
def test_the_batch_is_what_fits_into_half_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, free_mib: int, expected: int
) -> None:
    monkeypatch.setattr(memory, "_available_bytes", lambda: free_mib * 2**20)
    peaks = iter([100 * 2**20, 110 * 2**20])  # one tile takes 10 MiB
    monkeypatch.setattr(memory, "_peak_bytes", lambda: next(peaks))
    assert fitting_batch(8, CPU, lambda: None) == expected


def test_the_peak_of_one_tile_is_measured_and_not_the_process_s() -> None:
    torch.zeros(64 * 2**18).sum()  # an earlier peak, of 64 MiB
    _, cost = memory._cpu_cost(lambda: torch.ones(24 * 2**18).sum())
    assert 20 * 2**20 < cost < 40 * 2**20


def test_where_nothing_can_be_measured_the_wanted_batch_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_available_bytes", lambda: None)
    assert fitting_batch(8, CPU, lambda: None) == 8
