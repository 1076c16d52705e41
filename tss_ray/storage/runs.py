"""run/runs.json: when each run on an output began, and with how many devices: what no row can say.

Written under the lease, so reading, adding and writing again loses nothing. What cannot be read is begun anew: it is
only for reports.
"""

import dataclasses
import json
from typing import Any

from tss_ray.storage.layout import RUNS_KEY
from tss_ray.storage.protocol import Store

_MOST = 1000
"""Entries kept: an output that a loop restarts for ever has one file of bounded size."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One run that came as far as having a cluster."""

    started_at: str
    """UTC, ISO 8601: before the preflight, so that start-up is what lies between this and the first row."""
    devices: int | None
    """GPUs held, or actors on a cluster without; None where several actors share one GPU."""
    metrics: dict[str, dict[str, Any]]
    """For each metric whether it `needs_reference` and whether its `lower_is_better`."""
    made_with: dict[str, str]
    """Packages and their versions or licences."""


def add_run(store: Store, run: Run) -> None:
    """Add a run to those of the output. Raises StorageError."""
    runs = [*read_runs(store), run][-_MOST:]
    store.write(
        RUNS_KEY, json.dumps([dataclasses.asdict(each) for each in runs], indent=1).encode(), "application/json"
    )


def read_runs(store: Store) -> tuple[Run, ...]:
    """Return the runs, the oldest first; none where nothing is there that can be read."""
    found = store.read_version(RUNS_KEY)
    try:
        return () if found is None else tuple(Run(**each) for each in json.loads(found.data))
    except (ValueError, TypeError):
        return ()
