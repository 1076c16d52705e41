"""Line charts with interval bands as SVG in a page: pure text, no plotting library, no script."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tss_ray.report.svg import ends, text

_WIDTH, _HEIGHT = 700, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 200, 40, 48
_NUM_TICKS = 5
_LABEL_PX = 18
_LIGHT = ("#57606a", "#0a62b8", "#b35900", "#00734f", "#a3287e", "#6b4fbb", "#8a6d00", "#c0392b", "#1b7f8c")
_DARK = ("#9ea7b3", "#58a6ff", "#ffa657", "#3fcf9b", "#f092d1", "#b89cff", "#e3c04d", "#ff7b72", "#56d4dd")
_DASHES = ("", "6 3", "2 3")
_RADIUS = ("2.6", "5")
"""Of a dot on a line, and of one that is alone."""

STYLE = (
    ".chart text { font: 12px system-ui, sans-serif; fill: CanvasText } .chart .title { font-size: 14px }\n"
    ".chart .grid { stroke: CanvasText; opacity: .15 } .chart .zero { stroke: CanvasText; opacity: .6 }\n"
    ".chart .line { fill: none; stroke-width: 1.7 } .chart .band { opacity: .14; stroke: none }\n"
    + "".join(
        f".chart .c{k} {{ stroke: {colour} }} .chart .f{k} {{ fill: {colour} }}\n" for k, colour in enumerate(_LIGHT)
    )
    + "@media (prefers-color-scheme: dark) {\n"
    + "".join(
        f".chart .c{k} {{ stroke: {colour} }} .chart .f{k} {{ fill: {colour} }}\n" for k, colour in enumerate(_DARK)
    )
    + "}\n"
)
"""What the page's style sheet needs for charts."""

_Place = Callable[[float, float], tuple[float, float]]
"""From (x, y) of the data to (x, y) of the drawing."""


@dataclass(frozen=True)
class Point:
    """One value, and the ends of its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """One line; its points ascend in x."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Axis:
    """What stands along x: `ticks` are labelled; log_scale needs x > 0; reversed runs from high to low."""

    label: str
    ticks: tuple[float, ...]
    log_scale: bool = False
    is_reversed: bool = False

    def share(self, x: float) -> float:
        """Return where x lies, 0 is left and 1 is right."""
        low, high, at = (math.log(v) if self.log_scale else v for v in (min(self.ticks), max(self.ticks), x))
        share = (at - low) / (high - low) if high > low else 0.5
        return 1 - share if self.is_reversed else share


def chart(title: str, axis: Axis, series: Sequence[Series]) -> str:
    """Return an <svg> element: bands under lines, dots with their values, a key at the right.

    A single point is a larger dot with its interval as a bar.

    A line's colour follows from its place in `series`; one without points is left out and keeps its colour free.
    """
    drawn = [(index, line) for index, line in enumerate(series) if line.points]
    low, high = _bounds(series)
    svg = ET.Element(
        "svg", {"class": "chart", "viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "role": "img", "aria-label": title}
    )
    text(svg, _LEFT, 22, title, "title")
    _grid(svg, axis, low, high)

    def place(x: float, y: float) -> tuple[float, float]:
        return _x(axis, x), _y(y, low, high)

    for index, line in drawn:
        _band(svg, line, index, place)
    for row, (index, line) in enumerate(drawn):
        _line(svg, line, index, place)
        _key(svg, line.name, index, row)
    return ET.tostring(svg, encoding="unicode")


def ticks_between(low: float, high: float, num: int = _NUM_TICKS) -> list[float]:
    """Return about `num` round numbers within [low, high], low < high."""
    step = (high - low) / num
    magnitude = 10 ** math.floor(math.log10(step))
    step = next(size * magnitude for size in (1, 2, 5, 10) if size * magnitude >= step * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _bounds(series: Sequence[Series]) -> tuple[float, float]:
    """Return what the y axis spans: every value and every interval, and a little more."""
    ends = [
        value
        for line in series
        for point in line.points
        for value in (point.y, point.low, point.high)
        if value is not None and math.isfinite(value)
    ]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    spare = (high - low) * 0.05 or max(abs(high), 1.0) * 0.05
    return low - spare, high + spare


def _grid(svg: ET.Element, axis: Axis, low: float, high: float) -> None:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    ticks = ticks_between(low, high)
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]))) if len(ticks) > 1 else 2
    for tick in ticks:
        y = _y(tick, low, high)
        kind = "zero" if abs(tick) < 1e-12 else "grid"
        ET.SubElement(svg, "line", {"class": kind, **ends(_LEFT, y, right, y)})
        text(svg, _LEFT - 6, y + 4, f"{tick:.{decimals}f}", anchor="end")
    labelled: list[float] = []
    for tick in axis.ticks:
        x = _x(axis, tick)
        ET.SubElement(svg, "line", {"class": "grid", **ends(x, _TOP, x, bottom)})
        if all(abs(x - other) >= _LABEL_PX for other in labelled):
            labelled.append(x)
            text(svg, x, bottom + 18, f"{tick:g}", anchor="middle")
    text(svg, (_LEFT + right) / 2, _HEIGHT - 8, axis.label, anchor="middle")


def _band(svg: ET.Element, line: Series, index: int, place: _Place) -> None:
    spans = [(p.x, p.low, p.high) for p in line.points if p.low is not None and p.high is not None]
    if len(line.points) == len(spans) == 1:
        x, low, high = spans[0]
        ET.SubElement(svg, "line", {**_stroke(index), **ends(*place(x, low), *place(x, high))})
    if len(spans) < 2:
        return
    outline = [place(x, high) for x, _, high in spans] + [place(x, low) for x, low, _ in reversed(spans)]
    ET.SubElement(svg, "polygon", {"class": f"band f{index % len(_LIGHT)}", "points": _points(outline)})


def _line(svg: ET.Element, line: Series, index: int, place: _Place) -> None:
    ET.SubElement(svg, "polyline", {**_stroke(index), "points": _points([place(p.x, p.y) for p in line.points])})
    for point in line.points if len(line.points) <= 30 else ():
        x, y = place(point.x, point.y)
        dot = ET.SubElement(
            svg,
            "circle",
            {
                "class": f"f{index % len(_LIGHT)}",
                "cx": f"{x:.1f}",
                "cy": f"{y:.1f}",
                "r": _RADIUS[len(line.points) == 1],
            },
        )
        between = "" if point.low is None else f" [{point.low:.4g}, {point.high:.4g}]"
        ET.SubElement(dot, "title").text = f"{line.name} at {point.x:g}: {point.y:.4g}{between}"


def _key(svg: ET.Element, name: str, index: int, row: int) -> None:
    y = _TOP + 8 + 18 * row
    ET.SubElement(svg, "line", {**_stroke(index), **ends(_WIDTH - _RIGHT + 12, y, _WIDTH - _RIGHT + 34, y)})
    text(svg, _WIDTH - _RIGHT + 40, y + 4, name)


def _stroke(index: int) -> dict[str, str]:
    dashes = _DASHES[index // len(_LIGHT) % len(_DASHES)]
    return {"class": f"line c{index % len(_LIGHT)}", "stroke-dasharray": dashes}


def _x(axis: Axis, x: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * axis.share(x)


def _y(y: float, low: float, high: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * (y - low) / (high - low)


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
