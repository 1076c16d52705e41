"""The command line: thin, and the only owner of the terminal."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from tss_ray.cli_cluster import add_commands
from tss_ray.errors import SpecError, StorageError, TssRayError
from tss_ray.spec import PlanSpec, load_plan, load_spec

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

_STRICT_EXIT, _INCOMPLETE_EXIT, _STOPPED_EXIT = 3, 1, 130
_PIPE_WIDTH = 4096
"""Nothing is folded where a program reads."""
_PLOT_WIDTH = 100
_PLAN = PlanSpec()


@app.callback()
def tss_ray() -> None:
    """Diffusion super-resolution of image datasets on Ray, with denoising steps spent where there is texture."""


@app.command()
def upscale(
    source: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="folder, file, glob, list, s3://, sample://photos")
    ] = None,
    output: Annotated[str | None, typer.Argument(metavar="OUTPUT", help="folder or s3://bucket/prefix")] = None,
    spec: Annotated[Path | None, typer.Option(help="YAML file with any of the settings")] = None,
    model: Annotated[str | None, typer.Option(help="embedded name or model folder")] = None,
    steps: Annotated[int | None, typer.Option(help="the same number of denoising steps for every image")] = None,
    image_format: Annotated[str | None, typer.Option("--format", help="png, webp or jpeg")] = None,
    actors: Annotated[int | None, typer.Option(help="super-resolution actors")] = None,
    gpus_per_actor: Annotated[float | None, typer.Option(help="0 for the CPU")] = None,
    s3_endpoint_url: Annotated[str | None, typer.Option(help="an S3-compatible server")] = None,
    s3_region: Annotated[str | None, typer.Option(help="where the buckets are")] = None,
    seed: Annotated[int | None, typer.Option(help="of the noise")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 3 if anything was quarantined")] = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="any setting, like plan.n=3; repeatable")] = None,
) -> None:
    """Upscale every image of INPUT by 4 into OUTPUT, and write one manifest row for each."""
    flags: dict[str, Any] = {
        "input": source,
        "output": output,
        "model": model,
        "budget.num_steps": steps,
        "budget.policy": None if steps is None else "fixed",
        "encode.format": image_format,
        "compute.actors": actors,
        "compute.gpus_per_actor": gpus_per_actor,
        "store.s3_endpoint_url": s3_endpoint_url,
        "store.s3_region": s3_region,
        "seed": seed,
        "strict": strict or None,
    }
    overrides = {key: value for key, value in flags.items() if value is not None} | _parse_settings(settings or [])
    job = load_spec(spec, overrides)

    from tss_ray.display import JobDisplay, closing_table  # here: --help and a wrong flag need neither Ray nor torch
    from tss_ray.pipeline.job import run_job

    with JobDisplay(Console(stderr=True)) as watcher:
        result = run_job(job, watcher)
    _stdout().print(closing_table(result))
    if result.stopped and not result.complete:
        Console(stderr=True).print("stopped before the end; run the same command again to go on")
        raise typer.Exit(_STOPPED_EXIT)
    if not result.complete:
        raise typer.Exit(_INCOMPLETE_EXIT)
    if result.totals.quarantined:
        told = f"{result.totals.quarantined} inputs were quarantined: see error_kind and error_message in the manifest"
        Console(stderr=True).print(told)
        if job.strict:
            raise typer.Exit(_STRICT_EXIT)


@app.command()
def train(
    photos: Annotated[Path, typer.Option(help="folder of photographs; fetched into it where missing")],
    out: Annotated[Path, typer.Option(help="folder of checkpoints and weights; a run there is gone on with")],
    recipe: Annotated[Path | None, typer.Option(help="YAML recipe; default: the built-in one")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    stop_at: Annotated[int | None, typer.Option(help="stop after this iteration")] = None,
) -> None:
    """Train the embedded model from photographs in Debian packages."""
    from tss_ray.training.job import run

    run(photos, out, recipe, device, stop_at)


@app.command("plan-steps")
def plan_steps(
    steps: Annotated[int, typer.Option(help="how many denoising steps")],
    family: Annotated[
        str, typer.Option(help="uniform, tds (or polynomial), trigonometric, exponential, late_only, early_only")
    ] = _PLAN.family,
    a: Annotated[float, typer.Option(help="where the halves meet, in (0,1)")] = _PLAN.a,
    n: Annotated[float, typer.Option(help="how uneven, 1 (uniform) to 8")] = _PLAN.n,
    timesteps: Annotated[int, typer.Option(help="the model's timesteps")] = 1000,
    schedule: Annotated[str, typer.Option(help="the model's noise schedule")] = "cosine",
    plot: Annotated[bool, typer.Option("--plot", help="draw the plan above the uniform one")] = False,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="write a chart as SVG")] = None,
) -> None:
    """Show which timesteps a plan visits, beside the uniform plan and with their noise."""
    plan = load_plan({"family": family, "a": a, "n": n})

    from tss_ray.report.plan_plot import draw_plan, plan_svg
    from tss_ray.report.plan_steps import beside_uniform, steps_table

    shown = beside_uniform(timesteps, steps, plan.family, plan.a, plan.n)
    out = _stdout()
    table = steps_table(shown, schedule)
    out.print(f"{shown.title}, {schedule} schedule", table, sep="\n", highlight=False)
    if plot:
        out.print()
        out.print(draw_plan(shown, min(out.width, _PLOT_WIDTH), out.options.ascii_only))
    if svg is not None:
        try:
            svg.write_text(plan_svg(shown), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {svg}: {error.strerror}; give another file to --svg") from error


def _stdout() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)


def _parse_settings(settings: list[str]) -> dict[str, Any]:
    """Turn `key=value` into overrides; values are YAML, so numbers, lists and null read as such."""
    overrides = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise SpecError(f"--set {setting}: need KEY=VALUE, like --set plan.n=3; correct it")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SpecError(f"--set {setting}: the value is not YAML: {error}; quote it") from error
    return overrides


add_commands(app, _parse_settings)


def main() -> None:
    """Run the command line; our own errors end as one message on standard error and an exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except Exception as error:
        cause = error if isinstance(error, TssRayError) else _wrapped(error)
        if cause is None:
            raise
        Console(stderr=True).print(f"[bold red]error:[/] {cause}", highlight=False, soft_wrap=True)
        sys.exit(cause.exit_code)


def _wrapped(error: BaseException) -> TssRayError | None:
    """Return our own error inside one that Ray wrapped, without importing Ray for it."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, TssRayError):
        seen = getattr(seen, "cause", None) or seen.__cause__
    return seen
