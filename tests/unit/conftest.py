"""The tiny model, as unit tests take it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import write_tiny_model

from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.registry import load_model


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a tiny model folder; keywords change its card, None takes a field away."""
    return lambda **changes: write_tiny_model(tmp_path / "tiny", **changes)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> SuperResolutionModel:
    """A tiny model of 50 timesteps, loaded."""
    folder = write_tiny_model(tmp_path_factory.mktemp("model"))
    return load_model(str(folder), torch.device("cpu"), torch.float32)
