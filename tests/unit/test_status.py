"""Promises of `tss-ray status`: what a run elsewhere told is shown as a run here shows itself."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tss_ray import status
from tss_ray.cli import app, main
from tss_ray.display import JobDisplay, closing_table
from tss_ray.pipeline.commit import Totals
from tss_ray.pipeline.job import JobResult
from tss_ray.pipeline.monitor import Tally
from tss_ray.pipeline.submit import Jobs, JobView
from tss_ray.spec import StoreSpec
from tss_ray.storage.key_list import KeyList
from tss_ray.storage.progress import Progress, now_told, write_progress
from tss_ray.storage.stores import open_store

RESULT = JobResult(Totals(done=98, quarantined=2, steps=300, nfe=900), 120, 20, False, 50.0, "/out")


def running() -> Progress:
    """Return what a run told just now: made when tests are collected, it would be silence by the time it is used."""
    return Progress("abc", "running", now_told(), now_told(), 120, 100, 40, 2, 120, 9.0, 2.0)


def ended() -> Progress:
    """Return what it told last."""
    return dataclasses.replace(running(), state="ended", done=98, result=dataclasses.asdict(RESULT))


def printed(*things: object) -> str:
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        for thing in things:
            console.print(thing, highlight=False)
    return captured.get()


def shown(told: Progress) -> str:
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        status.show(console, told)
    return captured.get()


@pytest.fixture
def output(tmp_path: Path) -> str:
    return f"{tmp_path}/out"


def write(output: str, told: Progress) -> None:
    write_progress(open_store(output, StoreSpec()), told)


def test_a_run_elsewhere_looks_as_one_here() -> None:
    here = JobDisplay(Console(width=120, force_terminal=False))
    here._listed(KeyList((), 120, 100))
    here._update(Tally(40, 2, 120))
    here._count(Tally(40, 2, 120), 2.0)
    assert shown(running()) == "120 inputs, 20 of them done before\n" + printed(here.bar)
    assert "42/100 2.00 images/s 3.0 steps 2 quarantined 0:00:29" in shown(running())


def test_an_ended_run_shows_its_own_closing_table() -> None:
    assert shown(ended()) == printed(closing_table(RESULT))


def test_money_is_told_where_it_is_known_and_silence_always() -> None:
    silent = (datetime.now(UTC) - timedelta(minutes=7)).isoformat()
    text = shown(dataclasses.replace(running(), told_at=silent, usd=1.5, predicted_usd=3.25))
    assert "1.50 USD so far, about 3.25 at the end" in text
    assert "last heard of 7 minutes ago: held up, or gone; start it again to go on" in text
    assert "USD" not in shown(running())
    assert "last heard" not in shown(running())


def test_the_status_of_an_output(output: str) -> None:
    write(output, running())
    done = CliRunner().invoke(app, ["status", output], catch_exceptions=False)
    assert done.exit_code == 0
    assert "42/100" in done.stdout


def test_an_output_without_a_run_is_an_error_with_a_remedy(
    output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tss-ray", "status", output])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "correct the name, or start one" in capsys.readouterr().err


def test_watching_ends_with_the_run(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(output, running())
    monkeypatch.setattr(status.time, "sleep", lambda _: write(output, ended()))
    done = CliRunner().invoke(app, ["status", output, "--watch"], catch_exceptions=False)
    assert "98 upscaled" in done.stdout


@pytest.fixture
def view(output: str, monkeypatch: pytest.MonkeyPatch) -> JobView:
    """A job that runs, as the cluster tells of it."""
    began = datetime.fromisoformat(running().began_at).timestamp()
    one = JobView("raysubmit_1", "RUNNING", None, "", began, None, output, StoreSpec())
    monkeypatch.setattr(Jobs, "__init__", lambda self, address: None)
    monkeypatch.setattr(Jobs, "view", lambda self, job_id: one)
    monkeypatch.setattr(Jobs, "logs", lambda self, job_id: "one line\nthe last line\n")
    return one


def test_a_submitted_job_shows_the_display_of_its_run(view: JobView, output: str) -> None:
    write(output, running())
    done = CliRunner().invoke(app, ["status", view.job_id], catch_exceptions=False, env={"COLUMNS": "120"})
    assert done.stdout.startswith("job       raysubmit_1\nstatus    running\nstarted   ")
    assert done.stdout.endswith("\n" + shown(running()))


def test_what_an_earlier_run_left_is_not_taken_for_this_one(view: JobView, output: str) -> None:
    before = (datetime.fromisoformat(running().began_at) - timedelta(minutes=5)).isoformat()
    write(output, dataclasses.replace(running(), began_at=before))
    done = CliRunner().invoke(app, ["status", view.job_id], catch_exceptions=False)
    assert "42/100" not in done.stdout


def test_of_an_output_that_cannot_be_read_the_last_line_of_the_log_is_shown(
    view: JobView, output: str, tmp_path: Path
) -> None:
    Path(output).write_text("a file, and no folder")
    done = CliRunner().invoke(app, ["status", view.job_id], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.endswith("\nthe last line\n")
