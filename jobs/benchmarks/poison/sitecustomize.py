# ruff: noqa: ANN401 - what it spoils has no types here
"""Inputs that really kill: with this folder on PYTHONPATH every Python, Ray's workers too, can be brought down.

A PNG with a chunk `poIS` kills whoever decodes it, for Pillow hands private chunks to whoever takes them. Tiles of
pure magenta kill whoever conditions the model on them. Nothing in the package knows of this.
"""

import importlib.abc
import importlib.machinery
import os
import signal
import sys
from types import ModuleType
from typing import Any


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _poison_png(module: ModuleType) -> None:
    module.PngStream.chunk_poIS = _die


def _poison_model(module: ModuleType) -> None:
    condition = module.ResidualUNet.condition

    def deadly(self: Any, lr: Any) -> Any:
        magenta = lr.new_tensor([1.0, -1.0, 1.0])[:, None, None]
        if len(lr) and bool(((lr - magenta).abs() < 0.01).all()):
            _die()
        return condition(self, lr)

    module.ResidualUNet.condition = deadly


_POISON = {"PIL.PngImagePlugin": _poison_png, "tss_ray.models.residual_unet": _poison_model}


class _Poisoner(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets the real finder load a module, and spoils it."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in _POISON:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute, poison = spec.loader.exec_module, _POISON[name]

            def spoil(module: ModuleType) -> None:
                execute(module)
                poison(module)

            spec.loader.exec_module = spoil  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Poisoner())
