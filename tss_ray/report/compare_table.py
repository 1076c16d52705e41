"""A comparison of two runs in the terminal."""

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from tss_ray.report.compare import Change, Comparison
from tss_ray.report.words import NONE, count

_FIGURES = 5


def compare_table(comparison: Comparison) -> Group:
    """Return the changes with their intervals, then what became of the images, then how the runs were made."""
    changes = _plain("", "images", "A", "B", "B − A", "95%")
    changes.add_column("")
    for change in comparison.changes:
        changes.add_row(
            escape(change.column),
            count(change.images),
            _number(change.mean_a),
            _number(change.mean_b),
            _signed(change.difference),
            _between(change),
            change.verdict,
        )
    statuses = _plain("in A", "in B", "images")
    for one, other, images in comparison.statuses:
        statuses.add_row(one or "no row", other or "no row", count(images))
    parts: list[Table | str] = [
        f"A  {escape(comparison.run_a)}\nB  {escape(comparison.run_b)}\n",
        changes,
        "",
        statuses,
    ]
    if comparison.origins:
        origins = _plain("made with", "A", "B")
        for name, sides in comparison.origins.items():
            origins.add_row(name, *(escape(", ".join("–" if v is None else str(v) for v in side)) for side in sides))
        parts += ["", origins]
    return Group(*parts)


def _plain(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for k, name in enumerate(names):
        table.add_column(name, justify="left" if k == 0 else "right")
    return table


def _number(value: float) -> str:
    return f"{value:,.{_FIGURES}g}"


def _signed(value: float) -> str:
    return f"{value:+,.{_FIGURES}g}"


def _between(change: Change) -> str:
    if change.low is None or change.high is None:
        return NONE
    return f"{_signed(change.low)} … {_signed(change.high)}"
