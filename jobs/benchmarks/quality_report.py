"""What the quality benchmark says: tables and findings for the terminal, a Parquet file of every value."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq
from quality_headline import (
    PSNRY_MARGIN_DB,
    REALESRGAN,
    best_setting,
    better_settings,
    crisp_settings,
)
from quality_values import (
    BINS,
    TEXTURED_SCORE,
    Value,
    differences,
    half_width,
    headline_values,
    mean,
    numbers,
    texture_bin,
)
from rich.console import Console
from rich.table import Table

METRICS = {
    "psnry": "PSNR-Y dB ↑",
    "ssim": "SSIM-Y ↑",
    "fsim": "FSIM ↑",
    "gmsd": "GMSD ↓",
    "niqe": "NIQE ↓",
    "piqe": "PIQE ↓",
    "piqe_distance": "PIQE dist ↓",
    "edges": "edges",
    "grain": "grain",
    "lr_psnr": "LR dB ↑",
    "seconds": "s/crop",
}
_WITH_INTERVAL = frozenset({"psnry", "niqe"})


def print_report(values: Sequence[Value], console: Console) -> None:
    """Print a table for each set of photographs and kind of input, one by texture, and what follows from them."""
    for source, inputs in dict.fromkeys((value.source, value.inputs) for value in values):
        _print_table(f"{source}, {inputs}", [v for v in values if (v.source, v.inputs) == (source, inputs)], console)
    clean = headline_values(values, "clean")
    if clean:
        _print_bins(clean, console)
        _print_gains(clean, console)
        _print_findings(clean, console)


def write_parquet(values: Sequence[Value], path: Path) -> None:
    """Write every value as a row."""
    pq.write_table(pa.Table.from_pylist([asdict(value) for value in values]), path)


def _print_table(title: str, values: Sequence[Value], console: Console) -> None:
    crops = {value.crop for value in values}
    photos = {value.photo for value in values}
    table = Table(title=f"{title}: mean over crops ({len(crops)}, of {len(photos)} photographs), ± its 95% interval")
    shown = [name for name in METRICS if any(getattr(value, name) is not None for value in values)]
    _columns(table, ("method", *(METRICS[name] for name in shown)))
    for method in _methods(values):
        table.add_row(method, *(_cell(numbers(values, method, name), name in _WITH_INTERVAL) for name in shown))
    console.print(table)


def _print_bins(values: Sequence[Value], console: Console) -> None:
    binned = {name: [value for value in values if texture_bin(value.texture) == name] for name in BINS}
    shown = [name for name in ("niqe", "psnry") if any(getattr(value, name) is not None for value in values)]
    table = Table(title=f"{values[0].source}, clean, by texture of the input")
    sizes = {name: len({value.crop for value in part}) for name, part in binned.items()}
    _columns(table, ("method", *(f"{name} ({sizes[name]})\n{METRICS[metric]}" for metric in shown for name in BINS)))
    for method in _methods(values):
        cells = (_cell(numbers(binned[name], method, metric), False) for metric in shown for name in BINS)
        table.add_row(method, *cells)
    console.print(table)


def _print_gains(values: Sequence[Value], console: Console) -> None:
    """Print what each method gains over bicubic, crop by crop: a mean hides the crop that it spoils."""
    textured = [value for value in values if value.texture >= TEXTURED_SCORE]
    table = Table(title=f"{values[0].source}, clean: PSNR-Y less that of bicubic, dB")
    sizes = [len({value.crop for value in part}) for part in (textured, values)]
    _columns(table, ("method", f"textured ({sizes[0]})", f"all ({sizes[1]})", "median", "least"))
    for method in _methods(values):
        if method != "bicubic" and (gain := differences(values, method, "bicubic", "psnry")):
            cells = (_cell(differences(textured, method, "bicubic", "psnry")), _cell(gain))
            table.add_row(method, *cells, f"{median(gain):.3f}", f"{min(gain):.3f}")
    console.print(table)


def _print_findings(values: Sequence[Value], console: Console) -> None:
    """Print what no single cell says: what steps are worth by texture, and the settings that beat Real-ESRGAN."""
    for name in BINS:
        part = [value for value in values if texture_bin(value.texture) == name]
        drop = differences(part, "1 step", "15 tds", "niqe")
        console.print(f"NIQE of 1 step less that of 15 tds, {name} (crops: {len(drop)}): {_cell(drop)}")
    console.print(f"lowest NIQE of ours: {best_setting(values) or 'not measured'}")
    if numbers(values, REALESRGAN, "psnry"):
        console.print(
            f"NIQE at most Real-ESRGAN's and PSNR-Y at least {PSNRY_MARGIN_DB:g} dB above it:",
            ", ".join(better_settings(values)) or "no setting",
        )
        console.print("edges as steep as Real-ESRGAN's or steeper:", ", ".join(crisp_settings(values)) or "no setting")


def _methods(values: Iterable[Value]) -> list[str]:
    return list(dict.fromkeys(value.method for value in values))


def _columns(table: Table, headings: Iterable[str]) -> None:
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)


def _cell(found: Sequence[float], with_interval: bool = True) -> str:
    level, width = mean(found), half_width(found) if with_interval else None
    if level is None:
        return "–"
    return f"{level:.3f}" if width is None else f"{level:.3f} ±{width:.2f}"
