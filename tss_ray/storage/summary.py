"""run/summary.json: the counts of an output, written last and there exactly while every input has a row."""

import dataclasses
import json
from datetime import UTC, datetime

from tss_ray.storage.layout import SUMMARY_KEY
from tss_ray.storage.ledger import Ledger
from tss_ray.storage.protocol import Store


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """Counts over all committed rows, whichever runs committed them."""

    spec_hash: str
    inputs: int
    """Listed by the run that came to the end. Fewer than rows, if inputs were removed since they were done."""
    rows: int
    done: int
    quarantined: int
    quarantined_by_kind: dict[str, int]
    parts: int
    output_bytes: int
    finished_at: str
    """UTC, ISO 8601."""


def write_summary(store: Store, spec_hash: str, num_inputs: int, ledger: Ledger) -> None:
    """Write the summary; one that says the same already stays as it is."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    quarantined = sum(ledger.quarantined.values())
    summary = Summary(
        spec_hash,
        num_inputs,
        ledger.num_rows,
        ledger.done,
        quarantined,
        ledger.quarantined,
        ledger.parts,
        ledger.output_bytes,
        now,
    )
    before = read_summary(store)
    if before is None or dataclasses.replace(before, finished_at=now) != summary:
        store.write(SUMMARY_KEY, json.dumps(dataclasses.asdict(summary), indent=2).encode(), "application/json")


def read_summary(store: Store) -> Summary | None:
    """Return the summary; None if there is none, or none that can be read."""
    found = store.read_version(SUMMARY_KEY)
    try:
        return None if found is None else Summary(**json.loads(found.data))
    except (ValueError, TypeError):
        return None


def clear_summary(store: Store) -> None:
    """Remove it: the output is about to change."""
    store.delete(SUMMARY_KEY)
