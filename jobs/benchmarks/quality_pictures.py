"""The pictures of the quality benchmark: pages of PNG grids, and one HTML page with what each picture scores."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from quality_values import Inputs, Value

_CELL_PX = 256
_ROWS_PER_PAGE = 6
_SHOWN_PX = 160
"""The page shows this much of a crop's middle: with all crops it stays at some 30 MB."""
_ZOOM = 2

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; background: Canvas; color: CanvasText; }
h2 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
.row { display: flex; gap: 8px; overflow-x: auto; }
figure { margin: 0; flex: none; }
img { display: block; image-rendering: pixelated; }
figcaption { font-variant-numeric: tabular-nums; padding: .2rem 0 .5rem; }
"""


@dataclass(frozen=True)
class Row:
    """One crop's pictures: its input (h,w,3) uint8 and each method's output (H,W,3) uint8, all of one place."""

    crop: tuple[str, str, int, int]
    inputs: Inputs
    lr: NDArray[np.uint8]
    outputs: dict[str, NDArray[np.uint8]]

    @property
    def title(self) -> str:
        """Say which crop it is."""
        source, photo, top, left = self.crop
        return f"{source}, {self.inputs}: {photo} at {top},{left}"


def write_page(rows: Sequence[Row], values: Iterable[Value], path: Path) -> None:
    """Write one file that needs no other: crops below each other, methods side by side, captions PSNR-Y and NIQE."""
    scores = {(value.crop, value.inputs, value.method): value for value in values}
    sections = []
    for row in rows:
        figures = [_figure(row.lr, "input", None, row)]
        figures += [
            _figure(pixels, method, scores.get((row.crop, row.inputs, method)), row)
            for method, pixels in row.outputs.items()
        ]
        sections.append(f'<h2>{html.escape(row.title)}</h2>\n<div class="row">{"".join(figures)}</div>')
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Crops side by side</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>Crops side by side</h1>\n<p>The middle of each crop, each pixel {_ZOOM} by {_ZOOM}; the input enlarged "
        "without smoothing. PSNR-Y in dB (higher is closer to the original), NIQE (lower is more natural) of the "
        "whole crop.</p>\n" + "\n".join(sections) + "\n</body></html>\n",
        encoding="utf-8",
    )


def write_grids(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write pages of pictures, a crop's middle per row and a method per column, pixel for pixel; return their paths."""
    paths = []
    for page, first in enumerate(range(0, len(rows), _ROWS_PER_PAGE)):
        part = rows[first : first + _ROWS_PER_PAGE]
        methods = list(part[0].outputs)
        sheet = Image.new("RGB", (len(methods) * _CELL_PX, len(part) * _CELL_PX))
        for y, row in enumerate(part):
            for x, method in enumerate(methods):
                sheet.paste(Image.fromarray(_middle(row.outputs[method], _CELL_PX)), (x * _CELL_PX, y * _CELL_PX))
                label = method if x else f"{method}; {row.title}"
                ImageDraw.Draw(sheet).text(
                    (x * _CELL_PX + 4, y * _CELL_PX + 2), label, fill="white", stroke_width=2, stroke_fill="black"
                )
        paths.append(folder / f"grid_{page}.png")
        sheet.save(paths[-1])
    return paths


def _figure(pixels: NDArray[np.uint8], method: str, value: Value | None, row: Row) -> str:
    """Show a picture of any size at the size of the outputs."""
    full = next(iter(row.outputs.values()))
    factor = full.shape[0] // pixels.shape[0]
    shown = _middle(pixels, _SHOWN_PX // factor)
    height, width = (side * factor * _ZOOM for side in shown.shape[:2])
    scores = [] if value is None else [(value.psnry, "dB"), (value.niqe, "NIQE")]
    caption = " · ".join([method, *(f"{score:.2f} {unit}" for score, unit in scores if score is not None)])
    return (
        f'<figure><img width="{width}" height="{height}" alt="{html.escape(f"{row.title}, {method}")}" '
        f'src="data:image/png;base64,{_png(shown)}"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


def _png(pixels: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def _middle(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    top, left = (max((side - side_px) // 2, 0) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side_px, left : left + side_px])
