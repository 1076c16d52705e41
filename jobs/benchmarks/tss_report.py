"""What the study says in the terminal: metrics by method, TSS against uniform, and the claims."""

from collections.abc import Iterable, Sequence

from bootstrap import Interval
from quality_values import mean, numbers
from rich.console import Console
from rich.table import Table
from tss_claims import FEW, MANY
from tss_compare import HIGHER_IS_BETTER, Claim, Test, compare
from tss_curves import LABELS
from tss_measure import StudyValue


def measured_metrics(values: Sequence[StudyValue]) -> list[str]:
    """Return the metrics that were measured, those of the six first."""
    return [name for name in HIGHER_IS_BETTER if any(getattr(value, name) is not None for value in values)]


def main_rows(values: Sequence[StudyValue], tss: str) -> list[tuple[str, str, list[str]]]:
    """Return the table of TSS against uniform: (what, unit of the row, a cell for each measured metric)."""
    few, many = f"{FEW} {tss}", f"{MANY} uniform"
    pairs = [(few, many), (few, f"{FEW} uniform")]
    metrics = measured_metrics(values)
    levels = [
        (method, "mean", [_number(mean(numbers(values, method, metric))) for metric in metrics])
        for method in dict.fromkeys((f"{FEW} uniform", many, few))
    ]
    return levels + [
        (f"{first} − {second}", "paired", [as_text(compare(values, first, second, metric)) for metric in metrics])
        for first, second in pairs
    ]


def print_study(values: Sequence[StudyValue], found: Sequence[Claim], tss: str, console: Console) -> None:
    """Print the tables."""
    metrics = measured_metrics(values)
    crops, photos = len({value.crop for value in values}), len({value.photo for value in values})
    where = f"{values[0].source}, {values[0].inputs}: {crops} crops of {photos} photographs"
    _print(where, ("method", *(LABELS[m] for m in metrics)), _level_rows(values, metrics), console)
    _print(
        f"{where}; TSS is {tss}; 95% intervals over photographs",
        ("", *(LABELS[m] for m in metrics)),
        [[what, *cells] for what, _, cells in main_rows(values, tss)],
        console,
    )
    for claim in found:
        console.print(f"[bold]{claim.verdict}[/bold] ({claim.origin}): {claim.sentence}")
        for test in claim.tests:
            console.print(f"    {test_text(test)}", highlight=False)


def test_text(test: Test) -> str:
    """Say what a test found, in one line."""
    unit = f" {test.unit}" if test.unit else ""
    return f"{test.verdict}: {test.label}: {as_text(test.interval)}{unit}"


def as_text(found: Interval | None) -> str:
    """Return a mean with the ends of its interval."""
    return "–" if found is None else f"{found.mean:+.4g} [{found.low:+.4g}, {found.high:+.4g}]"


def _level_rows(values: Sequence[StudyValue], metrics: Sequence[str]) -> list[list[str]]:
    methods = dict.fromkeys(value.method for value in values)
    return [[method, *(_number(mean(numbers(values, method, metric))) for metric in metrics)] for method in methods]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}" if abs(value) < 1 else f"{value:.3f}"


def _print(title: str, headings: Iterable[str], rows: Iterable[Sequence[str]], console: Console) -> None:
    table = Table(title=title)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
