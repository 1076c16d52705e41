"""What is seen in an image before it is upscaled; a large one is looked at by bands of rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tss_ray.diffusion.spatial import level_map
from tss_ray.diffusion.texture import TextureBands, luma, noise_sigma, texture_map, texture_score
from tss_ray.imaging.blur import BLUR_REACH, blur_of, blur_score, blur_sums
from tss_ray.imaging.pixels import Pixels
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.tiles import TileGrid

WHOLE_PX = 4_194_304
"""Up to here everything is float at once, about 60 bytes a px; beyond, a quarter of this is. By the image's size alone,
so that what is seen depends on nothing else."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The row's columns of the same names say what each is."""

    texture_score: float
    noise_sigma: float
    blur_score: float | None


def probe(pixels: Pixels) -> Probe:
    """Look at (h,w,c) uint8 or uint16; alpha is not looked at."""
    height, width = pixels.shape[:2]
    if height * width > WHOLE_PX:
        return _probe_bands(_rows_of(pixels), height, width)
    y = _luma(pixels)
    sigma = noise_sigma(y)
    return Probe(texture_score(texture_map(y, sigma)), sigma, blur_score(y))


def image_levels(rgb: NDArray[np.uint8], num_levels: int) -> NDArray[np.uint8]:
    """Return the level of every position of (h,w,3) uint8, by texture with its noise taken off: (h,w) uint8."""
    levels = np.empty(rgb.shape[:2], np.uint8)
    for first, v in _maps(rgb):
        levels[first : first + v.shape[2]] = level_map(v, num_levels)
    return levels


def tile_scores(rgb: NDArray[np.uint8], grid: TileGrid) -> list[float]:
    """Return every tile's texture score in [0,1], the mean of the image's map there; rgb: (h,w,3) uint8."""
    height, width = rgb.shape[:2]
    lefts = np.array(grid.lefts)
    rights = np.minimum(lefts + grid.tile_px, width)
    sums = np.zeros((len(grid.tops), len(lefts)))
    for first, v in _maps(rgb):
        band = v[0, 0].double()
        for row, top in enumerate(grid.tops):
            seen = band[max(0, top - first) : max(0, top + grid.tile_px - first)]
            upto = np.concatenate(([0.0], seen.sum(0).cumsum(0).numpy()))
            sums[row] += upto[rights] - upto[lefts]
    heights = np.minimum(np.array(grid.tops) + grid.tile_px, height) - np.array(grid.tops)
    means = sums / (heights[:, None] * (rights - lefts))
    return [float(each) for each in means.flatten()]


def _maps(rgb: NDArray[np.uint8]) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, texture (1,1,n,w)) from top to bottom: at once, or of a large image by bands of rows."""
    height, width = rgb.shape[:2]
    if height * width <= WHOLE_PX:
        y = _luma(rgb)
        yield 0, texture_map(y, noise_sigma(y))
    else:
        yield from TextureBands(_rows_of(rgb), height, _band_rows(width)).maps()


def _probe_bands(rows: Callable[[int, int], Tensor], height: int, width: int) -> Probe:
    texture, step = TextureBands(rows, height, _band_rows(width)), _band_rows(width)
    total, sums = 0.0, [(0.0, 0.0), (0.0, 0.0)]
    for _, v in texture.maps():
        total += v.double().sum().item()
    for first in range(0, height, step):
        last = min(first + step, height)
        begin, end = max(0, first - BLUR_REACH), min(height, last + BLUR_REACH)
        found = blur_sums(rows(begin, end), first - begin, last - first)
        sums = [(a + c, b + d) for (a, b), (c, d) in zip(sums, found, strict=True)]
    return Probe(total / (height * width), texture.sigma, blur_of(sums))


def _band_rows(width: int) -> int:
    return max(1, WHOLE_PX // 4 // width)


def _rows_of(pixels: Pixels) -> Callable[[int, int], Tensor]:
    return lambda first, last: _luma(pixels[first:last])


def _luma(pixels: Pixels) -> Tensor:
    colour = to_planes(pixels[..., : 3 if pixels.shape[2] >= 3 else 1])[None]
    return luma(colour.expand(1, 3, *colour.shape[2:]))
