"""Promises of small batches and small tiles: they cost less, and no bit depends on them."""

import itertools
import random
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from torch import Tensor

from tss_ray.engine.engine import Engine
from tss_ray.engine.runner import Runner
from tss_ray.engine.sizes import agreeing_sizes
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.registry import EMBEDDED, load_model

MakeRequest = Callable[..., ImageRequest]
MakeEngine = Callable[..., Engine]
RunAll = Callable[..., dict[str, DenoisedImage]]
SIDES = (4, 8, 12)


class Moody:
    """A model whose bits depend on the batch's size below `least`, as some kernels' do; it counts its forwards."""

    def __init__(self, model: SuperResolutionModel, least: int = 1) -> None:
        self._model, self._least, self.sizes = model, least, list[int]()
        self.card, self.alphas_cumprod = model.card, model.alphas_cumprod
        self.latent_shape, self.condition, self.decode = model.latent_shape, model.condition, model.decode

    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor) -> Tensor:
        self.sizes.append(len(x))
        one_by_one = [self._model.predict(*(a[i : i + 1] for a in (x, condition, timesteps))) for i in range(len(x))]
        return torch.cat(one_by_one) + (1e-6 * len(x) if len(x) < self._least else 0)


def finish(engine: Engine) -> None:
    while not engine.idle:
        engine.step()


def tiles_of(images: dict[str, DenoisedImage]) -> dict[str, list[Tensor]]:
    return {key: image.tiles for key, image in images.items()}


def same_bits(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize(("least", "expected"), [(1, (1, 2, 4, 8)), (4, (4, 8)), (8, (8,))])
def test_only_sizes_that_give_the_full_batch_s_bits_are_used(
    tiny_model: SuperResolutionModel, least: int, expected: tuple[int, ...]
) -> None:
    runner = Runner(Moody(tiny_model, least), torch.device("cpu"))
    assert agreeing_sizes(runner, 8, 16, 1) == expected


def test_a_network_that_never_repeats_itself_runs_in_full_batches(tiny_model: SuperResolutionModel) -> None:
    class Random(Moody):
        def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor) -> Tensor:
            return torch.rand_like(x)

    assert agreeing_sizes(Runner(Random(tiny_model), torch.device("cpu")), 4, 16, 1) == (4,)


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_of_the_embedded_networks_do_not_depend_on_sizes_that_agree(dtype: torch.dtype, name: str) -> None:
    runner = Runner(load_model(name, torch.device("cpu"), dtype), torch.device("cpu"))
    full = runner.try_tiles(range(4), 16, 1)
    for size in agreeing_sizes(runner, 4, 16, 1):  # every place in the batch, not only those of the trial
        alone = [runner.try_tiles(range(i, i + size), 16, 1) for i in range(0, 4, size)]
        assert torch.equal(torch.cat(alone), full)


@pytest.mark.parametrize("least", [1, 4])
def test_an_image_is_bit_equal_alone_and_in_a_crowd_whatever_sizes_its_batches_had(
    make_request: MakeRequest, run_all: RunAll, tiny_model: SuperResolutionModel, least: int
) -> None:
    crowd = [make_request(f"{i}", 9 + 3 * i, 40 - 4 * i, 1 + i % 4, eta=0.5 * (i % 2)) for i in range(7)]
    settings = {"max_batch": 8, "sides_px": SIDES, "model": Moody(tiny_model, least)}
    alone = {r.image_key: run_all([r], **settings)[r.image_key] for r in crowd}
    random.Random(0).shuffle(crowd)
    for key, tiles in tiles_of(run_all(crowd, **settings)).items():
        assert same_bits(tiles, alone[key].tiles), key


def test_one_small_image_pays_for_one_small_tile(
    make_engine: MakeEngine, make_request: MakeRequest, tiny_model: SuperResolutionModel
) -> None:
    engine, future = make_engine(8, Moody(tiny_model), sides_px=SIDES), Future[DenoisedImage]()
    engine.submit(make_request("a", 7, 8, 3), future)
    finish(engine)
    image = future.result(timeout=0)
    assert (image.grid.tile_px, image.grid.num_tiles) == (8, 1)
    assert (engine.stats.slots_run, engine.stats.slots_useful, engine.stats.occupancy) == (3, 3, 1)
    assert image.padding_ratio == engine.stats.padding_ratio == 64 / 56
    assert engine.stats.warm_up_s > 0


def test_tiles_of_another_size_do_not_wait_for_a_long_stream_to_end(
    make_engine: MakeEngine, make_request: MakeRequest
) -> None:
    engine, small = make_engine(2, sides_px=SIDES), Future[DenoisedImage]()
    for i in range(40):
        engine.submit(make_request(f"{i}", 16, 16, 2), Future())
    engine.submit(make_request("small", 8, 8, 2), small)
    steps = next(number for number in itertools.count() if small.done() or engine.step())
    assert steps <= 20
    assert not engine.idle


def test_full_batches_go_before_tiles_of_another_size_that_cannot_fill_one(
    make_engine: MakeEngine, make_request: MakeRequest, tiny_model: SuperResolutionModel
) -> None:
    model = Moody(tiny_model)
    engine = make_engine(4, model, sides_px=SIDES)
    engine.submit(make_request("small", 8, 8, 1), Future())
    for i in range(4):
        engine.submit(make_request(f"{i}", 16, 16, 1), Future())
    engine.step()
    assert (engine.stats.slots_run, engine.stats.slots_useful) == (4, 4)


def test_a_mixed_stream_in_several_blocks_keeps_98_of_100_slots_useful(
    make_engine: MakeEngine, make_request: MakeRequest
) -> None:
    engine, rng = make_engine(8), np.random.default_rng(0)
    blocks = [
        [make_request(f"{b}/{i}", 16, int(rng.integers(16, 40)), int(rng.integers(0, 16))) for i in range(16)]
        for b in range(6)
    ]
    open_calls: list[list[Future[DenoisedImage]]] = []
    while blocks or open_calls:
        open_calls = [futures for futures in open_calls if not all(future.done() for future in futures)]
        while blocks and len(open_calls) < 4:  # four calls at once, as an actor has; the next when one is answered
            open_calls.append([Future() for _ in blocks[0]])
            for request, future in zip(blocks.pop(0), open_calls[-1], strict=True):
                engine.submit(request, future)
        engine.step()
        if blocks:
            assert engine.stats.slots_useful == engine.stats.slots_run  # it never drains between blocks
    assert engine.stats.occupancy >= 0.98


@pytest.mark.parametrize("side", [1, 3, 9, 16])
def test_a_tile_that_the_network_cannot_take_is_never_chosen(
    make_engine: MakeEngine, make_request: MakeRequest, side: int
) -> None:
    engine, future = make_engine(2, sides_px=(1, 3, 9)), Future[DenoisedImage]()
    engine.submit(make_request("a", side, side, 1), future)
    finish(engine)
    assert future.result(timeout=0).grid.tile_px == 16
