"""From a denoised image to the bytes of its file: colour, size, channels, encoding; no Ray, no network.

Everything goes by bands of rows, so that float pixels never fill more than a band; what a large image takes at once
follows from its file format: see `imaging.encode.encode_into`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tss_ray.engine.compose import BAND_PX, Composition
from tss_ray.engine.state import DenoisedImage
from tss_ray.engine.stream import TileStream
from tss_ray.errors import EngineError, GateError
from tss_ray.imaging.channels import from_model_planes, model_planes
from tss_ray.imaging.correct import colour_shift
from tss_ray.imaging.encode import EncodedImage, Format, encode_into
from tss_ray.imaging.pixels import Pixels, num_bits
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.resample import axis_weights, rows_under, upsample_part
from tss_ray.models.card import ModelCard
from tss_ray.pipeline.rows import PreparedImage
from tss_ray.pipeline.sweep import Sweep
from tss_ray.quality.colour_delta import colour_delta_e
from tss_ray.quality.gates import refusal
from tss_ray.quality.psnr import psnr
from tss_ray.spec import JobSpec
from tss_ray.storage.layout import output_format

Rows = Callable[[int, int], Tensor]
"""(first, last) to (C, last - first, width) float."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A file and what was measured on the way; the row's columns of the same names say what each is."""

    file: EncodedImage
    format: Format
    lr_consistency_psnr: float | None = None
    colour_delta_e: float | None = None
    colour_correction: str | None = None


def finish(spec: JobSpec, image: PreparedImage, denoised: DenoisedImage, scale: int) -> Finished:
    """Make the file of an image whose row says its size.

    Raises GateError for what is no picture of its input, before any colour is corrected, and EncodeError.
    LR consistency and colour are measured at the model's own scale, before a smaller result is made of it.
    """
    if image.pixels is None:
        raise EngineError("a quarantined image has no pixels to finish; please report this")
    source, row = image.pixels, image.row
    if row.left_alone_by:
        return Finished(*_encoded(spec, image, [source]))
    composition = Composition(denoised, scale, model_planes(source, image.linear), BAND_PX)
    correction = spec.colour.correction if denoised.tiles else "none"
    added = composition.added()
    shift = None if correction == "none" else colour_shift(added, correction)
    reduced = composition.reduced()
    if why := refusal(denoised.tiles, added, reduced, composition.lr):
        raise GateError(why, f"{row.image_key}: {why}; look at the input, the model and the device")
    if shift is not None:
        composition.add(shift)
        reduced = composition.reduced()
    file, image_format = _encoded(spec, image, _bands(image, source, composition))
    return Finished(
        file,
        image_format,
        psnr(reduced.clamp(0, 1), composition.lr),
        colour_delta_e(reduced, composition.lr),
        correction,
    )


@dataclass(frozen=True, slots=True)
class Streamed:
    """What `finish_streamed` wrote, and what was measured on the way; see `Finished`."""

    mode: str
    content_type: str
    bits: int
    format: Format
    lr_consistency_psnr: float | None = None
    colour_delta_e: float | None = None
    colour_correction: str | None = None


def finish_streamed(
    spec: JobSpec,
    image: PreparedImage,
    tiles: TileStream | None,
    card: ModelCard,
    file: BinaryIO,
    stopping: Callable[[], bool] = lambda: False,
) -> Streamed:
    """Write the same file as `finish`, to the byte, with some rows of tiles in memory and never all of them.

    (To rounding, where the result is no larger than a band: `finish` then enlarges the correction apart.)

    tiles: None where no step was asked for. The colour correction is "wavelet" or "none": "mean" would have to see all
    tiles before the first row is written. Raises GateError and EncodeError, and CancelledError where `stopping` becomes
    true; the file then holds a part and must be thrown away.
    """
    if image.pixels is None:
        raise EngineError("a quarantined image has no pixels to finish; please report this")
    if image.row.left_alone_by:
        return Streamed(*_encoded_into(file, spec, image, _slices(image.pixels)))
    correction = spec.colour.correction if tiles is not None else "none"
    paints = card.paints_pixels
    sweep = Sweep(image.pixels, image.linear, tiles, card.scale, correction == "wavelet", stopping, BAND_PX, paints)
    written = _encoded_into(file, spec, image, _bands(image, image.pixels, sweep))
    sweep.finish()
    return Streamed(*written, sweep.lr_consistency_psnr, sweep.colour_delta_e, correction)


def _slices(source: Pixels) -> Iterator[Pixels]:
    step = max(1, BAND_PX // source.shape[1])
    for first in range(0, len(source), step):
        yield np.ascontiguousarray(source[first : first + step])


def _encoded_into(
    file: BinaryIO, spec: JobSpec, image: PreparedImage, bands: Iterator[Pixels]
) -> tuple[str, str, int, Format]:
    row, options, source = image.row, spec.encode, cast(Pixels, image.pixels)
    image_format = cast(Format, output_format(row.image_key, options.format))
    written = encode_into(
        file,
        bands,
        (row.out_height or 0, row.out_width or 0, source.shape[2]),
        num_bits(source),
        image_format,
        quality=options.quality,
        lossless=options.lossless,
        icc_profile=None if options.icc == "strip" else image.icc_profile,
        metadata=image.metadata,
    )
    return (*written, image_format)


def _encoded(
    spec: JobSpec, image: PreparedImage, bands: "list[Pixels] | Iterator[Pixels]"
) -> tuple[EncodedImage, Format]:
    file = BytesIO()
    mode, content_type, bits, image_format = _encoded_into(file, spec, image, iter(bands))
    return EncodedImage(file.getvalue(), mode, content_type, bits), image_format


def _bands(image: PreparedImage, source: Pixels, composition: Composition | Sweep) -> Iterator[Pixels]:
    """Yield the result's pixels, from top to bottom."""
    height, width = image.row.out_height or 0, image.row.out_width or 0
    linear, scale = image.linear, composition.scale
    at_scale = (height, width) == (composition.height, composition.width)
    rows: Rows = composition.rows
    alpha_rows = _alpha_rows(source, scale) if source.shape[2] in (2, 4) else None
    if not at_scale:
        rows = resized(composition.rows, composition.height, height, width)
        alpha_rows = alpha_rows and resized(alpha_rows, composition.height, height, width)
    step = height if height * width <= BAND_PX else max(1, BAND_PX // width)
    for first in range(0, height, step):
        last = min(first + step, height)
        yield from_model_planes(rows(first, last), alpha_rows and alpha_rows(first, last), source, linear)


def _alpha_rows(source: Pixels, scale: int) -> Rows:
    def rows(first: int, last: int) -> Tensor:
        top, bottom = rows_under(first, last, scale, len(source))
        return upsample_part(to_planes(source[top:bottom, :, -1:]), top, scale, first, last)

    return rows


def resized(rows: Rows, length: int, height: int, width: int) -> Rows:
    """Return rows of the image resampled from `length` rows to height×width px, by the package's bicubic."""

    def made(first: int, last: int) -> Tensor:
        begin, weights = axis_weights(length, height, first, last)
        seen = rows(begin, begin + weights.shape[1])
        across = functional.interpolate(seen[None], size=(seen.shape[1], width), mode="bicubic", antialias=True)[0]
        return torch.matmul(weights, across)

    return made
