"""Drawings of a plan: two strips for the terminal, a chart as SVG. Pure text, no plotting library."""

import math
import xml.etree.ElementTree as ET
from collections import Counter

from rich.text import Text

from tss_ray.report.plan_steps import PlanSteps
from tss_ray.report.svg import text

_MIN_COLUMNS = 16


def draw_plan(steps: PlanSteps, width: int, ascii_only: bool = False) -> Text:
    """Return the plan above the uniform one as dots on lines from pure noise to clean, `width` characters wide.

    A digit, or # from ten on, stands for that many steps in one column. A label and 16 columns are the least width.
    """
    line, dot = ("-", "o") if ascii_only else ("─", "●")
    strips = {steps.family: (steps.timesteps, "bold cyan"), "uniform": (steps.uniform, "dim")}
    margin = max(map(len, strips)) + 2
    columns = max(width - margin, _MIN_COLUMNS)
    drawn = Text(no_wrap=True, overflow="crop")
    for name, (timesteps, style) in strips.items():
        drawn.append(name.rjust(margin - 2) + "  ").append(
            _strip(timesteps, steps.num_timesteps, columns, line, dot) + "\n", style
        )
    left, right = f"{steps.num_timesteps - 1} noise", "clean 0"
    return drawn.append(" " * margin + left + right.rjust(columns - len(left)))


def _strip(timesteps: tuple[int, ...], num_timesteps: int, columns: int, line: str, dot: str) -> str:
    top = max(num_timesteps - 1, 1)
    crowds = Counter(round((top - t) / top * (columns - 1)) for t in timesteps)
    marks = {0: line, 1: dot} | {num: str(num) for num in range(2, 10)}
    return "".join(marks.get(crowds[column], "#") for column in range(columns))


_WIDTH, _HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 24, 56, 64
_STYLE = """
.ground { fill: #ffffff } text { fill: #1f2328; font: 13px system-ui, sans-serif } .title { font-size: 15px }
.grid { stroke: #d0d7de } polyline.curve { fill: none; stroke-width: 1.5 }
.plan { stroke: #0a62b8; fill: #0a62b8 } .even { stroke: #6a737d; stroke-dasharray: 4 4 } .even-key { fill: #57606a }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #30363d }
.plan { stroke: #58a6ff; fill: #58a6ff } .even { stroke: #8b949e } .even-key { fill: #9ea7b3 }
}
"""


def plan_svg(steps: PlanSteps) -> str:
    """Return a self-contained SVG: timestep against step, a circle per step, the uniform plan dashed beside it.

    Colours follow the reader's light or dark scheme; title and description are there for screen readers.
    """
    svg = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img")
    svg.set("aria-labelledby", "title description")
    ET.SubElement(svg, "title", id="title").text = f"Timestep plan {steps.title}"
    ET.SubElement(svg, "desc", id="description").text = f"Timesteps in order: {', '.join(map(str, steps.timesteps))}."
    ET.SubElement(svg, "style").text = _STYLE
    ET.SubElement(svg, "rect", {"class": "ground", "width": "100%", "height": "100%"})
    text(svg, _LEFT, 32, steps.title, "title")
    _axes(svg, steps)
    _curve(svg, steps, steps.uniform, "even")
    _curve(svg, steps, steps.timesteps, "plan")
    radius = f"{min(4.5, max(1.0, 150 / len(steps.timesteps))):.1f}"
    for k, (x, y) in enumerate(_points(steps, steps.timesteps)):
        circle = ET.SubElement(svg, "circle", {"class": "plan", "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": radius})
        ET.SubElement(circle, "title").text = f"step {k + 1}: {steps.timesteps[k]} (uniform {steps.uniform[k]})"
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _axes(svg: ET.Element, steps: PlanSteps) -> None:
    """Add grid lines, ticks, the names of both axes and the key of the dashed line."""
    num_steps, top = len(steps.timesteps), steps.num_timesteps - 1
    for t in sorted({round(top * part / 4) for part in range(5)}):
        y = _y(t, top)
        line = {"class": "grid", "x1": str(_LEFT), "x2": str(_WIDTH - _RIGHT), "y1": f"{y:.1f}", "y2": f"{y:.1f}"}
        ET.SubElement(svg, "line", line)
        text(svg, _LEFT - 8, y + 4, str(t), anchor="end")
    for k in range(1, num_steps + 1, math.ceil(num_steps / 10)):
        text(svg, _x(k, num_steps), _HEIGHT - _BOTTOM + 22, str(k), anchor="middle")
    text(svg, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 16, "step", anchor="middle")
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    name = text(svg, 20, middle, "timestep: noise above, clean below", anchor="middle")
    name.set("transform", f"rotate(-90 20 {middle:.1f})")
    text(svg, _WIDTH - _RIGHT, 32, "dashed: uniform", "even-key", anchor="end")


def _curve(svg: ET.Element, steps: PlanSteps, timesteps: tuple[int, ...], kind: str) -> None:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _points(steps, timesteps))
    ET.SubElement(svg, "polyline", {"class": f"{kind} curve", "points": points})


def _points(steps: PlanSteps, timesteps: tuple[int, ...]) -> list[tuple[float, float]]:
    num_steps, top = len(timesteps), steps.num_timesteps - 1
    return [(_x(k, num_steps), _y(t, top)) for k, t in enumerate(timesteps, start=1)]


def _x(k: int, num_steps: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (k - 1) / max(num_steps - 1, 1)


def _y(t: int, top: int) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * t / max(top, 1)
