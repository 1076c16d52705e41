"""What the dashboards show: rows of panels and the expressions behind them, without any of Grafana's forms.

Counters of all workers are added up; two drivers of one cluster are told apart by `job_id`, clusters by SessionName.
"""

from dataclasses import dataclass
from typing import Literal

from tss_ray.telemetry import names
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


def rate(metric: Metric, by: str = "", also: str = "", part: str = "") -> str:
    """Return what a counter, or the part `_sum` or `_count` of a histogram, gains in a second."""
    return f"sum{_by(by)} (rate({metric.series}{part}{_chosen(also)}[{WINDOW}]))"


def mean(total: Metric, metric: Metric, by: str = "") -> str:
    """Return the mean of what a histogram saw, from the counter that adds it up; see `names` for why."""
    return f"{rate(total, by)} / {rate(metric, by, part='_count')}"


def quantile(share: float, metric: Metric, by: str = "") -> str:
    """Return a quantile of what a histogram saw, as far as its buckets tell."""
    return f"histogram_quantile({share:g}, {rate(metric, f'le, {by}' if by else 'le', part='_bucket')})"


def _by(by: str) -> str:
    return f" by ({by})" if by else ""


def _chosen(also: str) -> str:
    return "{" + ",".join(filter(None, (CHOSEN, also))) + "}"


def _one(expr: str, legend: str = "") -> tuple[Query, ...]:
    return (Query(expr, legend),)


def _rare(expr: str, legend: str) -> tuple[Query, ...]:
    return (Query(f"{expr} or vector(0)", legend, rare=True),)


_LEFT = f"({now(names.TODO)} - {now(names.FINISHED)}) / {rate(names.IMAGES)}"
_QUARANTINED = 'status="quarantined"'
_RENTED = 'kind="rented"'
_USEFUL, _WANTED = 'use="useful"', 'use="wanted"'

_PROGRESS = (
    Panel(
        "Finished",
        "Of what the run had to do.",
        "percentunit",
        _one(f"{now(names.FINISHED)} / {now(names.TODO)}"),
        "stat",
        1,
    ),
    Panel("Time left", "At the present pace.", "s", _one(_LEFT), "stat"),
    Panel("Images", "Done and quarantined so far.", "short", _one(now(names.FINISHED)), "stat"),
)

OPERATORS = Board(
    "operators",
    "tss-ray: operations",
    "Is it going, how fast, what holds it up, and what goes wrong?",
    (
        Row(
            "Throughput",
            (
                *_PROGRESS,
                Panel(
                    "Images per second",
                    "Rows made, by status.",
                    "short",
                    _one(rate(names.IMAGES, "status"), "{{status}}"),
                ),
                Panel(
                    "Megapixels per second",
                    "Of inputs and of outputs.",
                    "short",
                    _one(f"{rate(names.PIXELS, 'direction')} / 1e6", "{{direction}}"),
                ),
                Panel(
                    "Bytes per second",
                    "Encoded: fetched, written.",
                    "Bps",
                    _one(rate(names.BYTES, "direction"), "{{direction}}"),
                ),
                Panel(
                    "Seconds of a stage, mean",
                    "Wall-clock of an image; commit is of a part. What is longest of fetch, decode and probe, or of "
                    "encode and upload, says which side to help.",
                    "s",
                    _one(mean(names.STAGE_SUM, names.STAGE_SECONDS, "stage"), "{{stage}}"),
                ),
                Panel(
                    "Seconds of a stage, 95%",
                    "One image in twenty takes longer.",
                    "s",
                    _one(quantile(0.95, names.STAGE_SECONDS, "stage"), "{{stage}}"),
                ),
                Panel(
                    "Blocks in flight",
                    "Begun and not ended, by stage.",
                    "short",
                    _one(now(names.BLOCKS, "stage"), "{{stage}}"),
                ),
            ),
        ),
        Row(
            "Engine",
            (
                Panel(
                    "Occupancy",
                    "Useful places of all that were run. Low: images come too slowly, or sizes are too mixed.",
                    "percentunit",
                    _one(f"{rate(names.SLOTS, also=_USEFUL)} / {rate(names.SLOTS)}"),
                    top=1,
                ),
                Panel(
                    "Tiles a batch",
                    "In the mean, beside what a batch may hold.",
                    "short",
                    (
                        Query(f"{rate(names.SLOTS, also=_USEFUL)} / {rate(names.FORWARDS)}", "mean"),
                        Query(f"max ({names.MAX_BATCH.series}{_chosen('')})", "at most"),
                    ),
                ),
                Panel(
                    "Devices busy",
                    "Computing; the rest is start-up, waiting for images, and work between forwards.",
                    "percentunit",
                    _one(f"{rate(names.DEVICE_SECONDS)} / {now(names.DEVICES)}"),
                    top=1,
                ),
                Panel(
                    "Devices idle",
                    "Engines without any image: feed them faster.",
                    "percentunit",
                    _one(f"{rate(names.IDLE_SECONDS)} / {now(names.DEVICES)}"),
                    top=1,
                ),
                Panel(
                    "Padding",
                    "Pixels of tiles beyond those that were wanted.",
                    "percentunit",
                    _one(f"1 - {rate(names.ENGINE_PIXELS, also=_WANTED)} / {rate(names.ENGINE_PIXELS)}"),
                    top=1,
                ),
                Panel(
                    "Images in the engine",
                    "Waiting or running, by actor.",
                    "short",
                    _one(now(names.QUEUE, "actor"), "{{actor}}"),
                ),
                Panel(
                    "Memory in use",
                    "Of the device, by actor.",
                    "bytes",
                    _one(now(names.DEVICE_MEMORY, "actor"), "{{actor}}"),
                ),
            ),
        ),
        Row(
            "Reliability",
            (
                Panel(
                    "Quarantined, share",
                    "Of the rows made.",
                    "percentunit",
                    _one(f"{rate(names.IMAGES, also=_QUARANTINED)} / {rate(names.IMAGES)}"),
                ),
                Panel(
                    "Quarantined by kind",
                    "Rows a second; error_message of the manifest says why.",
                    "short",
                    _one(rate(names.IMAGES, "kind", _QUARANTINED), "{{kind}}"),
                ),
                Panel(
                    "Tried again",
                    "Refused outputs (gate), requests to stores, blocks that lost their worker, in a second.",
                    "short",
                    _rare(rate(names.RETRIES, "reason"), "{{reason}}"),
                ),
                Panel(
                    "Out of memory", "Batches halved, in a second.", "short", _rare(rate(names.OUT_OF_MEMORY), "halved")
                ),
                Panel("Rows committed", "To the manifest, in a second.", "short", _one(rate(names.ROWS))),
                Panel("Parts committed", "In a second.", "short", _one(rate(names.PARTS))),
            ),
        ),
    ),
)

PAYERS = Board(
    "payers",
    "tss-ray: cost and quality",
    "What does it cost, what will it cost, what is saved, and how good is it?",
    (
        Row(
            "Cost",
            (
                Panel(
                    "So far",
                    "Devices for as long as they are held.",
                    "currencyUSD",
                    _one(now(names.COST_USD, also=_RENTED)),
                    "stat",
                ),
                Panel(
                    "At the end",
                    "At the pace so far.",
                    "currencyUSD",
                    _one(now(names.PREDICTED_USD, also=_RENTED)),
                    "stat",
                ),
                Panel(
                    "For 1000 images",
                    "Rented so far, over what is finished.",
                    "currencyUSD",
                    _one(f"1000 * {now(names.COST_USD, also=_RENTED)} / {now(names.FINISHED)}"),
                    "stat",
                ),
                Panel(
                    "Spent",
                    "Rented, and the part of it in which devices computed.",
                    "currencyUSD",
                    _one(now(names.COST_USD, "kind"), "{{kind}}"),
                ),
                Panel(
                    "Device time, predicted and planned",
                    "At the end; planned only under a budget.",
                    "s",
                    (
                        Query(now(names.PREDICTED_DEVICE_SECONDS), "predicted"),
                        Query(now(names.PLANNED_DEVICE_SECONDS), "planned"),
                    ),
                ),
                Panel(
                    "Device-seconds an image",
                    "Computed, in the mean.",
                    "s",
                    _one(f"{rate(names.DEVICE_SECONDS)} / {rate(names.IMAGES)}"),
                ),
            ),
        ),
        Row("Progress", _PROGRESS),
        Row(
            "Savings",
            (
                Panel(
                    "Denoiser work saved",
                    "Against the top rung for every image.",
                    "percentunit",
                    _one(f"1 - {rate(names.NFE)} / {rate(names.NFE_TOP_RUNG)}"),
                    top=1,
                ),
                Panel("Steps an image, mean", "Of upscaled images.", "short", _one(mean(names.STEPS_RUN, names.STEPS))),
                Panel(
                    "Images by steps",
                    "A second, with at most so many steps.",
                    "short",
                    _one(rate(names.STEPS, "le", part="_bucket"), "{{le}}"),
                ),
            ),
        ),
        Row(
            "Quality",
            (
                Panel(
                    "LR consistency",
                    "How well outputs, reduced again, fit their inputs: the median, and one in twenty is below 5%.",
                    "dB",
                    (
                        Query(quantile(0.5, names.LR_CONSISTENCY), "median"),
                        Query(quantile(0.05, names.LR_CONSISTENCY), "5%"),
                    ),
                ),
                Panel(
                    "Colour ΔE",
                    "CIEDE2000 of outputs, reduced again, to their inputs; above 1 it may be seen.",
                    "short",
                    (
                        Query(quantile(0.5, names.COLOUR_DELTA_E), "median"),
                        Query(quantile(0.95, names.COLOUR_DELTA_E), "95%"),
                    ),
                ),
                Panel(
                    "Not usable",
                    "Share of inputs that were quarantined.",
                    "percentunit",
                    _one(f"{rate(names.IMAGES, also=_QUARANTINED)} / {rate(names.IMAGES)}"),
                ),
            ),
        ),
    ),
)

BOARDS = (OPERATORS, PAYERS)
