"""Where a job's metrics are recorded: `telemetry.names` given to Ray, once in each process.

Ray keeps sums in the process and its node agent collects them every ten seconds, so that recording costs microseconds;
still it is done once per block, never per step. Sources: `ray.util.metrics` of Ray 2.60.
"""

import math
import threading
from collections import Counter as Tallied
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import ray
from ray.util import metrics

from tss_ray.records import ManifestRow
from tss_ray.storage.tries import TRIES
from tss_ray.telemetry import names
from tss_ray.telemetry.names import JOB_TAG, STAGES, Metric


class Meters:
    """The metrics of one job in this process; may be used from any thread."""

    def __init__(self, job_id: str) -> None:
        """Begin; a metric is made when it is first recorded."""
        self._tags, self._made, self._lock = {JOB_TAG: job_id}, dict[str, Any](), threading.Lock()

    def count(self, metric: Metric, value: float = 1.0, **tags: str) -> None:
        """Add to a counter; nothing, or less, adds nothing."""
        if value > 0 and math.isfinite(value):
            self._of(metric).inc(value, tags)

    def set(self, metric: Metric, value: float | None, **tags: str) -> None:
        """Set a gauge; what is not known is None and is left out."""
        if value is not None and math.isfinite(value):
            self._of(metric).set(float(value), tags)

    def observe(self, metric: Metric, value: float | None, **tags: str) -> None:
        """Put a value into a histogram; what did not happen is None and is left out."""
        if value is not None and math.isfinite(value):
            self._of(metric).observe(float(value), tags)

    def _of(self, metric: Metric) -> Any:  # noqa: ANN401
        made = self._made.get(metric.name)
        if made is not None:
            return made
        with self._lock:
            if metric.name not in self._made:
                self._made[metric.name] = _make(metric).set_default_tags(self._tags)
            return self._made[metric.name]


class Unheard(Meters):
    """Outside of Ray nobody collects: nothing is recorded."""

    def count(self, metric: Metric, value: float = 1.0, **tags: str) -> None:
        """Do nothing."""

    def set(self, metric: Metric, value: float | None, **tags: str) -> None:
        """Do nothing."""

    def observe(self, metric: Metric, value: float | None, **tags: str) -> None:
        """Do nothing."""


def _make(metric: Metric) -> Any:  # noqa: ANN401
    if metric.kind == "histogram":
        return metrics.Histogram(metric.name, metric.help, list(metric.buckets), metric.tag_keys)
    kind = metrics.Counter if metric.kind == "counter" else metrics.Gauge
    return kind(metric.name, metric.help, metric.tag_keys)


def meters() -> Meters:
    """Return this process's meters of the job that it works for; outside of Ray, where asking would start one, none."""
    return _meters_of(ray.get_runtime_context().get_job_id()) if ray.is_initialized() else Unheard("")


@lru_cache(maxsize=4)
def _meters_of(job_id: str) -> Meters:
    return Meters(job_id)


def tell_prepared(told: Meters, rows: Iterable[ManifestRow]) -> None:
    """Record a block that was fetched, decoded and probed."""
    for row in rows:
        _tell_stages(told, row, ("fetch", "decode", "probe"))
        told.count(names.BYTES, row.input_bytes or 0, direction="in")
    tell_tries(told)


def tell_upscaled(told: Meters, rows: Iterable[ManifestRow]) -> None:
    """Record a block of finished rows; what was left pending is not finished."""
    finished = [row for row in rows if row.status != "pending"]
    for (status, kind), number in Tallied((row.status, row.error_kind or "none") for row in finished).items():
        told.count(names.IMAGES, number, status=status, kind=kind)
    for row in finished:
        told.count(names.RETRIES, (row.attempt or 1) - 1, reason="gate")
        _tell_stages(told, row, ("queue", "denoise", "encode", "upload"))
        if row.status == "done":
            _tell_done(told, row)
    tell_tries(told)


def _tell_done(told: Meters, row: ManifestRow) -> None:
    told.observe(names.STEPS, row.num_steps)
    told.count(names.STEPS_RUN, row.num_steps or 0)
    told.observe(names.LR_CONSISTENCY, row.lr_consistency_psnr)
    told.observe(names.COLOUR_DELTA_E, row.colour_delta_e)
    told.count(names.RUN_PIXELS, row.run_px)
    told.count(names.RUN_PIXELS_TOP_RUNG, row.run_px_top_rung)
    told.count(names.PIXELS, (row.in_width or 0) * (row.in_height or 0), direction="in")
    told.count(names.PIXELS, (row.out_width or 0) * (row.out_height or 0), direction="out")
    told.count(names.BYTES, row.output_bytes or 0, direction="out")


def _tell_stages(told: Meters, row: ManifestRow, stages: Iterable[str]) -> None:
    for stage in stages:
        _tell_stage(told, stage, getattr(row, f"{stage}_s"))


def _tell_stage(told: Meters, stage: str, seconds: float | None) -> None:
    told.observe(names.STAGE_SECONDS, seconds, stage=stage)
    told.count(names.STAGE_SUM, seconds or 0.0, stage=stage)


def tell_committed(told: Meters, num_rows: int, seconds: float) -> None:
    """Record a part that was written."""
    told.count(names.PARTS)
    told.count(names.ROWS, num_rows)
    _tell_stage(told, STAGES[-1], seconds)
    tell_tries(told)


def tell_tries(told: Meters) -> None:
    """Record the requests that this process has sent again since it last said so."""
    told.count(names.RETRIES, TRIES.take(), reason="request")
