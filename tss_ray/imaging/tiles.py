"""How an image is cut into tiles: pure geometry, no tensors.

All lengths are px of the low-resolution image. An image smaller than a tile is padded to one tile first.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tss_ray.errors import SpecError


@dataclasses.dataclass(frozen=True, slots=True)
class TileGrid:
    """Where the tiles of one image lie; tile number `i` is the i-th of `boxes()`."""

    height: int
    """Of the image padded to at least one tile."""
    width: int
    tile_px: int
    overlap_px: int
    """What neighbours share at least; evenly spread tiles may share more."""
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def num_tiles(self) -> int:
        """How many tiles there are."""
        return len(self.tops) * len(self.lefts)

    def boxes(self) -> Iterator[tuple[int, int]]:
        """Yield (top, left) of every tile, row by row."""
        for top in self.tops:
            for left in self.lefts:
                yield top, left

    def full_tiles(self, side_px: int) -> float:
        """Return the pixels run in units of tiles of `side_px`: what a forward costs is proportional to them."""
        return self.num_tiles * (self.tile_px / side_px) ** 2

    def padding_ratio(self, height: int, width: int) -> float:
        """Return pixels run / pixels wanted for an image of this size, at least 1.

        Wanted are the image and what neighbours must share; run beyond that is padding, and overlap that tiles have
        only because they are as large as they are.
        """
        run = self.num_tiles * self.tile_px**2
        return run / (
            (height + (len(self.tops) - 1) * self.overlap_px) * (width + (len(self.lefts) - 1) * self.overlap_px)
        )


def tile_grid(height: int, width: int, tile_px: int, overlap_px: int) -> TileGrid:
    """Cover a height×width image with as few tiles as the overlap allows, spread evenly.

    Spreading evenly turns what would be a thin last column into more overlap everywhere: the same number of forwards,
    better blended. Raises SpecError for sizes that cannot be tiled.
    """
    if height < 1 or width < 1:
        raise SpecError(f"an image of {height}×{width} px has no tiles; give at least 1×1 px")
    if not 0 <= overlap_px < tile_px:
        raise SpecError(f"overlap_px={overlap_px}: need 0 <= overlap_px < tile_px={tile_px}; lower tiles.overlap_px")
    height, width = padded_size(height, width, tile_px)
    tops = _positions(height, tile_px, overlap_px)
    lefts = _positions(width, tile_px, overlap_px)
    return TileGrid(height, width, tile_px, overlap_px, tops, lefts)


def best_tile(height: int, width: int, sides_px: Sequence[int], overlap_px: int) -> TileGrid:
    """Return the grid, over all `sides_px`, that covers a height×width image with the fewest pixels run.

    It follows from the image's size alone, so that a retry cuts the same tiles. Of equals the larger side is taken. A
    side that is less than twice the overlap is only taken by an image that is one such tile.

    Raises SpecError for sizes that cannot be tiled.
    """
    largest = max(sides_px)
    grids = [tile_grid(height, width, largest, overlap_px)] + [
        tile_grid(height, width, side, min(overlap_px, side // 2))
        for side in sorted(sides_px, reverse=True)
        if side != largest and side >= min(2 * overlap_px, max(height, width))
    ]
    return min(grids, key=lambda grid: grid.num_tiles * grid.tile_px**2)


def padded_size(height: int, width: int, tile_px: int) -> tuple[int, int]:
    """Return (height, width), each raised to one tile where it is less."""
    return max(height, tile_px), max(width, tile_px)


def pad_to_tile(pixels: NDArray[np.uint8], tile_px: int) -> NDArray[np.uint8]:
    """Mirror (h,w) or (h,w,c) at the right and the bottom until a tile fits; larger images come back as they are.

    Mirrored with the edge repeated, as often as needed: a single pixel becomes a flat tile, and no edge is invented.
    """
    height, width = pixels.shape[:2]
    to_height, to_width = padded_size(height, width, tile_px)
    if (to_height, to_width) == (height, width):
        return pixels
    margins = [(0, to_height - height), (0, to_width - width)] + [(0, 0)] * (pixels.ndim - 2)
    return np.pad(pixels, margins, mode="symmetric")


def _positions(length: int, tile_px: int, overlap_px: int) -> tuple[int, ...]:
    """Return where tiles begin along one axis: first 0, last length - tile_px.

    With n - 1 = ceil((length - tile) / (tile - overlap)) gaps, floor(i·(length - tile) / (n - 1)) never steps by more
    than tile - overlap, so the minimum overlap holds in integers too.
    """
    span = length - tile_px
    num_gaps = -(-span // (tile_px - overlap_px))
    if num_gaps == 0:
        return (0,)
    return tuple(i * span // num_gaps for i in range(num_gaps + 1))
