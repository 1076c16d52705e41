"""The study's work on one crop: every variant at every number of steps, in full batches, and what the outputs score."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from quality_crops import Crop
from quality_judge import ORIGINAL, Judge, distance
from quality_model import run
from quality_values import Value
from tss_trajectory import BandRow, ReachRow, estimates, reach, watch
from tss_variants import Variant, crop_request, identity, num_levels

from tss_ray.diffusion.timesteps import PlanFamily, make_plan
from tss_ray.engine.compose import compose
from tss_ray.engine.device import default_max_batch, pick_device, pick_dtype
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import ImageRequest
from tss_ray.models.registry import load_model
from tss_ray.spec import TileSpec

BICUBIC = "bicubic"
REACHED: tuple[PlanFamily, ...] = ("uniform", "tds", "late_only")
"""The plans whose outputs are compared with the end of the watched one."""
REACH_STEPS = (4, 7, 14)
FINER = 5
"""The watched plan has at least so many times the steps of a plan that is compared with its end: it is uniform itself,
and uniform plans of about its length would be near to it for that alone."""


@dataclass(frozen=True)
class StudyValue(Value):
    """A crop under a variant and a number of steps; metrics whose weights are not there are None.

    seconds: the crop's share of the forwards that it took part in.
    """

    variant: str
    musiq: float | None
    clipiqa: float | None
    lpips: float | None


class Bench:
    """The model on its device, and the product's engine once for every number of levels that is asked for."""

    def __init__(self, model: str, use_gpu: bool = True) -> None:
        """Load the model. Raises ModelError if its weights are not what its card says."""
        self.device = pick_device(use_gpu)
        self.dtype: torch.dtype = pick_dtype("auto", self.device)
        self.model = load_model(model, self.device, self.dtype)
        self.max_batch = default_max_batch(self.device)
        self._engines: dict[int, Engine] = {}

    def enlarge(self, requests: Sequence[ImageRequest]) -> list[tuple[NDArray[np.uint8], float]]:
        """Return the pixels and the seconds of each request; all requests of one number of levels share batches."""
        found: dict[int, tuple[NDArray[np.uint8], float]] = {}
        for levels in dict.fromkeys(map(num_levels, requests)):
            chosen = [index for index, request in enumerate(requests) if num_levels(request) == levels]
            for index, image in zip(chosen, run([requests[i] for i in chosen], self._engine(levels)), strict=True):
                found[index] = compose(image, self.model.card.scale), image.device_seconds
        return [found[index] for index in range(len(requests))]

    def _engine(self, levels: int) -> Engine:
        if levels not in self._engines:
            tiles = TileSpec()
            self._engines[levels] = Engine(
                self.model, self.device, self.max_batch, tiles.tile_px, tiles.overlap_px, levels, tiles.sides
            )
        return self._engines[levels]


def measure(
    bench: Bench, judge: Judge, crop: Crop, variants: Sequence[Variant], steps: Sequence[int]
) -> list[StudyValue]:
    """Return a value for bicubic, for each variant at each number of steps, and for the original.

    What comes to the same request is run and judged once.
    """
    num_timesteps, key = bench.model.card.num_timesteps, crop_key(crop)
    asked = {BICUBIC: (ImageRequest(key, crop.lr, (), 0.0, 0), 0, BICUBIC)} | {
        variant.method(num): (crop_request(variant, num_timesteps, key, crop.lr, num), num, variant.name)
        for variant in variants
        for num in steps
    }
    distinct = {identity(request): request for request, _, _ in asked.values()}
    done = dict(zip(distinct, bench.enlarge(list(distinct.values())), strict=True))
    scores = {which: judge.scores(crop, pixels) for which, (pixels, _) in done.items()}
    original = judge.scores(crop, crop.hr, is_original=True)
    found = [
        _value(crop, method, variant, num, done[identity(request)][1], scores[identity(request)], original)
        for method, (request, num, variant) in asked.items()
    ]
    return [*found, _value(crop, ORIGINAL, ORIGINAL, 0, 0.0, original, original)]


def observe(bench: Bench, crop: Crop, num_steps: int) -> tuple[list[BandRow], list[ReachRow]]:
    """Watch a uniform plan of `num_steps`, and see how near short plans come to its end."""
    total, key = bench.model.card.num_timesteps, crop_key(crop)
    plan = make_plan(total, min(num_steps, total), "uniform")
    seen = estimates(bench.model, bench.device, crop, key, plan)
    reached = [
        reach(crop, f"{num} {family}", estimates(bench.model, bench.device, crop, key, short)[-1], seen[-1])
        for family in REACHED
        for num in REACH_STEPS
        if num * FINER <= num_steps and (short := make_plan(total, num, family))
    ]
    return watch(crop, seen, plan, total), reached


def crop_key(crop: Crop) -> str:
    """Return what the noise of a crop is drawn from: it is the same under every method."""
    return f"{crop.photo}/{crop.top}/{crop.left}"


class Parts:
    """What has been measured, in a file for each crop, so that a run that was killed goes on where it was."""

    def __init__(self, folder: Path | None, protocol: dict[str, Any]) -> None:
        """Keep them in `folder`, apart from those of any other protocol; nowhere if it is None."""
        text = json.dumps(protocol, sort_keys=True, default=str)
        self._folder = None if folder is None else folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def load(self, kind: str, crop: Crop) -> list[dict[str, Any]] | None:
        """Return the rows of a crop, or None if it was not finished."""
        path = self._path(kind, crop)
        return None if path is None or not path.exists() else pq.read_table(path).to_pylist()

    def save(self, kind: str, crop: Crop, rows: Sequence[Any]) -> None:
        """Keep the dataclasses of a crop, by rename: a file is whole or not there."""
        path = self._path(kind, crop)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".tmp")
        write_rows(rows, part)
        os.replace(part, path)

    def _path(self, kind: str, crop: Crop) -> Path | None:
        identity = f"{crop.source}/{crop.inputs}/{crop_key(crop)}".encode("utf-8", "surrogatepass")
        name = hashlib.sha256(crop.hr.tobytes() + crop.lr.tobytes() + identity).hexdigest()[:24]
        return None if self._folder is None else self._folder / f"{kind}-{name}.parquet"


def write_rows(rows: Sequence[Any], path: Path) -> None:
    """Write dataclasses as a Parquet file."""
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows]), path)


def _value(
    crop: Crop,
    method: str,
    variant: str,
    num_steps: int,
    seconds: float,
    scores: dict[str, float | None],
    original: dict[str, float | None],
) -> StudyValue:
    extra = {name: scores.get(name) for name in ("musiq", "clipiqa", "lpips")}
    return StudyValue(
        **crop.columns,
        method=method,
        variant=variant,
        num_steps=num_steps,
        seconds=seconds,
        piqe_distance=distance(scores["piqe"], original["piqe"]),
        **(scores | extra),
    )
