"""Bars, shares and densities as SVG inside a page of `page`: pure text, no plotting library, no script."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from tss_ray.report.svg import ends, text

_WIDTH, _HEIGHT = 700, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 46
_NUM_TICKS = 4
_LABEL_PX = 7
"""Width of a character of a label, about."""
_STRIP_HEIGHT, _KEY_COLUMNS, _KEY_LINE = 30, 3, 20


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its name on the axis and its height, at least 0."""

    label: str
    value: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across a chart of bars; `at` counts bars from the left edge of the first (0.5 is its middle)."""

    label: str
    at: float


def bar_chart(title: str, x_label: str, bars: Sequence[Bar], marks: Sequence[Mark] = ()) -> str:
    """Return bars of counts side by side over a grid; each says its name and value when pointed at."""
    svg = _svg(title, _HEIGHT)
    top = max((bar.value for bar in bars), default=0.0) or 1.0
    base, room = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP
    for tick in ticks_up_to(top):
        y = base - room * tick / top
        ET.SubElement(svg, "line", {"class": "grid", **ends(_LEFT, y, _WIDTH - _RIGHT, y)})
        text(svg, _LEFT - 6, y + 4, f"{tick:,.10g}", "faint", "end")
    width = (_WIDTH - _LEFT - _RIGHT) / max(len(bars), 1)
    every = _every(bars, width)
    for k, bar in enumerate(bars):
        x, height = _LEFT + k * width, room * bar.value / top
        drawn = _rect(svg, x + 0.08 * width, base - height, 0.84 * width, height, "bar")
        ET.SubElement(drawn, "title").text = f"{bar.label}: {bar.value:,.6g}"
        if k % every == 0:
            text(svg, x + width / 2, base + 17, bar.label, anchor="middle")
    for k, mark in enumerate(marks):
        x = _LEFT + mark.at * width
        ET.SubElement(svg, "line", {"class": "mark", **ends(x, _TOP - 4, x, base)})
        text(svg, x + 3, _TOP + 6 + 13 * k, mark.label, "over")
    text(svg, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x_label, "faint", "middle")
    return _written(svg)


def share_strip(title: str, parts: Sequence[Bar]) -> str:
    """Return one bar cut into parts by their values, and its key; the last part is drawn as what is left."""
    lines = math.ceil(len(parts) / _KEY_COLUMNS)
    svg = _svg(title, _TOP + _STRIP_HEIGHT + 14 + _KEY_LINE * lines)
    whole = sum(part.value for part in parts) or 1.0
    x, room = float(_RIGHT), _WIDTH - 2 * _RIGHT
    for k, part in enumerate(parts):
        fill = "fill: var(--rest)" if k == len(parts) - 1 else f"fill: var(--c{k % 8})"
        words = f"{part.label}: {part.value / whole:.1%}"
        width = room * part.value / whole
        ET.SubElement(_rect(svg, x, _TOP, width, _STRIP_HEIGHT, style=fill), "title").text = words
        x += width
        left = _RIGHT + room * (k % _KEY_COLUMNS) / _KEY_COLUMNS
        y = _TOP + _STRIP_HEIGHT + 14 + _KEY_LINE * (k // _KEY_COLUMNS)
        _rect(svg, left, y, 11, 11, style=fill)
        text(svg, left + 17, y + 10, words)
    return _written(svg)


def density_chart(
    title: str,
    x_label: str,
    y_label: str,
    columns: Sequence[str],
    rows: Sequence[str],
    shares: Sequence[Sequence[float]],
) -> str:
    """Return a grid of cells, stronger where shares[column][row] in [0,1] is larger; rows from the bottom up."""
    svg = _svg(title, _HEIGHT)
    base = _HEIGHT - _BOTTOM
    width = (_WIDTH - _LEFT - _RIGHT) / max(len(columns), 1)
    height = (base - _TOP) / max(len(rows), 1)
    every = max(1, math.ceil(14 / height))
    for k, row in enumerate(rows):
        if k % every == 0:
            text(svg, _LEFT - 6, base - (k + 0.5) * height + 4, row, "faint", "end")
    for i, column in enumerate(columns):
        if i % max(1, math.ceil(34 / width)) == 0:
            text(svg, _LEFT + i * width, base + 17, column, "faint", "middle")
        for k, row in enumerate(rows):
            share = shares[i][k]
            opacity = f"{0.06 + 0.94 * math.sqrt(share):.3f}" if share else "0"
            place = (_LEFT + i * width + 0.5, base - (k + 1) * height + 0.5, width - 1, height - 1)
            cell = _rect(svg, *place, "bar", f"opacity: {opacity}")
            ET.SubElement(cell, "title").text = f"{x_label} from {column}, {row} {y_label}: {share:.1%}"
    text(svg, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x_label, "faint", "middle")
    text(svg, 4, _TOP - 8, y_label, "faint")
    return _written(svg)


def ticks_up_to(top: float) -> list[float]:
    """Return 0 and up to about five round whole numbers, none above `top` > 0."""
    step = max(top / _NUM_TICKS, 1.0)
    magnitude = 10.0 ** math.floor(math.log10(step))
    step = next(size * magnitude for size in (1, 2, 5, 10) if size * magnitude >= step * 0.999)
    return [k * step for k in range(math.floor(top / step + 1e-9) + 1)]


def _every(bars: Sequence[Bar], width: float) -> int:
    longest = max((len(bar.label) for bar in bars), default=1)
    return max(1, math.ceil((longest + 1) * _LABEL_PX / width))


def _svg(title: str, height: int) -> ET.Element:
    view = {"class": "chart", "viewBox": f"0 0 {_WIDTH} {height}", "role": "img", "aria-label": title}
    svg = ET.Element("svg", view)
    text(svg, _LEFT if height == _HEIGHT else _RIGHT, 18, title)
    return svg


def _rect(
    svg: ET.Element, x: float, y: float, width: float, height: float, kind: str = "", style: str = ""
) -> ET.Element:
    size = {"x": x, "y": y, "width": max(width, 0.0), "height": max(height, 0.0)}
    told = {name: value for name, value in (("class", kind), ("style", style)) if value}
    return ET.SubElement(svg, "rect", {name: f"{value:.2f}" for name, value in size.items()} | told)


def _written(svg: ET.Element) -> str:
    return ET.tostring(svg, encoding="unicode")
