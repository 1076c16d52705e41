"""When somebody should look: Prometheus alert rules over the same metrics."""

from dataclasses import dataclass
from typing import Any, Literal

from tss_ray.telemetry import names
from tss_ray.telemetry.names import Metric

BY = "job_id, SessionName"
_QUARANTINED, _USEFUL = '{status="quarantined"}', '{use="useful"}'
_LOOK = "tss-ray logs and the dashboard tss-ray: operations tell more"


@dataclass(frozen=True)
class Alert:
    """One rule; `summary` is one line with the remedy."""

    name: str
    expr: str
    hold: str
    """How long the expression must stay true."""
    severity: Literal["warning", "critical"]
    summary: str

    def as_rule(self) -> dict[str, Any]:
        """Return it as Prometheus takes it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.hold,
            "labels": {"severity": self.severity},
            "annotations": {"summary": f"tss-ray job {{{{ $labels.job_id }}}}: {self.summary}"},
        }


def gauge(metric: Metric) -> str:
    """Return a gauge of the driver, by run."""
    return f"max by ({BY}) ({metric.series})"


def gained(metric: Metric, also: str = "", window: str = "15m") -> str:
    """Return what a counter gains in a second, by run."""
    return f"sum by ({BY}) (rate({metric.series}{also}[{window}]))"


def changed(metric: Metric, window: str) -> str:
    """Return how often a gauge of the driver took another value, by run."""
    return f"max by ({BY}) (changes({metric.series}[{window}]))"


RUNNING = f"{gauge(names.RUNNING)} == 1"
"""Set back at every orderly end: what a driver that died leaves behind stays 1."""

ALERTS = (
    Alert(
        "TssRayStalled",
        f"{changed(names.FINISHED, '15m')} == 0 and {changed(names.ELAPSED, '15m')} > 0 and {RUNNING}",
        "5m",
        "critical",
        f"no image was finished for 15 minutes; see whether actors start and the store answers: {_LOOK}",
    ),
    Alert(
        "TssRayGone",
        f"{changed(names.ELAPSED, '5m')} == 0 and {RUNNING}",
        "5m",
        "critical",
        "the driver died before its end; the same command goes on from the committed rows",
    ),
    Alert(
        "TssRayManyQuarantined",
        f"{gained(names.IMAGES, _QUARANTINED)} / {gained(names.IMAGES)} > 0.05",
        "5m",
        "warning",
        "more than 5% of the inputs become no image; see error_kind and error_message in the manifest",
    ),
    Alert(
        "TssRayManyRetries",
        f"{gained(names.RETRIES)} / {gained(names.IMAGES)} > 0.2",
        "10m",
        "warning",
        f"more than one try again for five images; {_LOOK}, by reason",
    ),
    Alert(
        "TssRayOccupancyLow",
        f"{gained(names.SLOTS, _USEFUL)} / {gained(names.SLOTS)} < 0.5",
        "15m",
        "warning",
        "half of what devices run is empty places; give the cluster more CPUs to decode, or lower compute.max_batch",
    ),
    Alert(
        "TssRayDevicesIdle",
        f"{gained(names.IDLE_SECONDS)} / {gauge(names.DEVICES)} > 0.5",
        "15m",
        "warning",
        "devices wait for images more than half of the time; add CPUs, or lower compute.actors",
    ),
    Alert(
        "TssRayCostOverPlan",
        f"{gauge(names.PREDICTED_DEVICE_SECONDS)} > 1.1 * {gauge(names.PLANNED_DEVICE_SECONDS)} "
        f"and {gauge(names.FINISHED)} >= 100",
        "10m",
        "warning",
        "at this pace the run takes more than 110% of the planned device time; stop it and plan again, or let it",
    ),
)


def rules() -> dict[str, Any]:
    """Return the rule file."""
    return {"groups": [{"name": "tss-ray", "rules": [alert.as_rule() for alert in ALERTS]}]}
