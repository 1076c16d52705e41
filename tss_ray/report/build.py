"""One report from one output: ask, show, write."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group

from tss_ray.report import queries
from tss_ray.report.figures import Cost, Example, Figures, TimeWhole, Totals, as_json
from tss_ray.report.gallery import pairs
from tss_ray.report.manifest import open_manifest
from tss_ray.report.provenance import ask_provenance, input_store
from tss_ray.report.run_page import run_page
from tss_ray.report.summary import summary
from tss_ray.report.worth import ask_gains, ask_predictions, ask_saving, ask_texture_gains
from tss_ray.spec import StoreSpec
from tss_ray.storage.layout import REPORT
from tss_ray.storage.runs import Run, read_runs
from tss_ray.storage.stores import open_store
from tss_ray.storage.uris import absolute_uri

NUM_SHOWN = 20
"""Images of each gallery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What a caller may choose."""

    device_usd_per_hour: float | None = None
    """Price of one device for an hour, at least 0; None: the report speaks of device-seconds."""
    devices: int | None = None
    """Devices that the run held, at least 1; None: as the run noted, and if it did not, idle time is not known."""
    images: bool = True
    store: StoreSpec = field(default_factory=StoreSpec)


@dataclass(frozen=True, slots=True)
class Report:
    """A finished report; nothing is written yet."""

    figures: Figures
    html: str

    @property
    def summary(self) -> Group:
        """For the terminal."""
        return summary(self.figures)


def make_report(output: str, options: ReportOptions) -> Report:
    """Read the manifest below `output` and work the report out.

    Raises InputError where there is no manifest, StorageError for one that cannot be read, SpecError where duckdb is
    missing. Images that cannot be read any more are said in their place.
    """
    output = absolute_uri(output)
    figures = ask_figures(output, options)
    shown: tuple[Example, ...] = (*figures.worst, *figures.random) if options.images else ()
    inputs = input_store(figures.provenance["settings"], options.store)
    return Report(figures, run_page(figures, pairs(shown, inputs, options.store)))


def ask_figures(output: str, options: ReportOptions) -> Figures:
    """Return everything that the manifest says, by a few passes over all its rows."""
    store = open_store(output, options.store)
    runs = read_runs(store)
    devices = options.devices or _devices(runs)
    with open_manifest(output, options.store) as manifest:
        provenance = ask_provenance(manifest, output, options.store, runs)
        startup_s = queries.ask_startup_s(manifest, runs)
        totals = queries.ask_totals(manifest)
        worst, drawn = queries.ask_examples(manifest, NUM_SHOWN)
        image_time = queries.ask_image_time(manifest)
        return Figures(
            output=output,
            totals=totals,
            cost=(cost := queries.cost(totals, options.device_usd_per_hour, devices, startup_s)),
            image_time=image_time,
            device_time=queries.ask_device_time(manifest, totals, devices, startup_s),
            steps=queries.ask_steps(manifest),
            textures=queries.ask_textures(manifest),
            quality=queries.ask_quality(manifest),
            gains=ask_gains(manifest),
            texture_gains=ask_texture_gains(manifest, queries.NUM_TEXTURE_BINS),
            saving=ask_saving(manifest),
            predictions=ask_predictions(manifest, provenance["settings"]),
            consistency=queries.ask_consistency(manifest),
            folders=queries.ask_folders(manifest),
            faults=queries.ask_faults(manifest),
            worst=worst,
            random=drawn,
            provenance=provenance,
            not_known=_not_known(totals, cost, image_time, startup_s),
        )


def _devices(runs: Sequence[Run]) -> int | None:
    """Return the number of devices that all runs on the output held; None where they differ or none is known."""
    numbers = {run.devices for run in runs}
    return numbers.pop() if len(numbers) == 1 else None


def write_report(report: Report, folder: str, store: StoreSpec) -> tuple[str, str]:
    """Write report.html and report.json into a folder or prefix; return their URIs. Raises StorageError."""
    target = open_store(folder, store)
    target.write("report.html", report.html.encode(), "text/html; charset=utf-8")
    target.write("report.json", _as_bytes(report.figures), "application/json")
    return target.uri("report.html"), target.uri("report.json")


def write_json(value: object, uri: str, store: StoreSpec) -> None:
    """Write one object of figures as a file or object. Raises StorageError."""
    folder, _, name = absolute_uri(uri).rpartition("/")
    open_store(folder or "/", store).write(name, _as_bytes(value), "application/json")


def _as_bytes(value: object) -> bytes:
    return (json.dumps(as_json(value), indent=1, ensure_ascii=False) + "\n").encode()


def report_folder(output: str) -> str:
    """Return where a report lies unless told otherwise: beside what it speaks of."""
    return absolute_uri(output).removesuffix("/") + "/" + REPORT.removesuffix("/")


def _not_known(totals: Totals, cost: Cost, image_time: TimeWhole, startup_s: float | None) -> tuple[str, ...]:
    """Return what the rows cannot say, as sentences."""
    told = [
        "what lies after the last row, and work lost with workers that died, are in no row: the latter is told as idle",
    ]
    if startup_s is None:
        told.insert(0, "start-up (Ray, loading the model): run/runs.json, which a run writes, is not there")
    if cost.basis == "computed":
        told.insert(0, "how many devices were held: give --devices to see idle time and what was paid for it")
    if cost.device_usd_per_hour is None:
        told.insert(0, "the price of a device: give --device-usd-per-hour to see dollars")
    if cost.basis == "held" and cost.charged_s < totals.device_seconds:
        told.insert(0, f"idle time: {cost.devices} devices cannot have computed for so long; correct --devices")
    if not totals.run_px_top_rung and totals.done:
        told.append("NFE saved: the rows hold no top rung")
    if image_time.seconds is None:
        told.append("where time went: the rows hold no start and end")
    return tuple(told)
