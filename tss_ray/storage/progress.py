"""run/progress.json: how far a run is, written every few seconds by whoever runs it and read from anywhere.

For people who watch: counts are those of the run's display, rows say what is done.
"""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any, Literal

from tss_ray.storage.layout import PROGRESS_KEY
from tss_ray.storage.protocol import Store

State = Literal["running", "stopping", "ended", "failed"]


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """One look at a run. Times are UTC, ISO 8601, by the clock of the run's machine."""

    run_id: str
    state: State
    began_at: str
    told_at: str
    num_listed: int
    num_todo: int
    done: int = 0
    quarantined: int = 0
    steps: int = 0
    device_seconds: float = 0.0
    images_per_s: float | None = None
    """Over the last minute; None before the first image."""
    usd: float | None = None
    """Rented so far, where a price is known."""
    predicted_usd: float | None = None
    """Rented at the end, at the pace so far."""
    result: dict[str, Any] | None = None
    """Of a run that has ended: what its closing table is made of."""

    @property
    def age_s(self) -> float:
        """Seconds since it was written, by this machine's clock."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.told_at)).total_seconds()


def now_told() -> str:
    """Return the present as records tell it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_progress(store: Store, progress: Progress) -> None:
    """Replace what was told before."""
    store.write(PROGRESS_KEY, json.dumps(dataclasses.asdict(progress), indent=2).encode(), "application/json")


def read_progress(store: Store) -> Progress | None:
    """Return what the last run told; None where there is nothing, or nothing that this version can read."""
    found = store.read_version(PROGRESS_KEY)
    try:
        return None if found is None else Progress(**json.loads(found.data))
    except (ValueError, TypeError):
        return None
