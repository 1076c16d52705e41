"""Any metric of `pyiqa` by its name, made without a network, and what can be said of it before a job starts.

`pyiqa` (Chen et al., github.com/chaofengc/IQA-PyTorch, PolyForm-Noncommercial-1.0.0 since 2026) fetches a metric's
parameters when they are not on disk, each architecture in a way of its own. Here every way ends in an error that names
the file, so a job neither hangs on a machine without a network nor downloads what nobody staged. Whether a metric can
be made is asked in a child process: importing pyiqa takes seconds and 0.7 GB.
"""

import contextlib
import importlib.util
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from tss_ray.errors import ImageError, ObjectNotFoundError, SpecError
from tss_ray.imaging.apart import Child
from tss_ray.quality.metrics import known_files, weights_folder

_OF_SETS = frozenset({"fid", "sfid", "fid_dinov2", "inception_score"})
"""These judge whole sets of pictures; a row is one picture."""


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What is known of a metric on this machine."""

    name: str
    needs_reference: bool = False
    lower_is_better: bool = False
    missing: tuple[str, ...] = ()
    """Files, or URLs of files, that it needs and the disk lacks: at least these."""
    fault: str = ""
    """Why it cannot be made, or nothing."""
    of_hub: bool = False
    """Whether that is for want of weights that its package keeps in Hugging Face's cache."""


class PictureMetric:
    """One metric on one device, made without a network."""

    def __init__(self, name: str, device: str = "cpu") -> None:
        """Make it. Raises SpecError with the remedy where that is not possible here."""
        facts, network = _made(name, device)
        if network is None:
            raise SpecError(problem(facts))
        self.name, self.needs_reference = name, facts.needs_reference
        self._network, self._device = network, device

    def __call__(self, picture: Tensor, reference: Tensor | None = None) -> float:
        """Return the value of a picture (3,H,W) float in [0,1], against a reference of its size where it needs one.

        pyiqa's own exceptions propagate: of pictures that are too small for the metric, for one.
        """
        pictures = [picture] if reference is None or not self.needs_reference else [picture, reference]
        with torch.inference_mode(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(self._network(*(p[None].float().to(self._device) for p in pictures)))


def check_metrics(names: Sequence[str], has_reference: bool) -> tuple[MetricFacts, ...]:
    """Return the facts of metrics that can all be made here and have what they need.

    Raises SpecError where pyiqa is not installed, a name is none of its metrics, a file is missing, a metric compares
    and there is no reference, or there is one and none compares.
    """
    if not names:
        return ()
    need_pyiqa()
    try:
        with Child() as child:
            found: tuple[MetricFacts, ...] = child.call(probe, tuple(names))
    except ImageError as error:
        raise SpecError(
            "the process that tried the metrics died twice; give it more memory, or ask for none"
        ) from error
    problems = [problem(facts) for facts in found if facts.fault or facts.missing]
    if problems:
        raise SpecError("\n".join(problems))
    comparing = [facts.name for facts in found if facts.needs_reference]
    if comparing and not has_reference:
        raise SpecError(
            f"{', '.join(comparing)} compare: give --reference PREFIX, a folder or s3:// whose keys are "
            "those of the input, or ask for metrics that need none, like niqe"
        )
    if has_reference and not comparing:
        raise SpecError(
            f"--reference: none of {', '.join(names)} compares; leave it out, or ask for psnry or lpips too"
        )
    return found


def need_pyiqa() -> None:
    """Raise SpecError where pyiqa is not installed."""
    if importlib.util.find_spec("pyiqa") is None:
        raise SpecError("metrics need pyiqa, which is not installed; pip install 'tss-ray[metrics]', or ask for none")


def probe(names: Sequence[str]) -> tuple[MetricFacts, ...]:
    """Try to make each metric, in this process and without a network."""
    return tuple(_made(name, "cpu")[0] for name in names)


def licence() -> str:
    """Return what the installed pyiqa says of itself: name, version and licence. Needs no import of it."""
    told = metadata("pyiqa")
    named = told["License-Expression"] or told["License"] or "an unnamed licence"
    return f"pyiqa {told['Version']} ({named})"


@contextlib.contextmanager
def _no_downloads() -> Iterator[None]:
    """Let every way to a file that is not on disk end in ObjectNotFoundError, whose message is the file."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")  # read when those packages are imported
    from pyiqa.utils import download_util

    def refuse(url: Any, target: Any = None, *_: Any, **__: Any) -> None:  # noqa: ANN401
        raise ObjectNotFoundError(str(target or getattr(url, "full_url", url)))

    with (
        mock.patch.object(download_util, "download_url_to_file", refuse),
        mock.patch("torch.hub.download_url_to_file", refuse),
        mock.patch("torch.hub.urlopen", refuse),
        mock.patch("urllib.request.urlopen", refuse),
    ):
        yield


def _made(name: str, device: str) -> tuple[MetricFacts, Any]:
    """Return what is known of a metric, and the metric, or None where it cannot be made."""
    missing = [str(path) for path in known_files(name) if not path.is_file()]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # pyiqa's imports warn of its own dependencies' deprecations
        with _no_downloads():
            from pyiqa.default_model_configs import DEFAULT_CONFIGS

            if name in _OF_SETS:
                return MetricFacts(name, fault="judges sets of pictures, and a row is one; leave it out"), None
            if name not in DEFAULT_CONFIGS:
                like = (
                    ", ".join(sorted(each for each in DEFAULT_CONFIGS if each[:3] == name[:3])) or "niqe, piqe, psnry"
                )
                return MetricFacts(name, fault=f"is no metric of pyiqa; choose one, like {like}"), None
            config = DEFAULT_CONFIGS[name]
            facts = MetricFacts(name, config["metric_mode"] == "FR", bool(config.get("lower_better")), tuple(missing))
            return (facts, None) if missing else _tried(facts, device)


def _tried(facts: MetricFacts, device: str) -> tuple[MetricFacts, Any]:
    import pyiqa

    try:
        return facts, pyiqa.create_metric(facts.name, device=torch.device(device))
    except ObjectNotFoundError as error:
        return MetricFacts(facts.name, facts.needs_reference, facts.lower_is_better, (str(error),)), None
    except Exception as error:  # noqa: BLE001 - a hundred constructors, each with optional packages of its own
        of_hub = type(error).__name__ == "LocalEntryNotFoundError"
        remedy = "set HF_HOME to a folder that holds its weights" if of_hub else "install or stage what it names"
        told = f"cannot be made here: {type(error).__name__}: {error}; {remedy}, or leave the metric out"
        return MetricFacts(facts.name, facts.needs_reference, facts.lower_is_better, fault=told, of_hub=of_hub), None


def problem(facts: MetricFacts) -> str:
    """Return why a metric that has a fault, or lacks files, cannot be made, with the remedy."""
    if facts.fault:
        return f"{facts.name} {facts.fault}"
    inside = [path.removeprefix(f"{weights_folder().parent}/") for path in facts.missing]  # or a URL's file
    or_write = ", or jobs/benchmarks/niqe_parameters.py" if facts.name == "niqe" else ""
    return (
        f"{facts.name} needs {', '.join(facts.missing)}, which is not there, and a job downloads nothing; put it there "
        f"on every node (tss-ray models fetch --metrics {facts.name}{or_write}), or set TORCH_HOME to a folder that "
        f"holds {', '.join(inside)}"
    )
