"""Values as the quality benchmark measures them, with what a test does not care about filled in."""

from collections.abc import Callable
from typing import Any

import pytest
from quality_values import Value

_STEPS = {"bicubic": 0, "realesrgan": 0, "one-step model": 1, "original": 0}


@pytest.fixture
def make_value() -> Callable[..., Value]:
    """Return a function that makes a value of a method, its steps read from its name."""

    def make(method: str, **changes: Any) -> Value:
        fields: dict[str, Any] = {
            "source": "heldout",
            "inputs": "clean",
            "photo": "river",
            "top": 0,
            "left": 0,
            "texture": 0.5,
            "method": method,
            "num_steps": _STEPS.get(method) if method in _STEPS else int(method.split()[0]),
            "seconds": 1.0,
        }
        unmeasured = ("psnry", "ssim", "fsim", "gmsd", "niqe", "piqe", "piqe_distance", "edges", "grain", "lr_psnr")
        return Value(**(fields | dict.fromkeys(unmeasured) | changes))

    return make
