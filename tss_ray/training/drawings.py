"""Drawn pictures to learn edges from: letters, hatching, lines and shapes, which photographs hold too few of."""

import math
import string

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_FINER = 4
"""Everything is drawn this much larger and reduced by a box filter, as what draws text and shapes on screens does."""
_LETTERS = string.ascii_lowercase * 4 + string.ascii_uppercase + string.digits * 2 + ".,:;!?()-+/&%"


def drawing(side_px: int, rng: Generator) -> NDArray[np.uint8]:
    """Return (side,side,3) uint8: two to four layers of letters, hatching, rings, lines or polygons on a ground."""
    side = side_px * _FINER
    picture = _ground(side, rng)
    for _ in range(rng.integers(2, 5)):
        layer = (_letters, _letters, _hatching, _rings, _lines, _polygon)[rng.integers(0, 6)]
        coloured = rng.random() < 0.6
        colour = tuple((rng.integers(0, 256, 3) if coloured else rng.integers(0, 2).repeat(3) * 255).tolist())
        picture.paste(colour, mask=layer(side, rng))
    return np.asarray(picture.reduce(_FINER))


def _ground(side: int, rng: Generator) -> Image.Image:
    """Return white, one colour, or a slope between two."""
    kind = rng.integers(0, 3)
    if kind == 0:
        return Image.new("RGB", (side, side), "white")
    first, second = rng.integers(0, 256, (2, 3))
    across = np.linspace(0, 1 if kind == 2 else 0, side)[:, None]
    column = (first + across * (second - first)).round().astype(np.uint8)
    return Image.fromarray(np.repeat(column[:, None], side, axis=1)).rotate(90 * int(rng.integers(0, 4)))


def _letters(side: int, rng: Generator) -> Image.Image:
    """Lines of letters, half of them at an angle; a capital is 4 to 40 px high."""
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    size = 6.0 * 9 ** float(rng.random()) * _FINER
    font = ImageFont.load_default(size)
    stroke = int(rng.integers(0, max(round(size / 20), 1) + 1)) if rng.random() < 0.4 else 0
    for top in np.arange(rng.integers(0, side // 2), side, size * rng.uniform(1.0, 1.5)):
        line = "".join(rng.choice(list(_LETTERS + " " * 15), 2 * side // int(size) + 1))
        pen.text((int(rng.integers(-side // 4, side // 2)), int(top)), line, fill=255, font=font, stroke_width=stroke)
        if rng.random() < 0.2:
            break
    return _turned(mask, rng) if rng.random() < 0.5 else mask


def _hatching(side: int, rng: Generator) -> Image.Image:
    """Parallel lines 3 to 24 px apart inside a box, at any angle."""
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    period = 3.0 * 8 ** float(rng.random()) * _FINER
    width = max(round(period * rng.uniform(0.1, 0.6)), 2)
    for at in np.arange(-side, 2 * side, period):
        pen.line([(int(at), -side), (int(at), 2 * side)], fill=255, width=width)
    mask = _turned(mask, rng)
    box = Image.new("L", (side, side))
    left, top = rng.integers(-side // 4, side // 2, 2)
    w, h = rng.integers(side // 4, side, 2)
    box.paste(mask.crop((left, top, left + w, top + h)), (int(left), int(top)))
    return box


def _rings(side: int, rng: Generator) -> Image.Image:
    """Ellipses around one middle."""
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    x, y = rng.integers(0, side, 2)
    step, flat, width = rng.integers(3, 20) * _FINER, rng.uniform(0.5, 1), int(rng.integers(2, 4 * _FINER))
    for radius in np.arange(step, side * rng.uniform(0.2, 0.8), step):
        pen.ellipse((x - radius, y - radius * flat, x + radius, y + radius * flat), outline=255, width=width)
    return mask


def _lines(side: int, rng: Generator) -> Image.Image:
    """Strokes of 0.5 to 6 px between points anywhere."""
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    for _ in range(rng.integers(1, 8)):
        points = rng.integers(-side // 8, side + side // 8, (rng.integers(2, 5), 2))
        pen.line(
            [tuple(point) for point in points.tolist()],
            fill=255,
            width=int(rng.integers(_FINER // 2, 6 * _FINER)),
            joint="curve",
        )
    return mask


def _polygon(side: int, rng: Generator) -> Image.Image:
    """A filled polygon of 3 to 8 corners around a middle."""
    mask = Image.new("L", (side, side))
    middle, corners = rng.integers(0, side, 2), rng.integers(3, 9)
    angles = np.sort(rng.uniform(0, 2 * math.pi, corners))
    radii = rng.uniform(0.1, 0.6, corners) * side
    points = np.stack([middle[0] + radii * np.cos(angles), middle[1] + radii * np.sin(angles)], 1)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in points.tolist()], fill=255)
    return mask


def _turned(mask: Image.Image, rng: Generator) -> Image.Image:
    return mask.rotate(float(rng.uniform(0, 360)), Image.Resampling.BILINEAR)
