"""Can tiles be seen? Gradients at the lines where tiles begin and end, by overlap and by blend window.

    python jobs/benchmarks/seams.py --photos photos [--steps 4] [--overlaps 0,4,8,16,24,32] [--windows sine,linear,box]

The protocol
- Five pictures, 3×3 tiles each whatever the overlap: a slope, a checkerboard, text, and two crops of photographs of
  --photos (of the sample without it, mirrored to size), reduced by 4 by the package's bicubic.
- Each is enlarged by the product's engine in tiles and in one tile of the whole picture, with the same noise.
- Seams are the lines before which a tile begins or another ends. `mean` is the gradient across the seams against that
  elsewhere, over the same ratio of the picture in one tile: what tiling adds, whatever lies under the seams; 1 is
  nothing. `worst` is the same of the one line that differs most. Of both axes, the one farther from 1. The unit is the
  mean gradient of the untiled picture, so that lines on which it has none do not divide by zero.
- `error` is the mean distance to the original within 4 px of a seam against that elsewhere, over the same ratio of the
  picture in one tile. A slope is reproduced to rounding; of it there is none.
- `border`: what lies outside a picture the network never sees. The middle of each picture is enlarged alone, and in its
  surroundings; the mean distance to the original within 8 px of the border against that farther inside, alone, over the
  same ratio in the surroundings. 1 is a border that nobody can see. `border_bicubic` is the same of no steps.
- Windows: `sine` is what the product blends by (sin² over the overlap), `linear` a ramp, `box` none: the mean of both.

The table goes to stderr. The last line of stdout is one JSON object: for each window and overlap what is farthest from
1 over the pictures, and the pixels run by the overlap, as a factor, on a large image.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from quality_model import run
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tss_ray.diffusion.timesteps import make_plan
from tss_ray.engine.compose import Composition
from tss_ray.engine.device import pick_device, pick_dtype
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.imaging import stitch
from tss_ray.imaging.planes import to_pixels, to_planes
from tss_ray.imaging.resample import downsample
from tss_ray.imaging.tiles import tile_grid
from tss_ray.models.registry import load_model
from tss_ray.spec import PlanSpec, TileSpec
from tss_ray.storage.sample_photos import reference

_TILES, _NEAR_PX = 3, 4
_AROUND_PX, _BORDER_PX = 16, 8
"""px of the input that surround a picture; px of the output that are its border."""
_PHOTOS = ("gcompris-qt-data__clickgame-51.webp", "gcompris-qt-data__clickgame-56.webp")
Pixels = NDArray[np.float64]


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    device = pick_device(not arguments.cpu)
    model = load_model(arguments.model, device, pick_dtype("auto", device))
    scale, tile_px, plan = model.card.scale, TileSpec().tile_px, PlanSpec()
    timesteps = make_plan(model.card.num_timesteps, arguments.steps, plan.family, plan.a, plan.n)
    table = Table(title=f"{arguments.steps} steps, tiles of {tile_px} px")
    for heading in ("overlap", "window", "picture", "mean", "worst", "error"):
        table.add_column(heading, justify="right")
    figures: dict[str, float] = {}
    for overlap_px in arguments.overlaps:
        side = _TILES * tile_px - (_TILES - 1) * overlap_px
        lines = edges(side, tile_px, overlap_px, scale)
        figures[f"cost_{overlap_px}"] = round((tile_px / (tile_px - overlap_px)) ** 2, 2)
        for name, original in pictures(arguments.photos, side * scale):
            lr = to_pixels(downsample(to_planes(original)[None], scale)[0])
            whole, tiled = (
                run([ImageRequest(name, lr, timesteps, eta=plan.eta, seed=0)], Engine(model, device, batch, px, over))[
                    0
                ]
                for batch, px, over in ((1, side, 0), (4, tile_px, overlap_px))
            )
            one = made(whole, scale)
            for window in arguments.windows if overlap_px else ("box",):
                with blended(window):
                    seen = made(tiled, scale)
                found = judged(seen, one, original, lines)
                table.add_row(str(overlap_px), window, name, *(f"{value:.3f}" for value in found))
                for key, value in zip(("mean", "worst", "error"), found, strict=True):
                    at = f"{window}_{overlap_px}_{key}"
                    figures[at] = max(figures.get(at, 1.0), value, key=lambda each: abs(each - 1))
    Console(stderr=True).print(table)
    engine = Engine(model, device, 1, tile_px + 2 * _AROUND_PX, 0, sides_px=(tile_px,))
    for key, plan_of in (("border_bicubic", ()), ("border", timesteps)):
        for name, original in pictures(arguments.photos, (tile_px + 2 * _AROUND_PX) * scale):
            found_at = border(name, original, scale, plan_of, engine)
            print(f"{key}, {name}: {found_at:.3f}", file=sys.stderr)
            figures[key] = max(figures.get(key, 1.0), found_at, key=lambda each: abs(each - 1))
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}))
    return 0


def pictures(photos: Path | None, side: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield (name, (side,side,3)) of every picture."""
    y, x = np.mgrid[:side, :side]
    yield (
        "slope",
        np.stack([40 + 150 * x / side, 60 + 100 * (x + y) / (2 * side), 200 - 120 * y / side], 2).astype("u1"),
    )
    squares = ((y + 10) // 22 + (x + 6) // 22) % 2
    yield "checkerboard", np.repeat((40 + 170 * squares)[..., None], 3, 2).astype("u1")
    page = Image.new("RGB", (side, side), "white")
    words = "\n".join("Sphinx of black quartz, judge my vow 0123456789. " * (side // 300) for _ in range(side // 25))
    ImageDraw.Draw(page).multiline_text((6, 6), words, "black", ImageFont.load_default(28), spacing=8)
    yield "text", np.array(page)
    for name in _PHOTOS if photos else ("chelsea", "coffee"):
        with Image.open(photos / name) if photos else reference(name) as image:
            pixels = np.array(image.convert("RGB"))
        missing = [max(0, side - length) for length in pixels.shape[:2]]
        pixels = np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")
        top, left = ((length - side) // 2 for length in pixels.shape[:2])
        yield name.rpartition("__")[2], np.ascontiguousarray(pixels[top : top + side, left : left + side])


def edges(side: int, tile_px: int, overlap_px: int, scale: int) -> list[int]:
    """Return before which columns (and rows) of the output a tile begins or another ends."""
    lefts = tile_grid(side, side, tile_px, overlap_px).lefts
    return sorted({scale * x for left in lefts for x in (left, left + tile_px) if 0 < x < side})


def made(image: DenoisedImage, scale: int) -> Pixels:
    """Return (h,w,3) of a range of 255, not rounded."""
    composition = Composition(image, scale)
    rows: Tensor = composition.rows(0, composition.height)
    pixels: Pixels = (rows.clamp(0, 1) * 255).permute(1, 2, 0).double().numpy()
    return pixels


def judged(tiled: Pixels, whole: Pixels, original: NDArray[np.uint8], lines: list[int]) -> tuple[float, float, float]:
    """Return mean, worst and error; see the protocol."""
    found = []
    for axis in (0, 1):
        ours, theirs = (np.abs(np.diff(each, axis=axis)).mean((1 - axis, 2)) for each in (tiled, whole))
        added = (ours - theirs) / theirs.mean()
        seams = np.array(lines) - 1
        elsewhere = np.delete(added, seams).mean()
        ratios = (1 + added[seams]) / (1 + elsewhere)
        found.append((ratios.mean(), ratios[np.abs(ratios - 1).argmax()]))
    mean, worst = (max(values, key=lambda each: abs(each - 1)) for values in zip(*found, strict=True))
    near = np.zeros(len(tiled), bool)
    for line in lines:
        near[line - _NEAR_PX : line + _NEAR_PX] = True
    at_seam = near[:, None] | near[None]
    ours, theirs = (np.abs(each - original).mean(2) for each in (tiled, whole))
    if theirs.mean() < 1:
        return float(mean), float(worst), 1.0
    error = (ours[at_seam].mean() / ours[~at_seam].mean()) / (theirs[at_seam].mean() / theirs[~at_seam].mean())
    return float(mean), float(worst), float(error)


def border(name: str, original: NDArray[np.uint8], scale: int, timesteps: tuple[int, ...], engine: Engine) -> float:
    """Return how much more of the error lies at the border of the middle of `original` when that is enlarged alone."""
    around = _AROUND_PX * scale
    lr = to_pixels(downsample(to_planes(original)[None], scale)[0])
    middle = np.ascontiguousarray(lr[_AROUND_PX:-_AROUND_PX, _AROUND_PX:-_AROUND_PX])
    surrounded, alone = (
        made(run([ImageRequest(name, each, timesteps, eta=0.0, seed=0)], engine)[0], scale) for each in (lr, middle)
    )
    wanted = original[around:-around, around:-around]
    return more_at_the_border(
        np.abs(alone - wanted).mean(2), np.abs(surrounded[around:-around, around:-around] - wanted).mean(2)
    )


def more_at_the_border(alone: NDArray[np.float64], surrounded: NDArray[np.float64]) -> float:
    """Return by what errors (H,W) of a picture alone, by those of the same pixels amid others, grow at its border.

    1 where the second are below one level of 255 on average: there is nothing to be larger than.
    """
    if surrounded.mean() < 1:
        return 1.0
    inside = np.zeros(alone.shape, bool)
    inside[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = True
    there, elsewhere = (alone[each].mean() / surrounded[each].mean() for each in (~inside, inside))
    return float(there / elsewhere)


@contextmanager
def blended(window: str) -> Iterator[None]:
    """Let tiles be blended by another window while the block runs."""
    product = stitch._profile

    def profile(tile_px: int, overlap_px: int, scale: int) -> Tensor:
        if window == "sine" or not overlap_px:
            return product(tile_px, overlap_px, scale)
        made, ramp_px = torch.ones(tile_px * scale, dtype=torch.float64), overlap_px * scale
        if window == "linear":
            ramp = (torch.arange(ramp_px, dtype=torch.float64) + 0.5) / ramp_px
            made[:ramp_px], made[-ramp_px:] = ramp, ramp.flip(0)
        return made

    stitch._shares.cache_clear()
    with mock.patch.object(stitch, "_profile", profile):
        yield
    stitch._shares.cache_clear()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Whether tiles can be seen, by overlap and window.")
    parser.add_argument("--photos", type=Path, help="folder of photographs, as `tss-ray train` fetches them")
    parser.add_argument("--steps", type=int, default=4, help="denoising steps")
    parser.add_argument("--overlaps", default="0,4,8,12,16,24,32", help="px of the input, by commas")
    parser.add_argument("--windows", default="sine,linear,box", help="by commas")
    parser.add_argument("--model", default="tss-x4-small", help="embedded name or model folder")
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    arguments = parser.parse_args()
    arguments.overlaps = [int(each) for each in arguments.overlaps.split(",")]
    arguments.windows = arguments.windows.split(",")
    return arguments


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
