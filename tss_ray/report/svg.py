"""The few strokes that every drawing here is made of."""

import xml.etree.ElementTree as ET


def ends(x1: float, y1: float, x2: float, y2: float) -> dict[str, str]:
    """Return the attributes of a line from one point to another."""
    return {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}


def text(svg: ET.Element, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> ET.Element:
    """Write words at a point, in a class of the page's style; return their element."""
    told = {"class": kind} if kind else {}
    element = ET.SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor} | told)
    element.text = words
    return element
