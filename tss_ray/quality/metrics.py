"""Metrics of the `pyiqa` package by name, made when first asked for, and never by a download.

`pyiqa` fetches a metric's parameters from a hub when they are not on disk. A job must not hang on that on a machine
without a network, so a metric whose files are missing is unavailable here, and says what to do. Importing this module
imports neither pyiqa nor its licence (non-commercial): only making a metric does. These are the metrics whose files are
known; `pyiqa_metrics` makes any.
"""

import importlib.util
import logging
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tss_ray.errors import SpecError

log = logging.getLogger(__name__)

_FILES: dict[str, tuple[str, ...]] = {
    "psnr": (),
    "psnry": (),
    "ssim": (),
    "fsim": (),
    "gmsd": (),
    "piqe": (),
    "niqe": ("pyiqa/niqe_modelparameters.mat",),
    "musiq": ("pyiqa/musiq_koniq_ckpt-e95806b9.pth",),
    "clipiqa": ("clip/RN50.pt",),
    "lpips": ("pyiqa/LPIPS_v0.1_alex-df73285e.pth", "checkpoints/alexnet-owt-7be5be79.pth"),
}
"""Metric -> the files that it reads from torch's hub folder."""

_REMEDIES = {"niqe": "write it with jobs/benchmarks/niqe_parameters.py"}
_REMEDY = "put it there yourself: nothing is downloaded here"

NO_REFERENCE = frozenset({"niqe", "piqe", "musiq", "clipiqa"})
"""These look at a picture alone; the others compare it with its original."""


def names() -> tuple[str, ...]:
    """Return the metrics that are known here, available or not."""
    return tuple(_FILES)


def weights_folder() -> Path:
    """Return where pyiqa and torchvision look for files: torch's hub folder, which TORCH_HOME moves."""
    return Path(torch.hub.get_dir())


def known_files(name: str) -> list[Path]:
    """Return the files that a metric is known to need; none of one that is not known here."""
    return [weights_folder() / file for file in _FILES.get(name, ())]


def missing_weights(name: str) -> list[Path]:
    """Return the files that the metric needs and the disk lacks. Raises SpecError for an unknown name."""
    if name not in _FILES:
        raise SpecError(f"no metric {name!r}: choose from {', '.join(_FILES)}")
    return [path for file in _FILES[name] if not (path := weights_folder() / file).is_file()]


def metric(name: str, device: str = "cpu") -> "Metric | None":
    """Return the metric, or None (with a warning that names the remedy) where it is not available.

    Unavailable: pyiqa is not installed, or one of the metric's files is missing. Raises SpecError for an unknown name.
    """
    if missing := missing_weights(name):
        log.warning(
            "%s is left out: %s is missing; %s",
            name,
            ", ".join(str(path) for path in missing),
            _REMEDIES.get(name, _REMEDY),
        )
        return None
    if importlib.util.find_spec("pyiqa") is None:
        log.warning("%s is left out: pyiqa is not installed; pip install 'tss-ray[metrics]'", name)
        return None
    return Metric(name, _create(name, device), device)


def no_reference_metric(device: str = "cpu") -> "Metric | None":
    """Return niqe, or piqe (which needs no file) where niqe's parameters are missing, or None without pyiqa."""
    return metric("niqe", device) or metric("piqe", device)


class Metric:
    """One metric on one device; call it with pictures (3,H,W) float in [0,1]."""

    def __init__(self, name: str, network: Any, device: str) -> None:  # noqa: ANN401  (pyiqa has no types)
        self.name = name
        self._network = network
        self._device = device

    def __call__(self, picture: Tensor, reference: Tensor | None = None) -> float:
        """Return the value; metrics that compare need the `reference` (3,H,W), the others ignore it."""
        pictures = [picture] if self.name in NO_REFERENCE or reference is None else [picture, reference]
        with torch.inference_mode():
            return float(self._network(*(p[None].float().to(self._device) for p in pictures)))


@cache
def _create(name: str, device: str) -> Any:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyiqa's imports warn of its own dependencies' deprecations
        import pyiqa

        return pyiqa.create_metric(name, device=torch.device(device))
