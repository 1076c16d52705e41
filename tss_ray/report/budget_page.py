"""A plan of a budget as one page that needs no other file and no script."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tss_ray.report.budget_table import Record, goal_text, prediction_rows, what_if_rows
from tss_ray.report.chart import STYLE, Axis, Point, Series, chart, ticks_between

Examples = Sequence[Mapping[int, bytes]]
"""For each bin its pictures: steps to WebP."""

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 84rem; padding: 0 1rem;
  background: Canvas; color: CanvasText; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, CanvasText 20%, Canvas); }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(34rem, 1fr)); gap: 1rem; }
.chart { width: 100%; height: auto; }
figure { display: inline-block; margin: .2rem; text-align: center; font-size: 12px; }
figure.given { outline: 2px solid #0a62b8; outline-offset: 2px; }
"""


def plan_page(record: Record, examples: Examples) -> str:
    """Return the page: what is predicted, the frontier, the bins with their curves and pictures, what else there is."""
    facts = record["facts"]
    title = f"Plan for {facts['source']}: {goal_text(record)}"
    parts = [
        _table(("", ""), prediction_rows(record)),
        "<h2>Quality against cost</h2><p>The frontier is the best mixture of steps for every cost; uniform steps give "
        "every image the same. Device-seconds are what the denoiser computes.</p>"
        f'<div class="charts">{_frontier(record)}{_rungs(record)}</div>',
        f'<h2>By texture</h2><div class="charts">{_curves(record)}</div>' + _bins(record),
        "<h2>Pictures</h2><p>The middle of a sampled crop on every rung; outlined is what the plan gives most of the "
        "bin.</p>" + "".join(_pictures(each, shown) for each, shown in zip(record["bins"], examples, strict=True)),
        "<h2>What if</h2>" + _table(("", "device time", "cost", "mean steps", "quality"), what_if_rows(record)),
        "<h2>What was looked at</h2>" + _distributions(record),
        f"<h2>The plan file</h2><pre>{html.escape(json.dumps(record['target'], indent=1))}</pre>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title><style>{_STYLE}{STYLE}</style></head><body>\n"
        f"<h1>{html.escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _frontier(record: Record) -> str:
    plan = record["predicted"]
    series = [
        Series("frontier", _points(record["frontier"])),
        Series("uniform steps", _points(record["uniform"])),
        Series(
            "the plan",
            (
                Point(
                    plan["device_s"]["value"], plan["quality"]["value"], plan["quality"]["low"], plan["quality"]["high"]
                ),
            ),
        ),
    ]
    dearest = max((point.x for line in series for point in line.points), default=0.0) or 1.0
    title = f"quality ({record['facts']['score_name']}) against cost"
    axis = Axis("device-seconds", (0.0, *(t for t in ticks_between(0, dearest) if t), dearest))
    return f"<div>{chart(title, axis, series)}</div>"


def _rungs(record: Record) -> str:
    costs = tuple(Point(rung["steps"], rung["value"], rung["low"], rung["high"]) for rung in record["cost_per_rung"])
    axis = Axis("steps", _ladder(record))
    return f"<div>{chart('device-seconds of a tile', axis, [Series('measured', costs)])}</div>"


def _curves(record: Record) -> str:
    axis = Axis("steps", _ladder(record))
    series = [
        Series(
            f"{each['from']:.2f}–{each['to']:.2f}",
            tuple(Point(rung["steps"], rung["value"], rung["low"], rung["high"]) for rung in each["quality"]),
        )
        for each in record["bins"]
    ]
    return f"<div>{chart('quality against steps, by texture score', axis, series)}</div>"


def _bins(record: Record) -> str:
    rows = [
        (
            f"{each['from']:.2f}–{each['to']:.2f}",
            f"{each['tiles']['value']:.0f} [{each['tiles']['low']:.0f}, {each['tiles']['high']:.0f}]",
            str(each["sampled"]),
            ", ".join(f"{s['steps']} steps: {s['share']:.1%}" for s in each["shares"]),
        )
        for each in record["bins"]
    ]
    return _table(("texture", "tiles of the dataset", "sampled", "what the plan gives"), rows)


def _pictures(each: Mapping[str, Any], shown: Mapping[int, bytes]) -> str:
    if not shown:
        return ""
    most = max(each["shares"], key=lambda s: float(s["share"]))["steps"]
    figures = "".join(
        f"<figure{' class=given' if steps == most else ''}>"
        f'<img alt="{steps} steps" src="data:image/webp;base64,{base64.b64encode(data).decode()}">'
        f"<figcaption>{steps} steps</figcaption></figure>"
        for steps, data in sorted(shown.items())
    )
    return f'<h3>Texture {each["from"]:.2f}–{each["to"]:.2f}</h3><div class="wide">{figures}</div>'


def _distributions(record: Record) -> str:
    found = record["dataset"]["distributions"]
    names = list(next(iter(found.values()), {}))
    rows = [(name, *(f"{values[q]:.3g}" for q in names)) for name, values in found.items()]
    return _table(("", *names), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _points(points: Sequence[Mapping[str, float]]) -> tuple[Point, ...]:
    return tuple(Point(point["device_s"], point["quality"]) for point in points)


def _ladder(record: Record) -> tuple[float, ...]:
    return tuple(float(rung["steps"]) for rung in record["rung_shares"])
