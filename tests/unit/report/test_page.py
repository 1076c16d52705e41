"""Promises of pages and their charts: they stand alone, and what comes from a manifest is only ever text."""

import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from tss_ray.report.charts import Bar, Mark, bar_chart, density_chart, share_strip, ticks_up_to
from tss_ray.report.page import Tile, page, section, table, tiles

HOSTILE = '"><script>alert(1)</script>&amp;'


def test_a_page_forbids_itself_every_request() -> None:
    made = page("Title", "<p>body</p>")
    assert "default-src 'none'" in made
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", made)
    assert "url(" not in made
    assert "@import" not in made
    assert "prefers-color-scheme: dark" in made
    assert "@media print" in made


def test_text_is_never_markup() -> None:
    made = page(HOSTILE, section(HOSTILE, tiles([Tile(HOSTILE, HOSTILE, HOSTILE)]), HOSTILE))
    made += table([HOSTILE], [[HOSTILE]])
    made += bar_chart(HOSTILE, HOSTILE, [Bar(HOSTILE, 1)], [Mark(HOSTILE, 0.5)]) + share_strip(
        HOSTILE, [Bar(HOSTILE, 1)]
    )
    made += density_chart(HOSTILE, HOSTILE, HOSTILE, [HOSTILE], [HOSTILE], [[1.0]])
    assert "<script>" not in made
    assert "&lt;script&gt;" in made


def test_text_stands_left_and_numbers_right() -> None:
    made = table(["name", "n"], [["a", 1]])
    assert made.count('class="left"') == 2
    assert "<td>1</td>" in made


def heights(svg: str) -> list[float]:
    rects = [rect for rect in ET.fromstring(svg).iter("rect") if rect.get("class") == "bar"]
    return [float(rect.attrib["height"]) for rect in rects]


def test_bars_are_as_high_as_their_counts() -> None:
    low, none, high = heights(bar_chart("t", "x", [Bar("a", 5), Bar("b", 0), Bar("c", 10)]))
    assert (none, high) == (0, pytest.approx(2 * low))
    assert high == 260 - 46 - 34  # between the title and the axis


@pytest.mark.parametrize("bars", [[], [Bar("a", 0)], [Bar(f"{k}", k) for k in range(400)]])
def test_any_number_of_bars_is_a_chart_whose_labels_do_not_touch(bars: list[Bar]) -> None:
    svg = ET.fromstring(bar_chart("t", "x", bars, [Mark("m", 0.5)]))
    labels = [text for text in svg.iter("text") if text.get("y") == "231.0"]
    places = [float(label.attrib["x"]) for label in labels]
    assert all(b - a >= 7 * 3 for a, b in itertools.pairwise(places))


def test_the_parts_of_a_strip_fill_it_without_overlap() -> None:
    rects = [
        r
        for r in ET.fromstring(share_strip("t", [Bar("a", 1), Bar("b", 3)])).iter("rect")
        if r.get("height") == "30.00"
    ]
    widths = [float(rect.attrib["width"]) for rect in rects]
    assert widths[1] == pytest.approx(3 * widths[0], abs=0.05)
    assert float(rects[1].attrib["x"]) == pytest.approx(float(rects[0].attrib["x"]) + widths[0], abs=0.02)
    assert sum(widths) == pytest.approx(700 - 2 * 16, abs=0.05)


def test_a_cell_is_there_for_every_share_and_empty_ones_do_not_show() -> None:
    made = density_chart("t", "x", "steps", ["0.0", "0.5"], ["1", "2"], [[1.0, 0.0], [0.25, 0.75]])
    opacities = re.findall(r"opacity: ([\d.]+)", made)
    assert opacities == ["1.000", "0", "0.530", "0.874"]


@pytest.mark.parametrize(("top", "ticks"), [(1, [0, 1]), (7, [0, 2, 4, 6]), (950, [0, 500]), (1e7, None)])
def test_ticks_are_round_whole_numbers_within_the_chart(top: float, ticks: list[float] | None) -> None:
    found = ticks_up_to(top)
    assert found[0] == 0
    assert found[-1] <= top
    assert all(tick == round(tick) for tick in found)
    assert len(found) <= 6
    if ticks is not None:
        assert found == ticks
