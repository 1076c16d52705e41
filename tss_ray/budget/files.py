"""Calibrations and plans on disk: Parquet for what was measured, JSON for what was chosen."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tss_ray.budget.calibration import Calibration, Facts, RungTaken, Scanned
from tss_ray.errors import SpecError, StorageError

PLAN_VERSION = 1
_FACTS_KEY = b"tss_ray.calibration"

_SCANNED_TYPES = {
    "image_key": pa.string(),
    "input_bytes": pa.int64(),
    "error_kind": pa.string(),
    "width": pa.int64(),
    "height": pa.int64(),
    "num_tiles": pa.float64(),
    "texture_score": pa.float64(),
    "noise_sigma": pa.float64(),
    "blur_score": pa.float64(),
}
_RUNG_TYPES = {
    "num_steps": pa.int64(),
    "crop_tiles": pa.float64(),
    "device_s": pa.float64(),
    "score": pa.float64(),
    "output_bytes_per_px": pa.float64(),
    "example": pa.binary(),
}


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a row for each scanned image, or one for each rung of those that ran the ladder; facts as metadata.

    Raises StorageError for a path that cannot be written.
    """
    taken: dict[str, list[RungTaken]] = {}
    for rung in calibration.rungs:
        taken.setdefault(rung.image_key, []).append(rung)
    rows: list[dict[str, Any]] = []
    for each in calibration.scanned:
        seen = asdict(each)
        rungs: Sequence[dict[str, Any]] = [asdict(rung) for rung in taken.get(each.image_key, ())] or [{}]
        rows += [seen | {name: rung.get(name) for name in _RUNG_TYPES} for rung in rungs]
    facts = {"facts": asdict(calibration.facts), "edges": calibration.edges}
    schema = pa.schema(_SCANNED_TYPES | _RUNG_TYPES, metadata={_FACTS_KEY: json.dumps(facts)})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    _replace(path, sink.getvalue().to_pybytes())


def read_calibration(path: Path) -> Calibration:
    """Invert `write_calibration`. Raises StorageError for what cannot be read, SpecError for what is no calibration."""
    try:
        table = pq.read_table(path)
        known = json.loads((table.schema.metadata or {})[_FACTS_KEY])
        facts = known["facts"] | {"ladder": tuple(known["facts"]["ladder"])}
        rows = table.to_pylist()
        scanned = {row["image_key"]: Scanned(**{f.name: row[f.name] for f in fields(Scanned)}) for row in rows}
        rungs = [
            RungTaken(**{f.name: row[f.name] for f in fields(RungTaken)})
            for row in rows
            if row["num_steps"] is not None
        ]
        return Calibration(Facts(**facts), tuple(scanned.values()), tuple(rungs), tuple(known["edges"]))
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error}; give the file that tss-ray plan wrote") from error
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise SpecError(f"{path} is no calibration ({error!r}); make it again with tss-ray plan") from error


def write_plan(path: Path, plan: Mapping[str, Any]) -> None:
    """Write a plan as JSON. Raises StorageError for a path that cannot be written."""
    text = json.dumps({"version": PLAN_VERSION, **plan}, indent=1, allow_nan=False)
    _replace(path, (text + "\n").encode())


def read_plan(path: Path) -> dict[str, Any]:
    """Return a plan. Raises SpecError for a file that is none, or of another version."""
    try:
        plan = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot read the plan {path}: {error}; give the plan.json that tss-ray plan wrote") from error
    if not isinstance(plan, dict) or plan.get("version") != PLAN_VERSION or "target" not in plan:
        raise SpecError(f"{path} is no plan of this version; make it again with tss-ray plan")
    return plan


def target_overrides(path: Path, controller: bool, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides of a spec with those of a plan file added. Raises SpecError as `read_plan` does.

    Raises SpecError too where steps were asked for in another way.
    """
    rivals = sorted({"budget.policy", "budget.num_steps"} & overrides.keys())
    if rivals:
        raise SpecError(f"--budget and {', '.join(rivals)} (--steps) contradict each other; give one of them")
    target = dict(read_plan(path)["target"]) | ({} if controller else {"controller": False})
    return {**overrides, "budget.policy": "target", "budget.target": target}


def write_text(path: Path, text: str) -> None:
    """Write text. Raises StorageError for a path that cannot be written."""
    _replace(path, text.encode())


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; give another folder to --out") from error
