"""The study as one page that needs no other file and no script: verdicts, tables, curves, and where they come from."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quality_values import BIN_SCORES
from tss_claims import Figure
from tss_compare import Claim
from tss_curves import band_charts, metric_charts
from tss_measure import StudyValue
from tss_report import Rows, evidence_text, main_rows, mean_rows, measured_metrics, texture_rows, where
from tss_trajectory import PATCH_PX, PatchCurve

from tss_ray.report.chart import STYLE

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
.claim { margin: .8rem 0; } .claim ul { margin: .2rem 0; font-size: 13px; }
.verdict { font-weight: 600; padding: 0 .4rem; border-radius: .3rem; border: 1px solid currentColor; }
.holds { color: #00734f } .does-not-hold { color: #b3261e } .cannot-be-told { color: #8a6d00 }
.not-measured { opacity: .6 }
@media (prefers-color-scheme: dark) {
.holds { color: #3fcf9b } .does-not-hold { color: #ff8a80 } .cannot-be-told { color: #e3c04d }
}
"""


@dataclass(frozen=True)
class Source:
    """What one set of photographs says; `curves` may be empty."""

    values: Sequence[StudyValue]
    claims: Sequence[Claim]
    curves: Sequence[PatchCurve]


def write_page(
    sources: Sequence[Source], line: Mapping[str, Figure], provenance: Mapping[str, object], path: Path
) -> None:
    """Write the page: first what the last line speaks of; `provenance` says what was measured with what."""
    tss = str(line["tss"])
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>TSS, measured</title><style>{_STYLE}{STYLE}</style></head><body>\n<h1>TSS, measured</h1>\n"
        f"<p>TSS is the variant <b>{_escape(tss)}</b>. Intervals are 95%, bootstrap over photographs; differences are "
        "taken crop by crop. Arrows say which way is better.</p>\n"
        + "\n".join(_source(source, tss) for source in sources)
        + f"<h2>The last line</h2><pre>{_escape(json.dumps(line, indent=1))}</pre>\n"
        f"<h2>What was measured with what</h2><pre>{_escape(json.dumps(provenance, indent=1, default=str))}</pre>\n"
        "</body></html>\n",
        encoding="utf-8",
    )


def _source(source: Source, tss: str) -> str:
    values = source.values
    parts = [
        f"<h2>{_escape(where(values))}</h2>",
        "<h3>Claims</h3>" + "".join(map(_claim, source.claims)),
        "<h3>TSS against uniform</h3>" + _table(main_rows(values, tss)),
        "<h3>Metrics against steps</h3>" + _charts(metric_charts(values, measured_metrics(values))),
    ]
    if source.curves:
        parts.append(
            "<h3>Frequency bands against time</h3>"
            f"<p>Patches of {PATCH_PX} px; classes are thirds by the original's standard deviation. SNR of what each "
            "step takes the picture to be, against the output.</p>" + _charts(band_charts(source.curves))
        )
    low, high = BIN_SCORES
    parts += [
        f"<h3>By texture</h3><p>Score of the input below {low:g}, below {high:g}, from there.</p>"
        + _table(texture_rows(values)),
        "<h3>All means</h3>" + _table(mean_rows(values)),
    ]
    return "\n".join(parts)


def _claim(claim: Claim) -> str:
    kind = claim.verdict.replace(" ", "-")
    tests = "".join(f"<li>{_escape(evidence_text(test))}</li>" for test in claim.evidence)
    return (
        f'<div class="claim"><span class="verdict {kind}">{claim.verdict}</span> {_escape(claim.sentence)} '
        f"<small>({claim.origin})</small><ul>{tests}</ul></div>"
    )


def _table(rows: Rows) -> str:
    head = "".join(f"<th>{_escape(heading)}</th>" for heading in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{_escape(cell)}</td>' for cell in row)}</tr>" for row in rows[1:])
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _charts(drawn: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(f"<div>{svg}</div>" for svg in drawn)}</div>'


def _escape(text: object) -> str:
    return html.escape(str(text))
