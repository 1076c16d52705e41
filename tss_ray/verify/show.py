"""A report as people read it."""

from collections.abc import Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tss_ray.verify.findings import KINDS, MEANS, Report

_SHOWN = 5
"""Examples of a kind; --json tells more."""


def shown(report: Report) -> Group:
    """Return what was looked at, what is wrong with some names, and the verdict."""
    looked_at = Table(show_header=False, box=None, pad_edge=False)
    looked_at.add_column(style="dim", no_wrap=True)
    looked_at.add_column(overflow="fold")
    for name, value in _looked_at(report):
        looked_at.add_row(name, value)
    found = Table(box=None, pad_edge=False, show_header=False)
    found.add_column(justify="right", style="bold red")
    found.add_column(overflow="fold")
    for kind in (kind for kind in KINDS if report.counts[kind]):
        found.add_row(str(report.counts[kind]), Text(f"{kind}: {MEANS[kind]}"))
        for example in [e for e in report.examples if e.kind == kind][:_SHOWN]:
            found.add_row("", Text(f"  {example.key}" + (f": {example.detail}" if example.detail else ""), style="dim"))
    verdict = Text("all is well", "bold green") if report.ok else Text("something is wrong", "bold red")
    return Group(looked_at, *([found] if not report.ok else []), verdict)


def _looked_at(report: Report) -> Iterator[tuple[str, str]]:
    yield "output", report.output
    yield "settings", report.spec_hash
    if report.inputs is not None:
        yield "inputs", str(report.inputs)
    yield "rows", f"{report.rows} ({report.done} done, {report.quarantined} quarantined)"
    yield "objects", f"{report.objects}, {'read and decoded' if report.deep else 'listed; --deep reads them'}"
    if not report.complete:
        yield "run", "not at its end: there is no run/summary.json"
    yield "time", f"{report.seconds:.1f} s"
