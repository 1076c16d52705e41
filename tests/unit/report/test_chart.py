import re
import xml.etree.ElementTree as ET

import pytest

from tss_ray.report.chart import Axis, Point, Series, chart, ticks_between


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 7.9), (0.8811, 0.8932), (24.5, 27.1), (-0.004, 0.0001)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = ticks_between(low, high)
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert all(len(f"{tick:.4g}".lstrip("-0.")) <= 4 for tick in ticks)


def test_a_higher_value_stands_higher_and_more_steps_further_right() -> None:
    line = Series("tds", (Point(1, 5.0), Point(25, 9.0)))
    drawn = ET.fromstring(chart("NIQE", Axis("steps", (1, 7, 25), log_scale=True), [line]))
    (points,) = (element.get("points", "") for element in drawn if element.tag == "polyline")
    (x1, y1), (x2, y2) = (map(float, place.split(",")) for place in points.split())
    assert x2 > x1
    assert y2 < y1


def test_time_runs_from_noise_at_the_left_to_clean_at_the_right() -> None:
    axis = Axis("time", (0.0, 0.5, 1.0), is_reversed=True)
    assert (axis.share(1.0), axis.share(0.25), axis.share(0.0)) == (0, 0.75, 1)


def test_an_interval_is_a_band_around_its_line() -> None:
    line = Series("tds", (Point(1, 5.0, 4.0, 7.0), Point(2, 6.0, 5.0, 8.0)))
    drawn = ET.fromstring(chart("NIQE", Axis("steps", (1, 2)), [line]))
    (band,) = (element for element in drawn if element.tag == "polygon")
    ys = [float(place.split(",")[1]) for place in band.get("points", "").split()]
    (curve,) = (element for element in drawn if element.tag == "polyline")
    middle = [float(place.split(",")[1]) for place in curve.get("points", "").split()]
    assert ys[0] < middle[0] < ys[3]
    assert ys[1] < middle[1] < ys[2]


def test_a_single_point_is_a_larger_dot_with_its_interval_as_a_bar() -> None:
    series = [Series("frontier", (Point(1, 5.0), Point(2, 6.0))), Series("the plan", (Point(1.5, 5.5, 5.0, 6.0),))]
    drawn = ET.fromstring(chart("quality", Axis("cost", (1, 2)), series))
    *others, dot = (element for element in drawn if element.tag == "circle")
    assert float(dot.get("r", "")) > 1.5 * max(float(other.get("r", "")) for other in others)
    lines = (e for e in drawn if e.tag == "line" and e.get("class") == "line c1")
    (bar,) = (line for line in lines if line.get("x1") == line.get("x2"))
    assert bar.get("x1") == dot.get("cx")
    assert float(bar.get("y1", "")) > float(dot.get("cy", "")) > float(bar.get("y2", ""))


def test_names_are_escaped_and_lines_of_no_points_are_left_out() -> None:
    drawn = chart("a<b", Axis("steps", (1, 2)), [Series("gone", ()), Series("x<y", (Point(1, 1.0),))])
    assert 'class="line c1"' in drawn  # its colour is that of its place in the list, here and in any other chart
    assert 'class="line c0"' not in drawn
    assert "gone" not in drawn
    assert "a&lt;b" in drawn
    assert "x&lt;y" in drawn


def test_labels_of_near_ticks_do_not_lie_on_each_other() -> None:
    drawn = chart("NIQE", Axis("steps", (1, 14, 15, 25), log_scale=True), [Series("tds", (Point(1, 1.0),))])
    assert re.findall(r">(1|14|15|25)</text>", drawn) == ["1", "14", "25"]
