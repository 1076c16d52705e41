"""Verifying an output from its URI alone: run/spec.json knows the rest."""

import json
import time
from typing import Any, cast

from tss_ray.errors import ObjectNotFoundError, SpecError
from tss_ray.spec import InputLayout, StoreSpec
from tss_ray.storage.inputs import list_inputs
from tss_ray.storage.layout import SPEC_KEY
from tss_ray.storage.protocol import Store
from tss_ray.storage.stores import open_store
from tss_ray.storage.summary import read_summary
from tss_ray.storage.uris import absolute_uri, check_output_path
from tss_ray.verify.deep import verify_deep
from tss_ray.verify.findings import Report
from tss_ray.verify.listing import verify_listings


def verify(output: str, store_spec: StoreSpec, source: str | None, inputs: bool = True, deep: bool = False) -> Report:
    """Compare rows, objects and inputs. `source` None: the input that run/spec.json names.

    Raises SpecError where no run has been, InputError where the inputs are not to be found, StorageError for the rest.
    """
    check_output_path(output)
    began = time.monotonic()
    store = open_store(absolute_uri(output), store_spec)
    spec_hash, recorded = _recorded(store)
    of_inputs = store_spec if source is not None else _input_store(recorded, store_spec)
    where = source if source is not None else str(recorded["input"])
    layout = cast(InputLayout, recorded.get("input_layout", "files"))
    report = Report(absolute_uri(output), spec_hash, deep)
    verify_listings(store, report, (lambda: list_inputs(where, of_inputs, layout)) if inputs else None)
    if deep:
        verify_deep(store, report, of_inputs if inputs else None)
    _compare_summary(store, report)
    report.seconds = time.monotonic() - began
    return report


def _recorded(store: Store) -> tuple[str, dict[str, Any]]:
    """Return what run/spec.json says: the hash and the settings."""
    try:
        record = json.loads(store.read(SPEC_KEY))
        record["spec"]["input"], record["spec"]["store"]
        return str(record["spec_hash"]), record["spec"]
    except ObjectNotFoundError as error:
        raise SpecError(f"{store.uri(SPEC_KEY)} does not exist: no run has been there; correct the output") from error
    except (ValueError, LookupError, TypeError) as error:
        raise SpecError(
            f"{store.uri(SPEC_KEY)} is damaged ({error!r}); run the job again, it is written anew"
        ) from error


def _input_store(recorded: dict[str, Any], flags: StoreSpec) -> StoreSpec:
    """Return how the inputs were read, with what was told now on top."""
    return StoreSpec.model_validate(recorded["store"] | flags.model_dump(exclude_unset=True))


def _compare_summary(store: Store, report: Report) -> None:
    summary = read_summary(store)
    report.complete = summary is not None
    if summary is not None:
        told = (summary.spec_hash, summary.rows, summary.done, summary.quarantined)
        if told != (report.spec_hash, report.rows, report.done, report.quarantined):
            report.add("wrong_summary", "run/summary.json", f"{summary.rows} rows, here are {report.rows}")
