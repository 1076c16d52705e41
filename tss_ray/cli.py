"""The command line: thin, and the only owner of the terminal."""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from tss_ray import cli_models, cli_report
from tss_ray.cli_cluster import add_commands
from tss_ray.cli_plan import plan
from tss_ray.errors import SpecError, StorageError, TssRayError
from tss_ray.spec import PlanSpec, StoreSpec, load_group, load_spec, parse_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

_STRICT_EXIT, _INCOMPLETE_EXIT, _STOPPED_EXIT = 3, 1, 130
_PIPE_WIDTH = 4096
"""Nothing is folded where a program reads."""
_PLOT_WIDTH = 100
_PLAN = PlanSpec()


@app.callback()
def tss_ray() -> None:
    """Diffusion super-resolution of image datasets on Ray, with denoising steps spent where there is texture."""


app.command()(plan)


@app.command()
def upscale(
    source: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="folder, file, glob, list, s3://, sample://photos")
    ] = None,
    output: Annotated[str | None, typer.Argument(metavar="OUTPUT", help="folder or s3://bucket/prefix")] = None,
    spec: Annotated[Path | None, typer.Option(help="YAML file with any of the settings")] = None,
    model: Annotated[str | None, typer.Option(help="embedded name, folder, s3://, hf://")] = None,
    use: Annotated[str | None, typer.Option(help="commercial or research: refuse what the licence forbids")] = None,
    steps: Annotated[int | None, typer.Option(help="the same number of denoising steps for every image")] = None,
    budget: Annotated[Path | None, typer.Option(help="plan.json of tss-ray plan: steps as it chose them")] = None,
    no_controller: Annotated[bool, typer.Option("--no-controller", help="keep the plan's one multiplier")] = False,
    image_format: Annotated[str | None, typer.Option("--format", help="same, png, webp, jpeg, tiff or avif")] = None,
    input_layout: Annotated[str | None, typer.Option(help="files, or shards of them: webdataset, parquet")] = None,
    output_layout: Annotated[str | None, typer.Option(help="files, or shards: webdataset, parquet")] = None,
    actors: Annotated[int | None, typer.Option(help="super-resolution actors")] = None,
    gpus_per_actor: Annotated[float | None, typer.Option(help="0 for the CPU")] = None,
    s3_endpoint_url: Annotated[str | None, typer.Option(help="an S3-compatible server")] = None,
    s3_region: Annotated[str | None, typer.Option(help="where the buckets are")] = None,
    seed: Annotated[int | None, typer.Option(help="of the noise")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 3 if anything was quarantined")] = False,
    scale: Annotated[float | None, typer.Option(help="up to 4, like 2 or 1.5")] = None,
    max_side: Annotated[int | None, typer.Option(help="px: the longer side of a result at most")] = None,
    target_megapixels: Annotated[float | None, typer.Option(help="the area of a result at most")] = None,
    skip_larger_than: Annotated[int | None, typer.Option(help="px: inputs with a longer side are left alone")] = None,
    skip_sharper_than: Annotated[float | None, typer.Option(help="0 to 1: a lower blur_score is left alone")] = None,
    quality: Annotated[int | None, typer.Option(help="1 to 100: of jpeg, avif and lossy webp")] = None,
    metadata: Annotated[str | None, typer.Option(help="keep or strip EXIF, XMP and resolution")] = None,
    icc: Annotated[str | None, typer.Option(help="keep the colour profile, convert to srgb, or strip it")] = None,
    animation: Annotated[
        str | None, typer.Option(help="of several frames or pages take the first, or quarantine")
    ] = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="take the output from a run that holds it")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="delete the rows of OUTPUT and their images first")
    ] = False,
    retry_quarantined: Annotated[
        str | None, typer.Option(metavar="KINDS", help="try quarantined inputs again: all, or error kinds with commas")
    ] = None,
    metrics: Annotated[str | None, typer.Option(metavar="NAMES", help="of pyiqa, with commas, like niqe,piqe")] = None,
    metrics_share: Annotated[float | None, typer.Option(help="of the images that are measured, by key")] = None,
    reference: Annotated[str | None, typer.Option(metavar="PREFIX", help="originals under the inputs' keys")] = None,
    log_format: Annotated[str | None, typer.Option(help="text, or json: an object a line, on standard error")] = None,
    device_usd_per_hour: Annotated[float | None, typer.Option(help="so that cost is told while the job runs")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="any setting, like plan.n=3; repeatable")] = None,
) -> None:
    """Upscale every image of INPUT, by 4 as a rule, into OUTPUT, and write one manifest row for each."""
    flags: dict[str, Any] = {
        "input": source,
        "output": output,
        "model": model,
        "checkpoint.use": use,
        "budget.num_steps": steps,
        "budget.policy": None if steps is None else "fixed",
        "encode.format": image_format,
        "input_layout": input_layout,
        "output_layout": output_layout,
        "compute.actors": actors,
        "compute.gpus_per_actor": gpus_per_actor,
        "store.s3_endpoint_url": s3_endpoint_url,
        "store.s3_region": s3_region,
        "seed": seed,
        "strict": strict or None,
        "scale": scale,
        "size.max_side_px": max_side,
        "size.target_megapixels": target_megapixels,
        "size.skip_larger_than_px": skip_larger_than,
        "size.skip_sharper_than": skip_sharper_than,
        "encode.quality": quality,
        "encode.metadata": metadata,
        "encode.icc": icc,
        "decode.animation": animation,
        "metrics.names": metrics and [name.strip() for name in metrics.split(",")],
        "metrics.share": metrics_share,
        "metrics.reference": reference,
        "telemetry.log_format": log_format,
        "telemetry.device_usd_per_hour": device_usd_per_hour,
    }
    overrides = {key: value for key, value in flags.items() if value is not None} | parse_settings(settings or [])
    if budget is not None:
        from tss_ray.budget.files import target_overrides

        overrides = target_overrides(budget, not no_controller, overrides)
    job, kinds = load_spec(spec, overrides), _parse_kinds(retry_quarantined)

    from tss_ray.display import JobDisplay, closing_table  # here: --help and a wrong flag need neither Ray nor torch
    from tss_ray.pipeline.job import Start, run_job

    aside = Console(stderr=True, quiet=job.telemetry.log_format == "json")  # then nothing but objects goes there
    with JobDisplay(aside) as watcher:
        result = run_job(job, watcher, Start(take_over, overwrite, kinds))
    _stdout().print(closing_table(result))
    if result.stopped and not result.complete:
        aside.print("stopped before the end; run the same command again to go on")
        raise typer.Exit(_STOPPED_EXIT)
    if not result.complete:
        raise typer.Exit(_INCOMPLETE_EXIT)
    if result.totals.quarantined:
        told = f"{result.totals.quarantined} inputs were quarantined: see error_kind and error_message in the manifest"
        aside.print(told)
        if job.strict:
            raise typer.Exit(_STRICT_EXIT)


@app.command()
def verify(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="what upscale wrote")],
    source: Annotated[str | None, typer.Option("--input", help="default: what the run was told")] = None,
    no_inputs: Annotated[bool, typer.Option("--no-inputs", help="compare rows and objects only")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="read, hash and decode everything again")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    s3_endpoint_url: Annotated[str | None, typer.Option(help="an S3-compatible server")] = None,
    s3_region: Annotated[str | None, typer.Option(help="where the buckets are")] = None,
    s3_addressing: Annotated[str | None, typer.Option(help="auto, path or virtual")] = None,
) -> None:
    """Compare the rows of OUTPUT with its images and with the inputs; exit with 1 if anything is wrong."""
    flags = {"s3_endpoint_url": s3_endpoint_url, "s3_region": s3_region, "s3_addressing": s3_addressing}
    store = load_group(StoreSpec, {name: value for name, value in flags.items() if value is not None})

    from tss_ray.verify.check import verify as check
    from tss_ray.verify.show import shown

    report = check(output, store, source, inputs=not no_inputs, deep=deep)
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        _stdout().print(shown(report), highlight=False)
    if not report.ok:
        raise typer.Exit(_INCOMPLETE_EXIT)


@app.command()
def train(
    photos: Annotated[Path, typer.Option(help="folder of photographs; fetched into it where missing")],
    out: Annotated[Path, typer.Option(help="folder of checkpoints and weights; a run there is gone on with")],
    recipe: Annotated[Path | None, typer.Option(help="YAML recipe; default: the built-in one")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    stop_at: Annotated[int | None, typer.Option(help="stop after this iteration")] = None,
) -> None:
    """Train the embedded model from photographs in Debian packages and, where the recipe says so, at GitHub."""
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
    plan = load_group(PlanSpec, {"family": family, "a": a, "n": n})

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


app.command()(cli_report.report)
app.command()(cli_report.compare)
app.add_typer(cli_models.app, name="models")


def _parse_kinds(kinds: str | None) -> frozenset[str] | None:
    """Return the kinds that were asked for; empty: all."""
    if kinds is None:
        return None
    named = frozenset(kind.strip() for kind in kinds.split(",") if kind.strip())
    if not named:
        raise SpecError("--retry-quarantined names no kind; write all, or kinds like not_found,fetch_failed")
    return frozenset() if "all" in named else named


def _stdout() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)


add_commands(app, parse_settings)


def main() -> None:
    """Run the command line; our own errors end as one message on standard error and an exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except Exception as error:
        cause = error if isinstance(error, TssRayError) else _wrapped(error)
        if cause is None:
            raise
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(cause))}", highlight=False, soft_wrap=True)
        sys.exit(cause.exit_code)


def _wrapped(error: BaseException) -> TssRayError | None:
    """Return our own error inside one that Ray wrapped, without importing Ray for it."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, TssRayError):
        seen = getattr(seen, "cause", None) or seen.__cause__
    return seen
