"""Make the picture of the README: three places of the sample photographs as input, bicubic enlargement and result.

python jobs/benchmarks/picture.py [--steps 7] [--out jobs/benchmarks/before-bicubic-after.png]
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image
from quality_model import Upscaler

from tss_ray.spec import JobSpec
from tss_ray.storage.sample_photos import reduced_png

_PLACES = {"astronaut.png": (30, 4), "chelsea.png": (24, 8), "motorcycle_left.png": (60, 30)}
"""Photograph to (left, top) of the shown window, in px of the input."""
_WINDOW_PX = 64
_GAP_PX = 6


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--model", default=JobSpec.model_fields["model"].default)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("before-bicubic-after.png"))
    arguments = parser.parse_args()
    upscaler = Upscaler(arguments.model)
    side = _WINDOW_PX * upscaler.scale
    sheet = Image.new("RGB", (3 * side + 2 * _GAP_PX, len(_PLACES) * (side + _GAP_PX) - _GAP_PX), "white")
    for row, (name, (left, top)) in enumerate(_PLACES.items()):
        with Image.open(io.BytesIO(reduced_png(name.removesuffix(".png")))) as photo:
            lr = np.asarray(photo.convert("RGB"))
        window = tuple(upscaler.scale * v for v in (left, top, left + _WINDOW_PX, top + _WINDOW_PX))
        pictures = (
            Image.fromarray(lr).resize((lr.shape[1] * 4, lr.shape[0] * 4), Image.Resampling.NEAREST),
            Image.fromarray(upscaler.upscale(lr, 0, "uniform", name)),
            Image.fromarray(upscaler.upscale(lr, arguments.steps, "tds", name)),
        )
        for column, picture in enumerate(pictures):
            sheet.paste(picture.crop(window), (column * (side + _GAP_PX), row * (side + _GAP_PX)))
    sheet.save(arguments.out, optimize=True)
    print(f"{arguments.out}: left the input, then bicubic, then {arguments.steps} steps")


if __name__ == "__main__":
    main()
