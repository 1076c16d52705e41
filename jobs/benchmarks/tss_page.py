"""The study as one page that needs no other file and no script: verdicts, tables, curves, and where they come from."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from quality_values import BIN_SCORES, BINS, mean, numbers, texture_bin
from tss_chart import STYLE
from tss_claims import Figure
from tss_compare import Claim
from tss_curves import LABELS, band_charts, metric_charts
from tss_measure import StudyValue
from tss_report import main_rows, measured_metrics, test_text
from tss_trajectory import PATCH_PX, PatchCurve

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
.holds { color: #00734f } .does-not-hold { color: #b3261e } .cannot-be-told { color: #8a6d00 } .not-measured { opacity: .6 }
@media (prefers-color-scheme: dark) {
.holds { color: #3fcf9b } .does-not-hold { color: #ff8a80 } .cannot-be-told { color: #e3c04d }
}
"""


def write_page(
    values: Sequence[StudyValue],
    curves: Sequence[PatchCurve],
    found: Sequence[Claim],
    line: Mapping[str, Figure],
    provenance: Mapping[str, object],
    path: Path,
) -> None:
    """Write the page; `line` are the figures of the last line, `provenance` what was measured with what."""
    metrics = measured_metrics(values)
    crops, photos = len({value.crop for value in values}), len({value.photo for value in values})
    where = f"{values[0].source}, {values[0].inputs}: {crops} crops of {photos} photographs"
    sections = [
        f"<p>{_escape(where)}. TSS is the variant <b>{_escape(line['tss'])}</b>. Intervals are 95%, bootstrap over "
        "photographs, and of differences taken crop by crop.</p>",
        _section("Claims", "".join(map(_claim, found))),
        _section("TSS against uniform", _main_table(values, metrics, str(line["tss"]))),
        _section("Metrics against steps", _charts(metric_charts(values, metrics))),
        _section("By texture of the input", _texture_table(values)),
        _section(
            "Frequency bands against time",
            f"<p>Patches of {PATCH_PX} px; classes are thirds by the original's standard deviation. SNR of what each "
            "step takes the picture to be, against the output.</p>" + _charts(band_charts(curves)),
        )
        if curves
        else "",
        _section("All means", _all_table(values, metrics)),
        _section("The last line", f"<pre>{_escape(json.dumps(line, indent=1))}</pre>"),
        _section("What was measured with what", f"<pre>{_escape(json.dumps(provenance, indent=1, default=str))}</pre>"),
    ]
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>TSS, measured</title><style>{_STYLE}{STYLE}</style></head><body>\n<h1>TSS, measured</h1>\n"
        + "\n".join(sections)
        + "\n</body></html>\n",
        encoding="utf-8",
    )


def _claim(claim: Claim) -> str:
    kind = claim.verdict.replace(" ", "-")
    tests = "".join(f"<li>{_escape(test_text(test))}</li>" for test in claim.tests)
    return (
        f'<div class="claim"><span class="verdict {kind}">{claim.verdict}</span> {_escape(claim.sentence)} '
        f"<small>({claim.origin})</small><ul>{tests}</ul></div>"
    )


def _main_table(values: Sequence[StudyValue], metrics: Sequence[str], tss: str) -> str:
    rows = [[what, *cells] for what, _, cells in main_rows(values, tss)]
    return _table(["", *(LABELS[metric] for metric in metrics)], rows)


def _texture_table(values: Sequence[StudyValue]) -> str:
    binned = {name: [value for value in values if texture_bin(value.texture) == name] for name in BINS}
    shown = [metric for metric in ("niqe", "psnry") if any(getattr(value, metric) is not None for value in values)]
    sizes = {name: len({value.crop for value in part}) for name, part in binned.items()}
    headings = ["method", *(f"{LABELS[metric]}, {name} ({sizes[name]})" for metric in shown for name in BINS)]
    rows = [
        [method, *(_number(mean(numbers(binned[name], method, metric))) for metric in shown for name in BINS)]
        for method in dict.fromkeys(value.method for value in values)
    ]
    low, high = BIN_SCORES
    return f"<p>Texture score of the crop's input: below {low:g}, below {high:g}, above.</p>" + _table(headings, rows)


def _all_table(values: Sequence[StudyValue], metrics: Sequence[str]) -> str:
    rows = [
        [method, *(_number(mean(numbers(values, method, metric))) for metric in metrics)]
        for method in dict.fromkeys(value.method for value in values)
    ]
    return _table(["method", *(LABELS[metric] for metric in metrics)], rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{_escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _charts(drawn: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(f"<div>{svg}</div>" for svg in drawn)}</div>'


def _section(title: str, body: str) -> str:
    return f"<h2>{_escape(title)}</h2>\n{body}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _escape(text: object) -> str:
    return html.escape(str(text))
