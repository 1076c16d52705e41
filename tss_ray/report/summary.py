"""The report in the terminal: the headline and what needs attention; the page holds the rest."""

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from tss_ray.report.figures import Figures, TimeWhole
from tss_ray.report.run_page import headline
from tss_ray.report.words import between, count, duration, number, percent, shortened
from tss_ray.report.worth_page import saving_text

_FAULTS = 8


def summary(figures: Figures) -> Group:
    """Return the headline, where time went, steps, and the kinds of quarantine."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    for tile in headline(figures):
        table.add_row(tile.value, tile.label, tile.note)
    parts: list[Table | str] = [table]
    parts += [_whole(title, whole) for title, whole in _wholes(figures) if whole.seconds]
    if figures.gains:
        parts.append(_gains(figures))
    if figures.saving is not None:
        parts.append(saving_text(figures.saving))
    if figures.predictions:
        parts.append(_predictions(figures))
    parts.append(_steps(figures))
    if figures.faults:
        parts.append(_faults(figures))
    spaced = [piece for part in parts for piece in ("", part)]
    return Group(*spaced[1:])


def _wholes(figures: Figures) -> list[tuple[str, TimeWhole]]:
    return [("time of images", figures.image_time), ("time of devices", figures.device_time)]


def _whole(title: str, whole: TimeWhole) -> Table:
    table = _plain(title, "", "share")
    for part in whole.parts:
        table.add_row(part.name, duration(part.seconds), percent(part.seconds / (whole.seconds or 1.0)))
    return table


def _steps(figures: Figures) -> Table:
    table = _plain("steps", "images", "share")
    for entry in figures.steps:
        table.add_row(str(entry.num_steps), count(entry.images), percent(entry.images / max(figures.totals.done, 1)))
    return table


def _gains(figures: Figures) -> Table:
    table = _plain("metric", "images", "bicubic, p50", "output, p50", "gain [95%]")
    for gain in figures.gains:
        middle = (number(gain.before_p50, 3), number(gain.after_p50, 3))
        table.add_row(escape(gain.name), count(gain.images), *middle, escape(between(gain.gain, 3)))
    return table


def _predictions(figures: Figures) -> Table:
    table = _plain("the plan", "predicted", "actual", "off by")
    for each in figures.predictions:
        table.add_row(each.name, number(each.predicted, 3), number(each.actual, 3), percent(each.error))
    return table


def _faults(figures: Figures) -> Table:
    table = _plain("quarantined", "images")
    table.add_column("for example", style="dim")
    for fault in figures.faults[:_FAULTS]:
        example = fault.examples[0][0] if fault.examples else ""
        table.add_row(escape(fault.kind), count(fault.images), escape(shortened(example, 60)))
    return table


def _plain(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for k, name in enumerate(names):
        table.add_column(name, justify="left" if k == 0 else "right")
    return table
