"""Images and engines for the engine's tests."""

from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest
import torch

from tss_ray.diffusion.timesteps import make_plan
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.models.base import SuperResolutionModel


def _make_request(
    key: str, height: int = 16, width: int = 16, num_steps: int = 3, eta: float = 0.0, seed: int = 0
) -> ImageRequest:
    rng = np.random.default_rng([*key.encode()])
    lr = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return ImageRequest(key, lr, make_plan(50, num_steps, "tds"), eta, seed)


@pytest.fixture
def make_request() -> Callable[..., ImageRequest]:
    """Return a function that makes an image: random pixels that follow from its key, a plan of 50 timesteps."""
    return _make_request


@pytest.fixture
def make_engine(tiny_model: SuperResolutionModel) -> Callable[..., Engine]:
    """Return a function that makes an engine over the tiny model (or another): tiles of 16 px, 4 px overlap."""

    def make(
        max_batch: int = 4, model: SuperResolutionModel = tiny_model, num_levels: int = 1, sides_px: tuple = ()
    ) -> Engine:
        return Engine(model, torch.device("cpu"), max_batch, 16, 4, num_levels, sides_px)

    return make


@pytest.fixture
def watch_load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that tells `seen` with what (noise, lr, levels) an engine's tiles are started."""

    def watch(engine: Engine, seen: Callable[..., object]) -> None:
        load = engine._runner.load
        monkeypatch.setattr(engine._runner, "try_tiles", lambda numbers, *_: torch.zeros(len(numbers)))  # no warm-up
        monkeypatch.setattr(
            engine._runner,
            "load",
            lambda noise, lr, levels, _=None: (seen(noise, lr, levels), load(noise, lr, levels))[1],
        )

    return watch


@pytest.fixture
def run_all(make_engine: Callable[..., Engine]) -> Callable[..., dict[str, DenoisedImage]]:
    """Return a function that runs requests, all submitted at once, and returns the results by key."""

    def run(requests: list[ImageRequest], max_batch: int = 4, **settings: object) -> dict[str, DenoisedImage]:
        engine, futures = make_engine(max_batch, **settings), []
        for request in requests:
            futures.append(Future())
            engine.submit(request, futures[-1])
        while not engine.idle:
            engine.step()
        return {r.image_key: f.result(timeout=0) for r, f in zip(requests, futures, strict=True)}

    return run
