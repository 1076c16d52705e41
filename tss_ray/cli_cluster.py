"""The commands about jobs on a cluster: submit, status, logs, stop."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tss_ray.errors import StorageError
from tss_ray.spec import StoreSpec, load_group, load_spec

if TYPE_CHECKING:
    from tss_ray.pipeline.submit import Jobs, JobView

_DETACHED_EXIT = 130

Address = Annotated[str | None, typer.Option(help="the dashboard, like http://head:8265; default: RAY_ADDRESS")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="as `submit` printed it")]


def add_commands(app: typer.Typer, parse_settings: Callable[[list[str]], dict[str, Any]]) -> None:
    """Add the commands to `app`; `parse_settings` reads what follows `--set`."""

    @app.command()
    def submit(
        spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="the job, like those in jobs/")],
        address: Address = None,
        settings: Annotated[list[str] | None, typer.Option("--set", help="any setting, like plan.n=3")] = None,
        no_wait: Annotated[
            bool, typer.Option("--no-wait", help="print the id and leave the job to the cluster")
        ] = False,
    ) -> None:
        """Run a job on a cluster: check it, send it, follow its log, and end with its exit code."""
        job = load_spec(spec, parse_settings(settings or []))

        from tss_ray.pipeline.submit import Jobs

        jobs = Jobs(address)
        job_id = jobs.submit(job)
        sys.stdout.write(f"{job_id}\n")
        sys.stdout.flush()
        if no_wait:
            return
        try:
            view = jobs.follow(job_id, _write)
        except KeyboardInterrupt:
            _note(f"the job goes on; `tss-ray logs {job_id} --follow` sees it, `tss-ray stop {job_id}` ends it")
            raise typer.Exit(_DETACHED_EXIT) from None
        _end_with(view)

    @app.command()
    def status(
        target: Annotated[
            str, typer.Argument(metavar="ID|OUTPUT", help="a job as `submit` printed it, or an output with a / in it")
        ],
        address: Address = None,
        watch: Annotated[bool, typer.Option("--watch", help="until it has ended")] = False,
        s3_endpoint_url: Annotated[str | None, typer.Option(help="of OUTPUT: an S3-compatible server")] = None,
        s3_region: Annotated[str | None, typer.Option(help="of OUTPUT: where the bucket is")] = None,
    ) -> None:
        """Say how a run stands, as its own terminal shows it; of a job, end with its exit code once it has one."""
        flags = {"s3_endpoint_url": s3_endpoint_url, "s3_region": s3_region}
        store = load_group(StoreSpec, {name: value for name, value in flags.items() if value is not None})
        if "/" in target:
            _show_output(target, store, watch)
            return

        from tss_ray.pipeline.submit import Jobs

        jobs = Jobs(address)
        view = jobs.view(target)
        sys.stdout.write("".join(f"{name:<10}{value}\n" for name, value in _told(view).items()))
        sys.stdout.flush()
        if view.output is not None:
            _show_job(jobs, view, watch)
        raise typer.Exit((jobs.view(target) if watch else view).mirrored_exit)

    @app.command()
    def logs(
        job_id: JobId,
        address: Address = None,
        follow: Annotated[bool, typer.Option("--follow", help="until the job has ended")] = False,
    ) -> None:
        """Print what a job has printed; with --follow end with its exit code."""
        from tss_ray.pipeline.submit import Jobs

        jobs = Jobs(address)
        if not follow:
            _write(jobs.logs(job_id))
            return
        _end_with(jobs.follow(job_id, _write))

    @app.command()
    def stop(
        job_id: JobId,
        address: Address = None,
        no_wait: Annotated[bool, typer.Option("--no-wait", help="ask, and do not wait for the end")] = False,
    ) -> None:
        """Let a job finish and commit what it has begun, and end it; submitting it again goes on from there."""
        from tss_ray.pipeline.submit import Jobs

        view = Jobs(address).stop(job_id, wait=not no_wait)
        _note(f"{job_id}: {view.status.lower()}" if view.ended else f"{job_id} was asked to stop")


def _show_output(output: str, store: StoreSpec, watch: bool) -> None:
    from rich.console import Console

    from tss_ray import status

    told = status.told_by(output, store)
    if told is None:
        raise StorageError(f"{output}: no run has told how far it is there; correct the name, or start one")
    if watch:
        status.watch(Console(), lambda: status.told_by(output, store), lambda: False)
    else:
        status.show(Console(), told)


def _show_job(jobs: "Jobs", view: "JobView", watch: bool) -> None:
    """Show how far a job is, where its output can be read from here; else the last line that it printed."""
    from rich.console import Console

    from tss_ray import status

    output, store = view.output or "", view.store or StoreSpec()
    told, why = status.told_or_why(output, store, view.started_s)
    if why is not None:
        _note(why)
        _write("\n".join(jobs.logs(view.job_id).strip().splitlines()[-1:]) + "\n")
    elif watch and not view.ended:
        look = lambda: status.told_by(output, store, view.started_s)  # noqa: E731
        status.watch(Console(), look, lambda: jobs.view(view.job_id).ended)
    elif told is not None:
        status.show(Console(), told)


def _end_with(view: "JobView") -> None:
    if view.mirrored_exit:
        _note(f"{view.job_id} {view.status.lower()}: {view.message}".rstrip(": "))
    raise typer.Exit(view.mirrored_exit)


def _told(view: "JobView") -> dict[str, object]:
    told: dict[str, object] = {"job": view.job_id, "status": view.status.lower()}
    for name, when in (("started", view.started_s), ("ended", view.ended_s)):
        if when is not None:
            told[name] = datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")
    if view.ended:
        told["exit code"] = view.mirrored_exit
    return told


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")
