"""What the terminal shows: a bar while a job runs, a table when it has ended. Quiet where nobody looks."""

import time

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from tss_ray.pipeline.commit import Totals
from tss_ray.pipeline.job import JobResult, Watcher
from tss_ray.pipeline.monitor import Tally
from tss_ray.pipeline.teller import Pace
from tss_ray.storage.key_list import KeyList
from tss_ray.storage.layout import IMAGES, MANIFEST
from tss_ray.storage.progress import Progress as Told
from tss_ray.storage.uris import join_uri

_LINE_EVERY_S = 60.0
"""Where nobody watches a bar: between two lines of a log."""


class _Rate(ProgressColumn):
    """Images per second over the last minute."""

    def render(self, task: Task) -> Text:
        rate = task.fields["rate"]
        return Text(f"{rate:.2f} images/s" if rate else "starting", style="progress.data.speed")


class _Left(ProgressColumn):
    """The time that the rest takes at that rate."""

    def render(self, task: Task) -> Text:
        rate, left = task.fields["rate"], task.remaining
        if not rate or left is None:
            return Text("-:--:--", style="progress.remaining")
        minutes, seconds = divmod(round(left / rate), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02}:{seconds:02}", style="progress.remaining")


class JobDisplay:
    """A progress display on a terminal; a line now and then elsewhere. Of a run here, or of one told of elsewhere."""

    def __init__(self, console: Console) -> None:
        """Take the console that progress goes to (standard error, so that pipes stay clean)."""
        self._console, self._told_s, self._pace = console, time.monotonic(), Pace()
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            _Rate(),
            TextColumn("{task.fields[steps]} steps"),
            TextColumn("{task.fields[quarantined]} quarantined"),
            _Left(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("upscaling", total=None, steps="–", quarantined=0, rate=None)

    def __enter__(self) -> Watcher:
        self._progress.start()
        return Watcher(self._listed, self._update, self._stopping, self._waiting)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def bar(self) -> RenderableType:
        """The bar as it stands."""
        return self._progress.get_renderable()

    def follow(self, told: Told) -> None:
        """Show what a run elsewhere told of itself."""
        description = "upscaling" if told.state == "running" else told.state
        self._progress.update(self._task, total=told.num_todo, description=description)
        self._count(Tally(told.done, told.quarantined, told.steps), told.images_per_s)

    def _listed(self, key_list: KeyList) -> None:
        self._console.print(inputs_line(key_list.num_listed, key_list.num_todo), highlight=False)
        self._progress.update(self._task, total=key_list.num_todo)

    def _count(self, tally: Tally, rate: float | None) -> str:
        mean = f"{tally.steps / tally.done:.1f}" if tally.done else "–"
        self._progress.update(
            self._task, completed=tally.finished, steps=mean, quarantined=tally.quarantined, rate=rate
        )
        return mean

    def _update(self, tally: Tally) -> None:
        self._pace.see(tally.finished, time.monotonic())
        mean = self._count(tally, self._pace.images_per_s)
        if not self._console.is_terminal and time.monotonic() - self._told_s >= _LINE_EVERY_S:
            self._told_s = time.monotonic()
            told = f"{tally.done} done, {tally.quarantined} quarantined, {mean} steps on average"
            self._console.print(told, highlight=False)

    def _waiting(self, told: str) -> None:
        self._console.print(told, highlight=False, soft_wrap=True)

    def _stopping(self) -> None:
        self._progress.update(self._task, description="stopping")
        self._console.print("stopping: what has begun is finished and kept; once more ends at once")


def inputs_line(num_listed: int, num_todo: int) -> str:
    """Return what a run found to do."""
    before = num_listed - num_todo
    return f"{num_listed} inputs" + (f", {before} of them done before" if before else "")


def told_result(told: Told) -> JobResult | None:
    """Return the result of a run that has told of its end."""
    if told.result is None:
        return None
    return JobResult(**told.result | {"totals": Totals(**told.result["totals"])})


def closing_table(result: JobResult) -> Table:
    """Return what a run did, what it cost and where everything is."""
    totals = result.totals
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    saved = 1 - totals.run_px / totals.run_px_top_rung if totals.run_px_top_rung else 0.0
    rows = {
        "images": f"{totals.done} upscaled ({totals.resampled} of them resampled only)",
        "duplicates": f"{totals.duplicates} of them, written and not computed again" if totals.duplicates else "0",
        "quarantined": str(totals.quarantined),
        "tried again": f"{result.num_taken_back} that were quarantined before" if result.num_taken_back else "0",
        "done before": str(result.num_done_before),
        "megapixels": f"{totals.in_px / 1e6:.2f} in, {totals.out_px / 1e6:.2f} out",
        "mean steps": f"{totals.steps / totals.done:.2f}" if totals.done else "–",
        "NFE": f"{totals.nfe} of tiles ({saved:.0%} of their pixels saved against the top rung everywhere)",
        "time": f"{result.wall_s:.1f} s, of which the device computed {totals.device_seconds:.1f} s",
        "output": join_uri(result.output, IMAGES),
        "manifest": join_uri(result.output, MANIFEST),
    }
    for name, value in rows.items():
        if value != "0":
            table.add_row(name, value)
    return table
