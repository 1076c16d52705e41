"""What the study says: metrics by method, TSS against uniform, and the claims with their evidence."""

from collections.abc import Sequence

from bootstrap import Interval
from quality_values import BINS, Value, mean, numbers, texture_bin
from rich.console import Console
from rich.table import Table
from tss_claims import FEW, MANY
from tss_compare import HIGHER_IS_BETTER, Claim, Evidence, compare
from tss_curves import LABELS

Rows = list[list[str]]
"""A table; the first row are the headings."""


def where(values: Sequence[Value]) -> str:
    """Say what values of one source were measured on."""
    crops, photos = len({value.crop for value in values}), len({value.photo for value in values})
    return f"{values[0].source}, {values[0].inputs}: {crops} crops of {photos} photographs"


def measured_metrics(values: Sequence[Value]) -> list[str]:
    """Return the metrics that were measured, those of the six first."""
    return [name for name in HIGHER_IS_BETTER if any(getattr(value, name) is not None for value in values)]


def main_rows(values: Sequence[Value], tss: str) -> Rows:
    """Return TSS beside uniform: means, and paired differences with their intervals."""
    few, even, many = f"{FEW} {tss}", f"{FEW} uniform", f"{MANY} uniform"
    metrics = measured_metrics(values)
    return [
        *_level_rows(values, (even, many, few), metrics),
        *(
            [f"{few} − {other}", *(as_text(compare(values, few, other, metric)) for metric in metrics)]
            for other in (many, even)
        ),
    ]


def mean_rows(values: Sequence[Value]) -> Rows:
    """Return the means of every method."""
    return _level_rows(values, _methods(values), measured_metrics(values))


def texture_rows(values: Sequence[Value]) -> Rows:
    """Return NIQE and PSNR-Y of every method by texture of the input."""
    binned = {name: [value for value in values if texture_bin(value.texture) == name] for name in BINS}
    shown = [metric for metric in ("niqe", "psnry") if metric in measured_metrics(values)]
    sizes = {name: len({value.crop for value in part}) for name, part in binned.items()}
    headings = ["method", *(f"{LABELS[metric]}, {name} ({sizes[name]})" for metric in shown for name in BINS)]
    return [headings] + [
        [method, *(_number(mean(numbers(binned[name], method, metric))) for metric in shown for name in BINS)]
        for method in _methods(values)
    ]


def print_study(values: Sequence[Value], found: Sequence[Claim], tss: str, console: Console) -> None:
    """Print what one source of photographs says."""
    _print(where(values), mean_rows(values), console)
    _print(f"{where(values)}; 95% intervals over photographs", main_rows(values, tss), console)
    for claim in found:
        console.print(f"[bold]{claim.verdict}[/bold] ({claim.origin}): {claim.sentence}", highlight=False)
        for test in claim.evidence:
            console.print(f"    {evidence_text(test)}", highlight=False, markup=False)


def evidence_text(test: Evidence) -> str:
    """Say what a test found, in one line."""
    unit = f" {test.unit}" if test.unit and test.interval else ""
    return f"{test.verdict}: {test.label}: {as_text(test.interval)}{unit}"


def as_text(found: Interval | None) -> str:
    """Return a mean with the ends of its interval."""
    return "–" if found is None else f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"


def _level_rows(values: Sequence[Value], methods: Sequence[str], metrics: Sequence[str]) -> Rows:
    return [["method", *(LABELS[metric] for metric in metrics)]] + [
        [method, *(_number(mean(numbers(values, method, metric))) for metric in metrics)] for method in methods
    ]


def _methods(values: Sequence[Value]) -> list[str]:
    return list(dict.fromkeys(value.method for value in values))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _print(title: str, rows: Rows, console: Console) -> None:
    table = Table(title=title)
    for index, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if index else "left")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
