"""Promises of the drawings of a plan."""

import xml.etree.ElementTree as ET
from typing import get_args

import pytest

from tss_ray.diffusion.timesteps import PlanFamily
from tss_ray.report.plan_plot import draw_plan, plan_svg
from tss_ray.report.plan_steps import beside_uniform

SVG = "{http://www.w3.org/2000/svg}"

TDS_7 = """\
    tds  ●─●─────●─────────●─────────────●─────────●─────●──
uniform  ●──────●──────●──────●───────●──────●──────●───────
         999 noise                                   clean 0"""


def test_the_plan_is_drawn_above_the_uniform_one() -> None:
    drawn = draw_plan(beside_uniform(1000, 7, "tds", 0.5, 2.0), width=60)
    assert drawn.plain == TDS_7


@pytest.mark.parametrize("width", [20, 60, 100])
def test_every_line_has_the_width_or_the_least_that_can_be_read(width: int) -> None:
    lines = draw_plan(beside_uniform(1000, 7, "tds", 0.5, 2.0), width).plain.splitlines()
    assert {len(line) for line in lines} == {max(width, len("uniform") + 2 + 16)}


@pytest.mark.parametrize("num_steps", [1, 7, 40, 1000])
def test_steps_that_share_a_column_are_counted(num_steps: int) -> None:
    top, *_ = draw_plan(beside_uniform(1000, num_steps, "tds", 0.5, 2.0), width=60).plain.splitlines()
    marks = top.split()[1].replace("─", "").replace("●", "1")
    assert sum(int(mark) for mark in marks if mark != "#") + 10 * marks.count("#") <= num_steps
    if "#" not in marks:
        assert sum(map(int, marks)) == num_steps


def test_the_uniform_plan_is_drawn_once() -> None:
    assert draw_plan(beside_uniform(1000, 7, "uniform", 0.5, 2.0), width=60).plain.count("uniform") == 1


def test_the_drawing_can_do_without_unicode() -> None:
    assert draw_plan(beside_uniform(1000, 7, "late_only", 0.5, 2.0), width=60, ascii_only=True).plain.isascii()


@pytest.mark.parametrize("family", get_args(PlanFamily))
@pytest.mark.parametrize(("num_timesteps", "num_steps"), [(1000, 1), (1000, 7), (1000, 300), (2, 2)])
def test_the_svg_is_xml_with_a_point_for_every_step(family: PlanFamily, num_timesteps: int, num_steps: int) -> None:
    steps = beside_uniform(num_timesteps, num_steps, family, 0.5, 3.0)
    svg = ET.fromstring(plan_svg(steps))
    circles = svg.findall(f"{SVG}circle")
    assert len(circles) == num_steps
    assert [circle.findtext(f"{SVG}title") for circle in circles] == [
        f"step {k}: {t} (uniform {even})"
        for k, (t, even) in enumerate(zip(steps.timesteps, steps.uniform, strict=True), start=1)
    ]
    heights = [float(circle.attrib["cy"]) for circle in circles]
    assert heights == sorted(heights)  # SVG counts downwards: noise above, clean below
    assert all(56 <= y <= 376 for y in heights)


def test_the_svg_stands_alone_and_can_be_read_by_everybody() -> None:
    text = plan_svg(beside_uniform(1000, 7, "tds", 0.5, 2.0))
    svg = ET.fromstring(text)
    assert svg.attrib["role"] == "img"
    assert svg.findtext(f"{SVG}title") == "Timestep plan tds (a = 0.5, n = 2): 7 of 1000 timesteps"
    assert "999, 958, 836, 632, 366, 162, 40" in (svg.findtext(f"{SVG}desc") or "")
    labels = {element.text for element in svg.findall(f"{SVG}text")}
    assert {"step", "timestep: noise above, clean below", "dashed: uniform", "1", "7", "0", "999"} <= labels
    assert "prefers-color-scheme: dark" in text
    assert text.count("http") == 1  # the namespace; nothing is loaded from anywhere
