"""Make the picture of the model card's known limits: a face, text and line art, beside the originals.

python jobs/benchmarks/failures.py [--model NAME|DIR] [--out tss_ray/models/weights/tss-x4-small/limits.png]

Columns: the input (pixels as squares), bicubic, 1 step, 7 steps, the original. Text and lines are drawn here with
Pillow's own font, so the picture is the same everywhere.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from quality_model import Upscaler

from tss_ray.spec import JobSpec
from tss_ray.storage.sample_photos import reference

_SIDE_PX = 256
_GAP_PX = 6
_STEPS = (0, 1, 7)
_FACE = (150, 20)
"""(left, top) of the face in the sample photograph `astronaut`, in px of the original."""
_TEXT = "Sphinx of black quartz,\njudge my vow. 0123456789\n"


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=JobSpec.model_fields["model"].default)
    folder = Path(__file__).parents[2] / "tss_ray/models/weights/tss-x4-small"
    parser.add_argument("--out", type=Path, default=folder / "limits.png")
    arguments = parser.parse_args()
    upscaler = Upscaler(arguments.model)
    step = _SIDE_PX + _GAP_PX
    rows = {"face": _face(), "text": _text(), "line art": _lines()}
    sheet = Image.new("RGB", (5 * step - _GAP_PX, len(rows) * step - _GAP_PX), "white")
    for row, (name, original) in enumerate(rows.items()):
        small = original.resize((_SIDE_PX // upscaler.scale,) * 2, Image.Resampling.BICUBIC)
        lr = np.asarray(small)
        pictures = [
            small.resize(original.size, Image.Resampling.NEAREST),
            *(Image.fromarray(upscaler.upscale(lr, steps, "tds", name)) for steps in _STEPS),
            original,
        ]
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (column * step, row * step))
    sheet.quantize(255, dither=Image.Dither.NONE).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {', '.join(rows)}; input, bicubic, 1 step, 7 steps, original")


def _face() -> Image.Image:
    left, top = _FACE
    return reference("astronaut").convert("RGB").crop((left, top, left + _SIDE_PX, top + _SIDE_PX))


def _text() -> Image.Image:
    """Lines of text, from letters that survive the reduction to some that do not."""
    page = Image.new("RGB", (_SIDE_PX, _SIDE_PX), "white")
    top = 4.0
    for size_px in (32, 24, 18, 14, 11):
        ImageDraw.Draw(page).multiline_text((4, top), _TEXT, fill="black", font=ImageFont.load_default(size_px))
        top += 2.4 * size_px + 4
    return page


def _lines() -> Image.Image:
    """Rings and hatching of 1 to 3 px, drawn at four times the size for smooth edges."""
    fine = 4
    page = Image.new("RGB", (_SIDE_PX * fine, _SIDE_PX * fine), "white")
    pen = ImageDraw.Draw(page)
    middle = _SIDE_PX * fine // 2
    for ring, width_px in enumerate((3, 2, 2, 1, 1)):
        radius = (24 + 22 * ring) * fine
        pen.ellipse(
            (middle - radius, middle - radius, middle + radius, middle + radius), None, "black", width_px * fine
        )
    for offset in range(-_SIDE_PX, _SIDE_PX, 9):
        pen.line((offset * fine, 0, (offset + _SIDE_PX // 3) * fine, middle * 2 // 3), fill="black", width=fine)
    return page.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
