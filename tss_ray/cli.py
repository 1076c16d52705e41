"""The command line: thin, and the only owner of the terminal."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from tss_ray.errors import SpecError, TssRayError
from tss_ray.spec import load_spec

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

_STRICT_EXIT, _INCOMPLETE_EXIT, _STOPPED_EXIT = 3, 1, 130
_PIPE_WIDTH = 4096
"""Nothing is folded where a program reads."""


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
    out = Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
    out.print(closing_table(result))
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
