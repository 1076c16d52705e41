"""How a run stands that goes on elsewhere: the display of a run here, made from what that one writes of itself."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live

from tss_ray.display import JobDisplay, closing_table, inputs_line, told_result
from tss_ray.errors import TssRayError
from tss_ray.spec import StoreSpec
from tss_ray.storage.progress import Progress, read_progress
from tss_ray.storage.stores import open_store

_LOOK_S = 2.0
_QUIET_S = 60.0
"""A run writes every ten seconds: one that has not for so long is held up, or gone."""


def show(console: Console, told: Progress) -> None:
    """Print a run as its own terminal shows it: the bar, or the closing table once it has ended."""
    result = told_result(told)
    if result is not None:
        console.print(closing_table(result))
        return
    console.print(inputs_line(told.num_listed, told.num_todo), highlight=False)
    display = JobDisplay(console)
    display.follow(told)
    console.print(display.bar)
    for line in remarks(told):
        console.print(line, highlight=False)


def remarks(told: Progress) -> list[str]:
    """Return what the bar does not say: money, and silence."""
    found = []
    if told.usd is not None:
        at_the_end = "" if told.predicted_usd is None else f", about {told.predicted_usd:.2f} at the end"
        found.append(f"{told.usd:.2f} USD so far{at_the_end}")
    if told.state in ("running", "stopping") and told.age_s > _QUIET_S:
        found.append(f"last heard of {told.age_s / 60:.0f} minutes ago: held up, or gone; start it again to go on")
    return found


def watch(console: Console, look: Callable[[], Progress | None], ended: Callable[[], bool]) -> None:
    """Show a bar that moves until the run has told of its end, or `ended` says so."""
    display = JobDisplay(console)
    with Live(display.bar, console=console, refresh_per_second=2, transient=True) as live:
        while (told := look()) is None or told.state in ("running", "stopping"):
            if told is not None:
                display.follow(told)
                live.update(display.bar)
            if ended():
                break
            time.sleep(_LOOK_S)
    if (told := look()) is not None:
        show(console, told)


def told_by(output: str, store: StoreSpec, since_s: float | None = None) -> Progress | None:
    """Return what the last run of an output told of itself; None if there is nothing, or only from before `since_s`.

    Raises StorageError where the output cannot be read from here.
    """
    told = read_progress(open_store(output, store))
    if told is None or since_s is None:
        return told
    began = datetime.fromisoformat(told.began_at)
    return told if began >= datetime.fromtimestamp(int(since_s), UTC) else None


def told_or_why(output: str, store: StoreSpec, since_s: float | None) -> tuple[Progress | None, str | None]:
    """As `told_by`, but with the reason where the output cannot be read from here."""
    try:
        return told_by(output, store, since_s), None
    except TssRayError as error:
        return None, f"how far it is cannot be read from here: {error}"
