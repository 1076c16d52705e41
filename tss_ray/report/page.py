"""One page that needs no other file: its skeleton, tables and tiles. Pure text; nothing in it can reach a network.

Every argument named `html` is markup already; everything else is text and is escaped here.
"""

import html as _html
from collections.abc import Sequence
from dataclasses import dataclass

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1f2328; --faint: #57606a; --line: #d0d7de;
  --panel: #f6f8fa; --accent: #0a62b8; --warn: #b3261e;
  --c0: #0a62b8; --c1: #b35900; --c2: #00734f; --c3: #a3287e; --c4: #6b4fbb; --c5: #8a6d00; --c6: #1b7f8c;
  --c7: #c0392b; --rest: #afb8c1; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --ink: #e6edf3; --faint: #9ea7b3; --line: #30363d;
  --panel: #161b22; --accent: #58a6ff; --warn: #ff8a80;
  --c0: #58a6ff; --c1: #ffa657; --c2: #3fcf9b; --c3: #f092d1; --c4: #b89cff; --c5: #e3c04d; --c6: #56d4dd;
  --c7: #ff7b72; --rest: #484f58; } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem;
  background: var(--ground); color: var(--ink) }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem }
h3 { font-size: 1rem; margin: 1rem 0 .2rem }
ul { margin: .2rem 0; padding-left: 1.3rem; color: var(--faint) }
p.note, .tile small, figcaption { color: var(--faint) }
p.note { margin: .2rem 0 .8rem; max-width: 60rem }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere }
.wide { overflow-x: auto; margin: .4rem 0 1.2rem }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top }
th.left, td.left { text-align: left; overflow-wrap: anywhere; max-width: 44rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); gap: .7rem; margin: 1rem 0 }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem }
.tile b { display: block; font-size: 1.45rem; line-height: 1.2 } .tile small { display: block }
svg.chart { width: 100%; height: auto; max-width: 46rem; display: block }
svg.chart text { font: 12px system-ui, sans-serif; fill: var(--ink) } svg.chart .faint { fill: var(--faint) }
svg.chart .grid { stroke: var(--line) } svg.chart .bar { fill: var(--accent) }
svg.chart .over { paint-order: stroke; stroke: var(--ground); stroke-width: 3px }
svg.chart .mark { stroke: var(--warn); stroke-width: 1.5; stroke-dasharray: 4 3 }
@media print { body { max-width: none; padding: 0; font-size: 11px } h2 { break-after: avoid }
  .tile, figure, tr, svg.chart { break-inside: avoid } .wide { overflow: visible } }
"""
"""Colours are variables of the page, so that charts and other parts follow the reader's light or dark scheme."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The page forbids itself every request: what it shows is in it."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure that is read first: `value` large, `label` under it, `note` small."""

    value: str
    label: str
    note: str = ""


def page(title: str, body_html: str, extra_style: str = "", script: str = "") -> str:
    """Return a whole HTML document; `script` runs at the end of the body."""
    ran = f"<script>{script}</script>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{extra_style}</style></head>\n<body>\n{body_html}\n"
        f"{ran}</body></html>\n"
    )


def section(heading: str, body_html: str, note: str = "") -> str:
    """Return a part of the page under its heading, with a sentence on how to read it."""
    told = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(heading)}</h2>{told}{body_html}</section>"


def tiles(shown: Sequence[Tile]) -> str:
    """Return figures side by side."""
    cells = (
        f'<div class="tile"><b>{escape(t.value)}</b>{escape(t.label)}<small>{escape(t.note)}</small></div>'
        for t in shown
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[object]], num_left: int = 1) -> str:
    """Return a table of text; the first `num_left` columns stand left, the others, numbers, stand right."""
    names = "".join(_cell("th", name, k < num_left) for k, name in enumerate(head))
    body = "".join(f"<tr>{''.join(_cell('td', v, k < num_left) for k, v in enumerate(row))}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'


def escape(text: object) -> str:
    """Return text that means itself in markup and in attributes."""
    return _html.escape(str(text))


def _cell(tag: str, value: object, left: bool) -> str:
    kind = ' class="left"' if left else ""
    return f"<{tag}{kind}>{escape(value)}</{tag}>"
