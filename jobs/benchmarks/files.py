"""What care for files costs: finishing an image, from denoised tiles to the bytes of its file, by kind of file.

    python jobs/benchmarks/files.py [--side 256] [--rounds 7]
    python jobs/benchmarks/files.py --memory-side 1800

The protocol
- An input of --side px, a photograph of the sample tiled to size, and random tiles in place of a denoiser's; 4 times
  larger, PNG, one thread.
- `bare` composes 8 bits, measures LR consistency on them and encodes them, with nothing kept: the least that a job must
  do for plain RGB. `plain` is the job's own `finish` of the same image with the default settings; the others are
  `finish` without colour correction, with EXIF, XMP, resolution and profile to keep, with alpha, and at 16 bits.
- A round runs all of them next to each other, in alternating order; a figure is the median over the rounds of the ratio
  to `bare` within the round. Seconds are of the processor, so that what else runs on the machine counts little.
- With --memory-side an input of so many px (no tiles: the engine holds those) is finished in a process that has
  finished a small one before: the growth of its peak, per million px of the result, as PNG of 8 bits.

The table goes to stderr. The last line of stdout is one JSON object.
"""

import argparse
import io
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms
from rich.console import Console
from rich.table import Table

from tss_ray.engine.compose import compose
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.imaging.channels import to_model_rgb
from tss_ray.imaging.encode import encode
from tss_ray.imaging.metadata import Metadata
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.tiles import tile_grid
from tss_ray.pipeline.finish import finish
from tss_ray.pipeline.rows import PreparedImage
from tss_ray.quality.lr_consistency import lr_consistency_psnr
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec, TileSpec, load_spec
from tss_ray.storage.sample_photos import reduced_png

_SCALE = 4


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    torch.set_num_threads(1)
    if arguments.memory_side:
        print(json.dumps(_memory(arguments.memory_side)))
        return 0
    passes = _passes(arguments.side)
    ratios: dict[str, list[float]] = {name: [] for name in passes}
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(1 + arguments.rounds):
        names = list(passes) if number % 2 else list(reversed(passes))
        taken = {name: _seconds(passes[name]) for name in names}
        for name in names if number else ():  # the first round warms up
            seconds[name].append(taken[name])
            ratios[name].append(taken[name] / taken["bare"])
    table = Table(title=f"{arguments.side}² to {arguments.side * _SCALE}² px, {arguments.rounds} rounds")
    for heading in ("", "CPU s", "of bare"):
        table.add_column(heading, justify="right")
    for name in passes:
        table.add_row(name, f"{statistics.median(seconds[name]):.3f}", f"{statistics.median(ratios[name]):.2f}")
    Console(stderr=True).print(table)
    print(json.dumps({f"{name}_ratio": round(statistics.median(ratios[name]), 3) for name in passes}))
    return 0


def _passes(side: int) -> dict[str, Callable[[], object]]:
    spec = load_spec(None, {"input": "in", "output": "out"})
    uncorrected = load_spec(None, {"input": "in", "output": "out", "colour.correction": "none"})
    rgb = _photo(side)
    alpha = np.concatenate([rgb, rgb[..., :1]], 2)
    exif = Image.Exif()
    exif[271] = "Maker"
    rich = PreparedImage(
        _row(side),
        rgb,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        Metadata(exif.tobytes().removeprefix(b"Exif\0\0"), b"<x:xmpmeta/>", (300.0, 300.0)),
    )
    plain = PreparedImage(_row(side), rgb)
    denoised = _denoised(rgb)
    cases: dict[str, tuple[JobSpec, PreparedImage]] = {
        "plain": (spec, plain),
        "uncorrected": (uncorrected, plain),
        "metadata": (spec, rich),
        "alpha": (spec, PreparedImage(_row(side), alpha)),
        "16 bits": (spec, PreparedImage(_row(side), rgb.astype(np.uint16) * 257)),
    }
    passes: dict[str, Callable[[], object]] = {"bare": lambda: _bare(denoised)}
    for name, (settings, image) in cases.items():
        passes[name] = lambda settings=settings, image=image: finish(settings, image, denoised, _SCALE)  # type: ignore[misc]
    return passes


def _bare(denoised: DenoisedImage) -> bytes:
    sr = compose(denoised, _SCALE)
    lr_consistency_psnr(to_planes(sr), to_planes(denoised.request.lr), _SCALE)
    return encode(sr, "png", quality=95, lossless=True).data


def _memory(side: int) -> dict[str, float]:
    """Return the growth of this process's peak, in MB, and per million px of the result."""
    spec = load_spec(None, {"input": "in", "output": "out"})
    peaks = []
    for length in (64, side):
        rgb = _photo(length)
        image, request = PreparedImage(_row(length), rgb), ImageRequest("a", to_model_rgb(rgb), (), 0.0, 0)
        grid = tile_grid(length, length, TileSpec().tile_px, TileSpec().overlap_px)
        finish(spec, image, DenoisedImage(request, grid, [], 0.0, 0.0, 0.0), _SCALE)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    grown_mb = peaks[1] - peaks[0]
    megapixels = (side * _SCALE) ** 2 / 1e6
    return {"megapixels": megapixels, "grown_mb": round(grown_mb), "mb_per_megapixel": round(grown_mb / megapixels, 2)}


def _photo(side: int) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(reduced_png("coffee"))) as photo:
        pixels = np.array(photo.convert("RGB"))
    times = -(-side // min(pixels.shape[:2]))
    return np.ascontiguousarray(np.tile(pixels, (times, times, 1))[:side, :side])


def _denoised(lr: NDArray[np.uint8]) -> DenoisedImage:
    tiles = TileSpec()
    grid = tile_grid(*lr.shape[:2], tiles.tile_px, tiles.overlap_px)
    generator, px = torch.Generator().manual_seed(0), tiles.tile_px * _SCALE
    made = [torch.randn((3, px, px), generator=generator) * 0.02 for _ in range(grid.num_tiles)]
    return DenoisedImage(ImageRequest("a", lr, (9,), 0.0, 0), grid, made, 0.0, 0.0, 0.0)


def _row(side: int) -> ManifestRow:
    px = side * _SCALE
    return ManifestRow(
        image_key="a.png", input_uri="a", spec_hash="0", in_width=side, in_height=side, out_width=px, out_height=px
    )


def _seconds(run: Callable[[], object]) -> float:
    since = time.process_time()
    run()
    return time.process_time() - since


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What care for files costs.")
    parser.add_argument("--side", type=int, default=256, help="px of the input")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that are counted")
    parser.add_argument("--memory-side", type=int, help="measure memory instead, on an input of so many px a side")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
