"""One pass down an image too large to be held: tiles in, rows of the result out, measured and judged on the way.

What `engine.compose` does with all tiles at hand is done here with the few rows of them that are there. The bands are
the same, so the rows are the same to the bit; what is summed over the image is the same to rounding.
"""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from tss_ray.engine.compose import BAND_PX, bands
from tss_ray.engine.detail import amplified
from tss_ray.engine.stream import TileStream
from tss_ray.errors import GateError
from tss_ray.imaging.channels import model_planes
from tss_ray.imaging.correct import colour_shift, low_band_reach
from tss_ray.imaging.pixels import Pixels
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.resample import downsample, reach, rows_under, upsample_part
from tss_ray.imaging.stitch import Stitcher
from tss_ray.quality.colour_delta import boxed_delta_e, boxes
from tss_ray.quality.gates import REGION_PX, constant, is_finite, off_colour
from tss_ray.quality.psnr import psnr_of


class Spread:
    """Mean and standard deviation of three channels whose rows come one after the other, in float64."""

    def __init__(self) -> None:
        """Begin empty."""
        self._count, self._sum, self._squares = 0, torch.zeros(3).double(), torch.zeros(3).double()

    def add(self, planes: Tensor) -> None:
        """Take rows (3,n,w)."""
        values = planes.double().flatten(1)
        self._count += values.shape[1]
        self._sum += values.sum(1)
        self._squares += values.square().sum(1)

    def largest(self) -> float:
        """Return the largest standard deviation of a channel."""
        mean = self._sum / self._count
        return float((self._squares / self._count - mean.square()).clamp_min(0).sqrt().max())


class Sweep:
    """The enlargement (3, n, w·scale) float with what the denoiser adds to it, asked for from top to bottom.

    Not clipped, its low band given back to the input's where `corrected`. Raises GateError, from `rows` and `finish`,
    as soon as what was seen is no picture of its input; which of several reasons it names then depends on what came
    first, where an image that is held whole names "output_nan" first.
    """

    def __init__(
        self,
        source: Pixels,
        linear: bool,
        tiles: TileStream | None,
        scale: int,
        corrected: bool,
        stopping: Callable[[], bool] = lambda: False,
        band_px: int = BAND_PX,
        paints_pixels: bool = False,
    ) -> None:
        """Take the input (h,w,c) and the stream of its tiles; None: nothing is added to the enlargement.

        paints_pixels: tiles are the picture and not what is added; see `models.base`.
        """
        self._paints_pixels = paints_pixels
        self._source, self._linear, self._tiles, self._stopping = source, linear, tiles, stopping
        self.scale = scale
        self.height, self.width = source.shape[0] * scale, source.shape[1] * scale
        self._corrected = corrected and tiles is not None
        self._position, self._next_tile = 0, 0
        self._to_add, self._to_measure = (deque(bands(self.height, self.width, scale, band_px)) for _ in range(2))
        self._added, self._added_top, self._judged = torch.zeros(3, 0, source.shape[1]), 0, 0
        self._kept: deque[tuple[int, Tensor]] = deque()
        self._kept_until = 0
        self._spread, self._input_spread = Spread(), Spread()
        self._error = 0.0
        self._boxes = boxes(source.shape[0], source.shape[1])
        self._boxed: list[tuple[Tensor, Tensor]] = []

    def rows(self, first: int, last: int) -> Tensor:
        """Return rows [first, last), not to be written to; `first` never falls."""
        self._position = first
        made = self._kept_rows(first, last)
        self._measure(first)
        self._drop()
        return made

    def finish(self) -> None:
        """Measure and judge what is left, once the last row was made."""
        self._position = self.height
        self._add(self._source.shape[0])
        self._measure(self.height)
        if why := constant(min(self._source.shape[:2]), self._spread.largest(), self._input_spread.largest()):
            raise _refused(why)

    @property
    def lr_consistency_psnr(self) -> float:
        """See `quality.lr_consistency`; once everything is measured."""
        return psnr_of(self._error / (3 * self._source.shape[0] * self._source.shape[1]))

    @property
    def colour_delta_e(self) -> float:
        """See `quality.colour_delta`; once everything is measured."""
        seen, wanted = (torch.cat(rows, 1) for rows in zip(*self._boxed, strict=True))
        return boxed_delta_e(*(functional.adaptive_avg_pool2d(rows, self._boxes) for rows in (seen, wanted)))

    def _input(self, top: int, bottom: int) -> Tensor:
        return model_planes(self._source[top:bottom], self._linear)

    def _base(self, top: int, bottom: int, corrected: bool) -> Tensor:
        """Return rows of what is enlarged; the correction needs what is added some rows around."""
        if not corrected:
            return self._input(top, bottom)
        begin, end = max(0, top - low_band_reach()), min(self._source.shape[0], bottom + low_band_reach())
        self._add(end)
        shift = colour_shift(self._added[:, begin - self._added_top : end - self._added_top], "wavelet")
        assert shift is not None
        return self._input(top, bottom) + shift[:, top - begin : bottom - begin]

    def _kept_rows(self, first: int, last: int) -> Tensor:
        """Return rows of the result; each is made once, for its file and for what is measured, and kept that long."""
        if self._kept_until < last:
            self._kept.append((self._kept_until, self._made(self._kept_until, last, self._corrected)))
            self._kept_until = last
        parts = [
            rows[:, max(0, first - top) : last - top]
            for top, rows in self._kept
            if top < last and top + rows.shape[1] > first
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _made(self, first: int, last: int, corrected: bool, residual: Tensor | None = None) -> Tensor:
        top, bottom = rows_under(first, last, self.scale, self._source.shape[0])
        enlarged = upsample_part(self._base(top, bottom, corrected), top, self.scale, first, last)
        if self._tiles is None:
            return enlarged.contiguous()  # without the rows around
        return enlarged + (self._stitched(first, last) if residual is None else residual)

    def _stitched(self, first: int, last: int) -> Tensor:
        assert self._tiles is not None
        stitcher = Stitcher(self._tiles.grid, self.scale, rows=(first, last))
        for index in stitcher.indices:
            tile = self._tiles.tile(index, self._stopping)
            if index >= self._next_tile:
                self._next_tile = index + 1
                if not is_finite(tile):
                    raise _refused("output_nan")
            stitcher.add(index, amplified(tile, self._tiles.request.detail_gain, self.scale))
        stitched = stitcher.finish()[:, :, : self.width] / 2  # tiles are of a range of 2
        if self._paints_pixels:  # what it adds to the enlargement of what it was shown
            top, bottom = rows_under(first, last, self.scale, self._source.shape[0])
            seen = to_planes(self._tiles.request.lr[top:bottom])
            stitched += 0.5
            stitched -= upsample_part(seen, top, self.scale, first, last)
        return stitched

    def _add(self, until: int) -> None:
        """Find out what the denoiser adds to the rows of the input above `until`, and judge it."""
        while self._tiles is not None and self._added_top + self._added.shape[1] < until:
            top, bottom, begin, end = self._reached(self._to_add.popleft())
            residual = self._stitched(begin * self.scale, end * self.scale)
            added = self._reduced(residual, top - begin, bottom - top)
            self._added = torch.cat([self._added, added], 1)
            self._judge(bottom)
            if self._corrected:
                uncorrected = self._made(begin * self.scale, end * self.scale, False, residual)
                self._spread.add(self._reduced(uncorrected.clamp(0, 1), top - begin, bottom - top))

    def _judge(self, bottom: int) -> None:
        """Judge the regions that are complete; the last row of them lies at the edge, over its neighbour."""
        height = self._source.shape[0]
        until = bottom if bottom == height else bottom // REGION_PX * REGION_PX
        first = self._judged if until < height else max(0, min(self._judged, height - REGION_PX))
        if first < until:
            added = self._added[:, first - self._added_top : until - self._added_top]
            if why := off_colour(added, self._input(first, until)):
                raise _refused(why)
        self._judged = until

    def _measure(self, until: int) -> None:
        """Measure the bands that end above row `until` of the result."""
        while self._to_measure and self._to_measure[0][1] <= until:
            top, bottom, begin, end = self._reached(self._to_measure[0])
            seen = self._kept_rows(begin * self.scale, end * self.scale).clamp(0, 1)
            reduced, wanted = self._reduced(seen, top - begin, bottom - top), self._input(top, bottom)
            if not self._corrected:
                self._spread.add(reduced)
            self._input_spread.add(wanted)
            reduced = reduced.clamp(0, 1)
            self._error += float((reduced.double() - wanted.double()).square().sum())
            size = bottom - top, self._boxes[1]
            self._boxed.append(
                (functional.adaptive_avg_pool2d(reduced, size), functional.adaptive_avg_pool2d(wanted, size))
            )
            self._to_measure.popleft()

    def _reached(self, band: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return a band's rows of the input, and which rows a reduction must see for them."""
        top, bottom = band[0] // self.scale, band[1] // self.scale
        return (top, bottom, *reach(top, bottom, self._source.shape[0]))

    def _reduced(self, seen: Tensor, skipped: int, num_rows: int) -> Tensor:
        return downsample(seen[None], self.scale)[0][:, skipped : skipped + num_rows]

    def _drop(self) -> None:
        """Forget what no later row looks at."""
        looked_at = self._position
        if self._to_measure:
            looked_at = min(looked_at, self._reached(self._to_measure[0])[2] * self.scale)
        while self._kept and self._kept[0][0] + self._kept[0][1].shape[1] <= looked_at:
            self._kept.popleft()
        lowest = self._kept_until // self.scale
        if self._to_add:
            lowest = min(lowest, self._reached(self._to_add[0])[2])
        row = rows_under(lowest * self.scale, lowest * self.scale, self.scale, self._source.shape[0])[0]
        keep = max(self._added_top, min(row - low_band_reach(), self._judged - REGION_PX))
        self._added, self._added_top = self._added[:, keep - self._added_top :].clone(), keep
        if self._tiles is not None:
            px = self._tiles.grid.tile_px
            self._tiles.drop(sum(top + px <= lowest for top in self._tiles.grid.tops))


def _refused(why: str) -> GateError:
    return GateError(why, f"{why}; look at the input, the model and the device")
