"""Where a run's outputs come from: model and licence, settings, seed, hardware; and what the manifest cannot say."""

import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tss_ray.errors import ObjectNotFoundError
from tss_ray.report.manifest import ORIGINS, Manifest
from tss_ray.report.queries import plain
from tss_ray.spec import StoreSpec
from tss_ray.storage.layout import SPEC_KEY
from tss_ray.storage.runs import Run
from tss_ray.storage.stores import open_store

_NUM_VALUES = 20
_CARD = "card.json"


def ask_provenance(manifest: Manifest, output: str, store: StoreSpec, runs: Sequence[Run] = ()) -> dict[str, Any]:
    """Return what the rows and the stored settings say of the run, and with what this report was made.

    `columns` holds up to 20 values of every column that tells how rows were made, each with its number of rows: more
    than one model or spec_hash is worth a look.
    """
    columns = {name: _values(manifest, name) for name in ORIGINS}
    record = read_settings(output, store)
    models = [entry["value"] for entry in columns.get("model_sha256", []) if entry["value"]]
    return {
        "columns": columns,
        "licences": {sha256: _licence(sha256, record) for sha256 in models},
        "settings": record,
        "runs": list(runs),
        "report_made_with": {name: _version(name) for name in ("tss-ray", "duckdb")},
    }


def read_settings(output: str, store: StoreSpec) -> dict[str, Any] | None:
    """Return what the last run stored of its settings; None where nothing is there that can be read."""
    try:
        record = json.loads(open_store(output, store).read(SPEC_KEY))
    except (ObjectNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def input_store(record: dict[str, Any] | None, given: StoreSpec) -> StoreSpec:
    """Return how inputs are read: as the run read them, unless the caller said otherwise."""
    if given != StoreSpec() or record is None:
        return given
    try:
        return StoreSpec.model_validate(record.get("spec", {}).get("store", {}))
    except (AttributeError, ValidationError):
        return given


def _values(manifest: Manifest, name: str) -> list[dict[str, Any]]:
    found = manifest.ask(
        f"select \"{name}\" as value, count(*) as images from rows where status = 'done' group by 1 "
        "order by images desc, value limit $1",
        [_NUM_VALUES],
    )
    return [{"value": plain(row["value"]), "images": row["images"]} for row in found]


def _licence(sha256: str, record: dict[str, Any] | None) -> str | None:
    """Return the licence on the card of the very weights, embedded or where the run found them; None: not known."""
    cards = [folder / _CARD for folder in files("tss_ray.models").joinpath("weights").iterdir() if folder.is_dir()]
    spec = (record or {}).get("spec")
    if isinstance(spec, dict) and isinstance(spec.get("model"), str):
        cards.append(Path(spec["model"]) / _CARD)
    for path in cards:
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(card, dict) and card.get("sha256") == sha256:
            return str(card.get("licence"))
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
