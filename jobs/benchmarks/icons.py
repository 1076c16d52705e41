"""Do tiny icons pass at the speed of the data plane? Files as icons are, beside plain pictures of their size.

    python jobs/benchmarks/icons.py [--images 10000] [--rounds 1] [--ordinary 500] [--out out/bench]

The protocol
- `plain`: what dataplane.py measures, PNG files of 32x32 px, three channels, no steps.
- `icons`: as many files of 16 to 48 px a side: PNG with alpha, with a palette and a transparent entry, of grey and
  alpha, and of one bit; WebP and GIF with transparency. No steps either: what differs is the files.
- Rounds alternate; `icons_ratio` is the median over rounds of the seconds of plain / the seconds of icons, from the
  first image begun to the last ended (starting Ray is not in it).
- With --ordinary so many icons also go through the job as it is by default, the model and its budget included.

The last line of stdout is one JSON object: icons_ratio, images_per_s_{plain,icons,ordinary}, peak_mib_icons.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

import numpy as np
from dataplane import run_images
from measured import Row, alternate, ratio, report
from PIL import Image

from tss_ray.storage import sample_photos

_DISTINCT, _PER_FOLDER = 240, 1000


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    rows: list[Row] = []

    def seconds(what: str, num_images: int, **options: object) -> float:
        write = None if what == "plain" else write_icons
        row = run_images(num_images, arguments.model, arguments.cpus, write, **options)  # type: ignore[arg-type]
        rows.append(row | {"what": what})
        return float(row["seconds"])

    taken = alternate(
        {what: lambda what=what: seconds(what, arguments.images) for what in ("plain", "icons")}, arguments.rounds
    )
    if arguments.ordinary:
        seconds("ordinary", arguments.ordinary, budget={})
    figures: Row = {"icons_ratio": ratio(taken["plain"], taken["icons"])}
    for what in dict.fromkeys(row["what"] for row in rows):
        figures[f"images_per_s_{what}"] = statistics.median(r["images_per_s"] for r in rows if r["what"] == what)
    figures["peak_mib_icons"] = max(row["peak_mib"] for row in rows if row["what"] == "icons")
    print(report(arguments.out, "icons", rows, figures))
    return 0


def write_icons(folder: Path, num_images: int) -> None:
    """Write icons under many names: a few are distinct, the others are links to them."""
    first: list[Path] = []
    for number in range(num_images):
        suffix = first[number % _DISTINCT].suffix if number >= _DISTINCT else ".x"
        path = folder / f"{number // _PER_FOLDER:04d}" / f"{number:07d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < _DISTINCT:
            first.append(write_icon(path, number))
        else:
            os.link(first[number % _DISTINCT], path)


def write_icon(path: Path, number: int) -> Path:
    """Write a round picture of some kind and size, and return its path, with the extension of its kind."""
    side = 16 + 8 * (number // 6 % 5)
    names = sample_photos.names()
    photo = sample_photos.reference(names[number % len(names)])
    left, top = (13 * number) % (photo.width - side), (7 * number) % (photo.height - side)
    pixels = np.array(photo.crop((left, top, left + side, top + side)))
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = np.clip((side / 2 - np.hypot(y, x)) * 128, 0, 255).astype(np.uint8)
    icon = Image.fromarray(np.dstack([pixels, alpha]))
    kinds = {
        "rgba.png": lambda: icon,
        "palette.png": lambda: icon.quantize(32),
        "grey.png": lambda: icon.convert("LA"),
        "bit.png": lambda: icon.convert("1"),
        "icon.webp": lambda: icon,
        "icon.gif": lambda: icon,
    }
    kind = list(kinds)[number % len(kinds)]
    path = path.with_suffix(Path(kind).suffix)
    kinds[kind]().save(path)
    return path


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Images per second of icons without a model.")
    parser.add_argument("--images", type=int, default=10_000, help="how many, of icons and of plain pictures")
    parser.add_argument("--rounds", type=int, default=1, help="of both")
    parser.add_argument("--ordinary", type=int, default=0, help="so many icons with the default budget")
    parser.add_argument("--model", default="tss-x4-small", help="embedded name or model folder")
    parser.add_argument("--cpus", type=int, help="logical CPUs of Ray; default: the machine's cores")
    parser.add_argument("--out", type=Path, help="folder for icons.parquet and icons.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
