"""What the study compares: a table of plan settings by name, and what the engine is asked for under each."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from tss_ray.engine.state import ImageRequest
from tss_ray.errors import SpecError
from tss_ray.pipeline.plans import image_request
from tss_ray.spec import PlanSpec, load_group

_EVEN: dict[str, Any] = {"a_range": None, "n_range": None, "by_steps": (), "eta": 0.0, "eta_by_texture": False}
"""Nothing varies over an image, and no noise is put back, whatever PlanSpec's defaults are."""
_SDS: dict[str, Any] = {
    "family": "tds",
    "n_range": PlanSpec().n_range or (1.0, 2 * PlanSpec().n - 1),
    "a_range": PlanSpec().a_range,
    "by_steps": PlanSpec().by_steps,
}
"""Where PlanSpec's defaults have no range of n, the one around its n that leaves smooth places uniform."""
_NOISE: dict[str, Any] = {"eta": PlanSpec().eta or 0.5, "eta_by_texture": True}
TABLE: dict[str, dict[str, Any]] = {
    "uniform": _EVEN | {"family": "uniform"},
    "tds": _EVEN | {"family": "tds"},
    "late_only": _EVEN | {"family": "late_only"},
    "trigonometric": _EVEN | {"family": "trigonometric"},
    "exponential": _EVEN | {"family": "exponential"},
    "tds+noise": _EVEN | {"family": "tds"} | _NOISE,
    "tds+sds": _EVEN | _SDS,
    "tds+sds+noise": _EVEN | _SDS | _NOISE,
    "default": {},
}
"""Settings of PlanSpec by name; what is not named has its default. `default` is the product as it comes."""
STANDARD = tuple(name for name in TABLE if name not in ("default", "tds+noise"))
"""What is measured unless told otherwise."""


@dataclass(frozen=True)
class Variant:
    """One way to place the steps."""

    name: str
    plan: PlanSpec

    def method(self, num_steps: int) -> str:
        """Return what the values of so many steps are called."""
        return f"{num_steps} {self.name}"


def parse_variants(text: str) -> tuple[Variant, ...]:
    """Read names of TABLE, each with settings of its own if wanted: `uniform,tds:n=3:a=0.4,tds+sds:n_range=[1,4]`.

    Raises SpecError for an unknown name, a setting that is none, a value out of bounds, or the same variant twice.
    """
    found = tuple(_parse(part.strip()) for part in re.split(r",(?![^\[]*\])", text))
    if len({variant.name for variant in found}) < len(found):
        raise SpecError(f"variants {text}: one is named twice; name each once")
    return found


def tss_variant(name: str | None, variants: Sequence[Variant]) -> str:
    """Return the name of the variant that is TSS. Raises SpecError if it is not among them."""
    names = [variant.name for variant in variants]
    if name is None:
        return next((wanted for wanted in ("tds+sds", "tds") if wanted in names), names[-1])
    if name not in names:
        raise SpecError(f"--tss {name}: it is none of the variants {', '.join(names)}; add it to --variants")
    return name


def crop_request(variant: Variant, num_timesteps: int, key: str, lr: NDArray[np.uint8], num_steps: int) -> ImageRequest:
    """Return the product's request for pixels (h,w,3), as simple as it can be said.

    Where all levels have the same plan there is one level; before the clean end no noise is put back, so of one step
    eta says nothing.
    """
    asked = image_request(variant.plan, num_timesteps, key, lr, num_steps, seed=0)
    plans = np.asarray(asked.plan, np.int64).reshape(num_steps, -1)
    etas = np.unique(np.zeros(1) if num_steps < 2 else np.asarray(asked.eta, np.float64))
    if len(etas) > 1 or (plans != plans[:, :1]).any():
        return asked
    return replace(asked, plan=plans[:, :1], eta=(float(etas[0]),), levels=None)


def identity(request: ImageRequest) -> tuple[bytes, bytes, int]:
    """Return what two requests of one crop have in common exactly if their outputs are the same."""
    plans = np.asarray(request.plan, np.int64)
    return plans.tobytes(), np.asarray(request.eta, np.float64).tobytes(), num_levels(request)


def num_levels(request: ImageRequest) -> int:
    """Return how many levels of texture the request tells apart."""
    return 1 if request.levels is None else np.asarray(request.plan).shape[1]


def settings(variants: Iterable[Variant]) -> dict[str, dict[str, Any]]:
    """Return every variant's settings in full, for the record."""
    return {variant.name: variant.plan.model_dump(mode="json") for variant in variants}


def _parse(text: str) -> Variant:
    name, *changes = text.split(":")
    if name not in TABLE:
        raise SpecError(f"variant {name!r}: need one of {', '.join(TABLE)}; correct --variants")
    own = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise SpecError(f"variant {text!r}: {change!r} sets nothing; write it as setting=value")
        own[key] = yaml.safe_load(value)
    return Variant(text, load_group(PlanSpec, TABLE[name] | own))
