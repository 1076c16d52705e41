"""What the terminal shows: a bar while a job runs, a table when it has ended. Quiet where nobody looks."""

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from tss_ray.pipeline.job import JobResult, Watcher
from tss_ray.pipeline.monitor import Tally
from tss_ray.storage.key_list import KeyList
from tss_ray.storage.layout import IMAGES, MANIFEST
from tss_ray.storage.uris import join_uri

_LINE_EVERY_S = 60.0
"""Where nobody watches a bar: between two lines of a log."""


class _Rate(ProgressColumn):
    """Images per second since the first one."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f} images/s" if task.speed else "starting", style="progress.data.speed")


class JobDisplay:
    """A progress display on a terminal; a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        """Take the console that progress goes to (standard error, so that pipes stay clean)."""
        self._console, self._told_s = console, time.monotonic()
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            _Rate(),
            TextColumn("{task.fields[steps]} steps"),
            TextColumn("{task.fields[quarantined]} quarantined"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("upscaling", total=None, steps="–", quarantined=0)

    def __enter__(self) -> Watcher:
        self._progress.start()
        return Watcher(self._listed, self._update, self._stopping, self._waiting)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _listed(self, key_list: KeyList) -> None:
        before = key_list.num_listed - key_list.num_todo
        told = f", {before} of them done before" if before else ""
        self._console.print(f"{key_list.num_listed} inputs{told}", highlight=False)
        self._progress.update(self._task, total=key_list.num_todo)

    def _update(self, tally: Tally) -> None:
        mean = f"{tally.steps / tally.done:.1f}" if tally.done else "–"
        self._progress.update(
            self._task, completed=tally.done + tally.quarantined, steps=mean, quarantined=tally.quarantined
        )
        if not self._console.is_terminal and time.monotonic() - self._told_s >= _LINE_EVERY_S:
            self._told_s = time.monotonic()
            told = f"{tally.done} done, {tally.quarantined} quarantined, {mean} steps on average"
            self._console.print(told, highlight=False)

    def _waiting(self, told: str) -> None:
        self._console.print(told, highlight=False, soft_wrap=True)

    def _stopping(self) -> None:
        self._progress.update(self._task, description="stopping")
        self._console.print("stopping: what has begun is finished and kept; once more ends at once")


def closing_table(result: JobResult) -> Table:
    """Return what a run did, what it cost and where everything is."""
    totals = result.totals
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    saved = 1 - totals.nfe / totals.nfe_top_rung if totals.nfe_top_rung else 0.0
    rows = {
        "images": f"{totals.done} upscaled ({totals.resampled} of them resampled only)",
        "duplicates": f"{totals.duplicates} of them, written and not computed again" if totals.duplicates else "0",
        "quarantined": str(totals.quarantined),
        "tried again": f"{result.num_taken_back} that were quarantined before" if result.num_taken_back else "0",
        "done before": str(result.num_done_before),
        "megapixels": f"{totals.in_px / 1e6:.2f} in, {totals.out_px / 1e6:.2f} out",
        "mean steps": f"{totals.steps / totals.done:.2f}" if totals.done else "–",
        "NFE": f"{totals.nfe} ({saved:.0%} saved against the top rung everywhere)",
        "time": f"{result.wall_s:.1f} s, of which the device computed {totals.device_seconds:.1f} s",
        "output": join_uri(result.output, IMAGES),
        "manifest": join_uri(result.output, MANIFEST),
    }
    for name, value in rows.items():
        if value != "0":
            table.add_row(name, value)
    return table
