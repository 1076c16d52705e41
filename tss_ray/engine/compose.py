"""From denoised tiles to an image: stitch, add to the enlargement, by bands of rows; off the engine's thread."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tss_ray.engine.detail import amplified
from tss_ray.engine.state import DenoisedImage
from tss_ray.imaging.planes import to_pixels, to_planes
from tss_ray.imaging.resample import downsample, reach, upsample, upsample_rows
from tss_ray.imaging.stitch import Stitcher

BAND_PX = 4_194_304
"""Pixels that are float at once, 12 bytes each; a larger image is made in bands of rows, and made again if asked twice.
What is smaller is made once and kept."""


def compose(image: DenoisedImage, scale: int) -> NDArray[np.uint8]:
    """Return the super-resolved image (h·scale, w·scale, 3) uint8."""
    composition = Composition(image, scale)
    bands = [to_pixels(composition.rows(first, last)) for first, last in composition.bands()]
    return bands[0] if len(bands) == 1 else np.concatenate(bands)


class Composition:
    """The enlargement with what the denoiser adds to it: any of its rows, (3, n, w·scale) float, not clipped.

    `lr` (3,h,w) float in [0,1] is what is enlarged: by default the engine's own view of the image, of 8 bits; a deeper
    one keeps the depth of the file, since what the denoiser adds is float anyway.
    """

    def __init__(self, image: DenoisedImage, scale: int, lr: Tensor | None = None, band_px: int = BAND_PX) -> None:
        """Take the image; nothing is computed here."""
        self.lr = to_planes(image.request.lr) if lr is None else lr
        self.scale = scale
        self.height, self.width = self.lr.shape[1] * scale, self.lr.shape[2] * scale
        self._image, self._band_px, self._base = image, band_px, self.lr
        self._whole: Tensor | None = None
        self._residual: Tensor | None = None

    def bands(self) -> Iterator[tuple[int, int]]:
        """Yield (first, last) rows of bands; see `bands`."""
        return bands(self.height, self.width, self.scale, self._band_px)

    def rows(self, first: int, last: int) -> Tensor:
        """Return rows [first, last); not to be written to."""
        if self.height * self.width > self._band_px:
            return self._made(first, last, self._stitched(first, last))
        if self._whole is None:
            residual = self._stitched(0, self.height) if self._residual is None else self._residual
            self._whole, self._residual = self._made(0, self.height, residual), None
        return self._whole[:, first:last]

    def add(self, shift: Tensor) -> None:
        """Add (3,h,w) or (3,1,1) to what is enlarged: a correction found on the input's grid."""
        self._base = self._base + shift
        if self._whole is not None:
            self._whole += shift if shift.shape[1:] == (1, 1) else upsample(shift[None], self.scale)[0]

    def reduced(self) -> Tensor:
        """Return the image, clipped to [0,1] and reduced to the input's size, (3,h,w)."""
        return self._reduced(lambda first, last: self.rows(first, last).clamp(0, 1))

    def added(self) -> Tensor:
        """Return what the denoiser adds, reduced to the input's size, (3,h,w)."""
        if self.height * self.width > self._band_px or self._whole is not None:
            return self._reduced(self._stitched)
        self._residual = self._stitched(0, self.height)  # nobody needs to stitch again
        return downsample(self._residual[None], self.scale)[0]

    def _reduced(self, rows: Callable[[int, int], Tensor]) -> Tensor:
        bands = []
        for first, last in self.bands():
            top, bottom = first // self.scale, last // self.scale
            begin, end = reach(top, bottom, self.lr.shape[1])
            seen = rows(begin * self.scale, end * self.scale)
            bands.append(downsample(seen[None], self.scale)[0][:, top - begin : bottom - begin])
        return bands[0] if len(bands) == 1 else torch.cat(bands, 1)

    def _made(self, first: int, last: int, stitched: Tensor) -> Tensor:
        return stitched.add_(upsample_rows(self._base, self.scale, first, last))

    def _stitched(self, first: int, last: int) -> Tensor:
        if not self._image.tiles:
            return torch.zeros(3, last - first, self.width)
        stitcher = Stitcher(self._image.grid, self.scale, rows=(first, last))
        for index in stitcher.indices:
            stitcher.add(index, amplified(self._image.tiles[index], self._image.request.detail_gain, self.scale))
        stitched = stitcher.finish()[:, :, : self.width] / 2  # tiles are of a range of 2
        if self._image.paints_pixels:  # what it adds to the enlargement of what it was shown
            seen = to_planes(self._image.request.lr)
            stitched += 0.5
            stitched -= upsample_rows(seen, self.scale, first, last)
        return stitched


def bands(height: int, width: int, scale: int, band_px: int = BAND_PX) -> Iterator[tuple[int, int]]:
    """Yield (first, last) rows of bands from top to bottom, multiples of the scale, together the whole height."""
    step = max(1, band_px // (width * scale)) * scale
    for first in range(0, height, step):
        yield first, min(first + step, height)
