"""The commands that read runs back: `report` and `compare`. Thin; registered by `cli`."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from tss_ray.spec import StoreSpec

_PIPE_WIDTH = 4096
"""Nothing is folded where a program reads."""

Endpoint = Annotated[str | None, typer.Option(help="an S3-compatible server")]
Region = Annotated[str | None, typer.Option(help="where the buckets are")]


def report(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="what `tss-ray upscale` wrote: a folder or s3://")],
    device_usd_per_hour: Annotated[
        float | None, typer.Option(min=0, help="price of one device; without it costs are device-seconds")
    ] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="how many the run held; default: as it noted")] = None,
    images: Annotated[bool, typer.Option("--images/--no-images", help="galleries of before and after")] = True,
    to: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="where report.html and report.json go; default: OUTPUT/report")
    ] = None,
    s3_endpoint_url: Endpoint = None,
    s3_region: Region = None,
) -> None:
    """Say what a run cost, saved and spoiled: a summary here, report.html and report.json beside the output."""
    from tss_ray.report.build import ReportOptions, make_report, report_folder, write_report

    store = StoreSpec(s3_endpoint_url=s3_endpoint_url, s3_region=s3_region)
    options = ReportOptions(device_usd_per_hour=device_usd_per_hour, devices=devices, images=images, store=store)
    made = make_report(output, options)
    written = write_report(made, to or report_folder(output), store)
    out = _stdout()
    out.print(made.summary, highlight=False)
    out.print()
    out.print(*written, sep="\n", markup=False, highlight=False, soft_wrap=True)


def compare(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="an output: a folder or s3://")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="another output, over the same input")],
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="write the comparison as JSON too")
    ] = None,
    s3_endpoint_url: Endpoint = None,
    s3_region: Region = None,
) -> None:
    """Compare two runs image by image: steps, NFE, device-seconds and every metric, B − A with 95% intervals."""
    from tss_ray.report.build import write_json
    from tss_ray.report.compare import compare_runs
    from tss_ray.report.compare_table import compare_table

    store = StoreSpec(s3_endpoint_url=s3_endpoint_url, s3_region=s3_region)
    comparison = compare_runs(run_a, run_b, store)
    if json_file is not None:
        write_json(comparison, json_file, store)
    _stdout().print(compare_table(comparison), highlight=False)


def _stdout() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
