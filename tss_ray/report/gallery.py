"""Before and after of single images, small enough for a page: one crop of each, at the output's own pixels.

Before is what bicubic resampling makes of the input (Pillow's BICUBIC, the one that everything is measured against).
"""

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tss_ray.errors import TssRayError
from tss_ray.imaging.decode import decode
from tss_ray.report.figures import Example
from tss_ray.spec import StoreSpec
from tss_ray.storage.inputs import read_uri

SIDE_PX = 288
"""Longest side of a crop, in px of the output."""
_QUALITY = 82
_READERS = 4
"""Images read at once; each holds a decoded output."""
_GREY = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class Pair:
    """One entry of a gallery: two pictures of one size as data URIs, or why there are none."""

    example: Example
    before: str = ""
    after: str = ""
    width: int = 0
    height: int = 0
    fault: str = ""


def pairs(examples: Sequence[Example], inputs: StoreSpec, outputs: StoreSpec) -> dict[str, Pair]:
    """Return a pair for every image_key; an image that cannot be read any more says so in its pair."""
    of_key = {example.image_key: example for example in examples}
    with ThreadPoolExecutor(_READERS, thread_name_prefix="gallery") as threads:
        made = threads.map(lambda example: _pair(example, inputs, outputs), of_key.values())
        return dict(zip(of_key, made, strict=True))


def _pair(example: Example, inputs: StoreSpec, outputs: StoreSpec) -> Pair:
    try:
        lr = _opened(example.input_uri, inputs, example.in_width * example.in_height)
        sr = _opened(example.output_uri, outputs, example.out_width * example.out_height)
    except TssRayError as error:
        return Pair(example, fault=str(error))
    scale = example.out_width // max(example.in_width, 1)
    if scale < 1 or sr.size != (lr.width * scale, lr.height * scale):
        return Pair(example, fault=f"{lr.size} px in, {sr.size} px out: the files changed after the run")
    left, top, right, bottom = busiest(np.asarray(lr.convert("L")), max(SIDE_PX // scale, 1))
    size = ((right - left) * scale, (bottom - top) * scale)
    # `box` cuts what is written, not what the cubic sees: the crop of the enlargement, to the pixel.
    before = lr.resize(size, Image.Resampling.BICUBIC, box=(left, top, right, bottom))
    after = sr.crop((left * scale, top * scale, right * scale, bottom * scale))
    return Pair(example, _data_uri(before), _data_uri(after), *size)


def busiest(luma: NDArray[np.uint8], side_px: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the crop of (h,w) whose neighbours differ most; at most side_px a side."""
    values = luma.astype(np.int64)
    change = np.zeros(values.shape, np.int64)
    change[:, 1:] += np.abs(np.diff(values, axis=1))
    change[1:] += np.abs(np.diff(values, axis=0))
    height, width = (min(side, side_px) for side in values.shape)
    sums = np.pad(change.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = (int(place) for place in np.unravel_index(windows.argmax(), windows.shape))
    return left, top, left + width, top + height


def _opened(uri: str, store: StoreSpec, max_px: int) -> Image.Image:
    """Return an image as RGB, on grey where it is transparent. Raises TssRayError for what cannot be read."""
    pixels = decode(read_uri(uri, store), max_px).pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if pixels.shape[2] in (1, 3):
        return image.convert("RGB")
    ground = Image.new("RGB", image.size, _GREY)
    ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return ground


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
