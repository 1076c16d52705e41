"""`tss-ray plan`: measure a dataset, choose steps for a goal, and say what it will cost before anything is started."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tss_ray.errors import SpecError
from tss_ray.spec import JobSpec, load_spec, parse_settings

_PIPE_WIDTH = 4096
_DURATION = re.compile(r"([0-9]*\.?[0-9]+)\s*([smhd])")
_HOURS = {"s": 1 / 3600, "m": 1 / 60, "h": 1.0, "d": 24.0}
_NOWHERE = "nowhere"
"""A plan writes no images; a spec must have an output."""


def plan(
    source: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="folder, file, glob, list, s3://, sample://photos")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder for calibration.parquet, plan.json and plan.html")] = Path("plan"),
    spec: Annotated[Path | None, typer.Option(help="YAML file with any of the settings of upscale")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="any setting, like plan.n=3; repeatable")] = None,
    model: Annotated[str | None, typer.Option(help="embedded name or model folder")] = None,
    s3_endpoint_url: Annotated[str | None, typer.Option(help="an S3-compatible server")] = None,
    scan: Annotated[int, typer.Option(help="images that are looked at")] = 2000,
    sample: Annotated[int, typer.Option(help="of these, images that run every rung of the ladder on a crop")] = 200,
    bins: Annotated[int, typer.Option(help="groups of alike texture, at most")] = 6,
    score: Annotated[
        str | None, typer.Option(help="detail; with --reference also psnry, ssim (the default then)")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="folder or prefix of the originals, under the same keys")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="a calibration.parquet, instead of measuring again")] = None,
    max_cost_usd: Annotated[float | None, typer.Option(help="goal: the whole bill")] = None,
    max_device_hours: Annotated[float | None, typer.Option(help="goal: rented hours of one device")] = None,
    deadline: Annotated[str | None, typer.Option(help="goal: time on --devices, like 90m, 6h or 2d")] = None,
    max_mean_steps: Annotated[float | None, typer.Option(help="goal: steps of a tile in the mean")] = None,
    min_quality: Annotated[float | None, typer.Option(help="goal: mean score of a tile, at the least cost")] = None,
    min_steps: Annotated[int, typer.Option(help="nobody gets fewer steps")] = 0,
    holdout: Annotated[float, typer.Option(help="share of images that run the top rung, to measure savings")] = 0.01,
    devices: Annotated[int, typer.Option(help="how many devices run")] = 1,
    busy_share: Annotated[float, typer.Option(help="of rented time, what the denoiser computes")] = 1.0,
    device_usd_per_hour: Annotated[float | None, typer.Option(help="price of one device")] = None,
    prices: Annotated[Path | None, typer.Option(help="YAML file of named prices")] = None,
    device: Annotated[str | None, typer.Option(help="the name in --prices to reckon with")] = None,
) -> None:
    """Predict cost, time and quality of upscaling INPUT, and choose the steps that a goal allows."""
    from tss_ray.budget.planning import Terms, make_goal  # here: --help needs neither numpy nor torch
    from tss_ray.budget.prices import device_usd_per_hour as price_of
    from tss_ray.budget.prices import read_prices

    goal = make_goal(
        max_cost_usd=max_cost_usd,
        max_device_hours=max_device_hours,
        deadline_hours=None if deadline is None else hours(deadline),
        max_mean_steps=max_mean_steps,
        min_quality=min_quality,
    )
    known = read_prices(prices)
    terms = Terms(price_of(device_usd_per_hour, known, device), 0.0, devices, busy_share)
    job = _spec(source, spec, settings, model, s3_endpoint_url, calibration)

    from tss_ray.pipeline.calibrate import SampleSizes
    from tss_ray.pipeline.plan_job import PlanRequest, make_plan

    asked = PlanRequest(
        goal=goal,
        terms=terms,
        prices=known,
        min_steps=min_steps,
        holdout_share=holdout,
        sizes=SampleSizes(scan, sample, bins),
        score_name=score or ("detail" if reference is None else "ssim"),
        reference=reference,
        calibration=calibration,
    )
    console = Console(stderr=True)
    with _Progress(console) as progress:
        made = make_plan(job, asked, out, progress.tell)

    from tss_ray.report.budget_page import plan_page
    from tss_ray.report.budget_table import plan_tables

    made.write_page(plan_page(made.record, made.examples))
    to = Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
    to.print(plan_tables(made.record), highlight=False)
    console.print(f"wrote {out / 'plan.json'} and {out / 'plan.html'}", highlight=False, soft_wrap=True)


def hours(text: str) -> float:
    """Return the hours of a duration such as 90m, 6h or 2d. Raises SpecError for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"--deadline {text}: need a number and a unit of s, m, h or d, such as 6h; correct it")
    return float(match[1]) * _HOURS[match[2]]


def _spec(
    source: str | None,
    path: Path | None,
    settings: list[str] | None,
    model: str | None,
    s3_endpoint_url: str | None,
    calibration: Path | None,
) -> JobSpec:
    if source is None and path is None and calibration is not None:
        source = _NOWHERE
    flags: dict[str, Any] = {"input": source, "model": model, "store.s3_endpoint_url": s3_endpoint_url}
    given = {key: value for key, value in flags.items() if value is not None} | parse_settings(settings or [])
    return load_spec(path, {"output": _NOWHERE} | given)


class _Progress:
    """A bar for each stage on a terminal, silence elsewhere."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "_Progress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage)
        self._progress.update(self._tasks[stage], completed=done, total=total)
