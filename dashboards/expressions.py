"""What a dashboard is made of: boards, rows and panels, and the PromQL behind them, without any of Grafana's forms.

Counters of all workers are added up; two drivers of one cluster are told apart by `job_id`, clusters by SessionName.
"""

from dataclasses import dataclass
from typing import Literal

from tss_ray.telemetry.names import Metric

CHOSEN = 'job_id=~"$job",SessionName=~"$session"'
"""Of every selector: what the reader picked at the top of the page."""
WINDOW = "$__rate_interval"


@dataclass(frozen=True)
class Query:
    """One expression and how its lines are called."""

    expr: str
    legend: str
    rare: bool = False
    """Of something that a good run never sees: without it the expression says zero by itself."""


@dataclass(frozen=True)
class Panel:
    """One panel; `unit` is Grafana's name of it."""

    title: str
    help: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["lines", "stat"] = "lines"
    top: float | None = None
    """Where the axis ends, if it has an end."""


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    name: str
    title: str
    help: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> list[Panel]:
        """Every panel."""
        return [panel for row in self.rows for panel in row.panels]


def now(metric: Metric, by: str = "", also: str = "") -> str:
    """Return the sum of a gauge."""
    return f"sum{_by(by)} ({metric.series}{_chosen(also)})"


def largest(metric: Metric) -> str:
    """Return the largest of a gauge's values."""
    return f"max ({metric.series}{_chosen('')})"


def rate(metric: Metric, by: str = "", also: str = "", part: str = "") -> str:
    """Return what a counter, or the part `_sum` or `_count` of a histogram, gains in a second."""
    return f"sum{_by(by)} (rate({metric.series}{part}{_chosen(also)}[{WINDOW}]))"


def mean(total: Metric, metric: Metric, by: str = "") -> str:
    """Return the mean of what a histogram saw, from the counter that adds it up; see `names` for why."""
    return f"{rate(total, by)} / {rate(metric, by, part='_count')}"


def quantile(share: float, metric: Metric, by: str = "") -> str:
    """Return a quantile of what a histogram saw, as far as its buckets tell."""
    return f"histogram_quantile({share:g}, {rate(metric, f'le, {by}' if by else 'le', part='_bucket')})"


def quantiles(metric: Metric, shares: dict[str, float]) -> tuple[Query, ...]:
    """Return a query for each named quantile."""
    return tuple(Query(quantile(share, metric), legend) for legend, share in shares.items())


def _by(by: str) -> str:
    return f" by ({by})" if by else ""


def _chosen(also: str) -> str:
    return "{" + ",".join(filter(None, (CHOSEN, also))) + "}"


def one(expr: str, legend: str = "") -> tuple[Query, ...]:
    """Return a single query."""
    return (Query(expr, legend),)


def rare(expr: str, legend: str) -> tuple[Query, ...]:
    """Return the query of something that a good run never sees."""
    return (Query(f"{expr} or vector(0)", legend, rare=True),)
