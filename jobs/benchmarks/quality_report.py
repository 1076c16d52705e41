"""What the quality benchmark says: a table for the terminal, a Parquet file of every value, pages of pictures."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

METRICS = {"psnry": "PSNR-Y dB ↑", "ssim": "SSIM-Y ↑", "niqe": "NIQE ↓", "piqe": "PIQE ↓", "lr_psnr": "LR cons. dB ↑"}
_CELL_PX = 256
_ROWS_PER_PAGE = 6


@dataclass(frozen=True)
class Value:
    """One crop under one method; a metric that was not measured, or is not finite, is None."""

    source: str
    photo: str
    top: int
    left: int
    method: str
    num_steps: int
    psnry: float | None
    ssim: float | None
    niqe: float | None
    piqe: float | None
    lr_psnr: float | None
    seconds: float


def mean(values: Sequence[Value], method: str, metric: str) -> float | None:
    """Return the mean of a metric over the crops of a method, or None where it was not measured."""
    found = [v for value in values if value.method == method and (v := getattr(value, metric)) is not None]
    return math.fsum(found) / len(found) if found else None


def print_tables(values: Sequence[Value], console: Console) -> None:
    """Print one table for each set of photographs."""
    for source in dict.fromkeys(value.source for value in values):
        chosen = [value for value in values if value.source == source]
        crops = {(value.photo, value.top, value.left) for value in chosen}
        table = Table(title=f"{source}: mean over {len(crops)} crops of {len({c[0] for c in crops})} photographs")
        shown = [name for name in METRICS if any(getattr(value, name) is not None for value in chosen)]
        for heading in ("method", *(METRICS[name] for name in shown), "s/crop"):
            table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
        for method in dict.fromkeys(value.method for value in chosen):
            cells = [mean(chosen, method, name) for name in (*shown, "seconds")]
            table.add_row(method, *("–" if cell is None else f"{cell:.3f}" for cell in cells))
        console.print(table)


def write_parquet(values: Sequence[Value], path: Path) -> None:
    """Write every value as a row."""
    pq.write_table(pa.Table.from_pylist([asdict(value) for value in values]), path)


def write_grids(rows: Sequence[tuple[str, dict[str, NDArray[np.uint8]]]], folder: Path) -> list[Path]:
    """Write pages of pictures, a crop's middle per row and a method per column, pixel for pixel; return their paths."""
    paths = []
    for page, first in enumerate(range(0, len(rows), _ROWS_PER_PAGE)):
        part = rows[first : first + _ROWS_PER_PAGE]
        methods = list(part[0][1])
        sheet = Image.new("RGB", (len(methods) * _CELL_PX, len(part) * _CELL_PX))
        for y, (name, pictures) in enumerate(part):
            for x, method in enumerate(methods):
                sheet.paste(_middle(pictures[method]), (x * _CELL_PX, y * _CELL_PX))
                label = method if x else f"{name}: {method}"
                ImageDraw.Draw(sheet).text(
                    (x * _CELL_PX + 4, y * _CELL_PX + 2), label, fill="white", stroke_width=2, stroke_fill="black"
                )
        paths.append(folder / f"grid_{page}.png")
        sheet.save(paths[-1])
    return paths


def _middle(pixels: NDArray[np.uint8]) -> Image.Image:
    top, left = (max((side - _CELL_PX) // 2, 0) for side in pixels.shape[:2])
    return Image.fromarray(pixels[top : top + _CELL_PX, left : left + _CELL_PX])
