"""Blending enlarged tiles into one image, the same to the last bit whatever order they finish in."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from tss_ray.errors import EngineError
from tss_ray.imaging.tiles import TileGrid


def window(tile_px: int, overlap_px: int, scale: int) -> Tensor:
    """Return the blend weight of one tile: (tile_px·scale, tile_px·scale) float32 in (0,1].

    Raised-cosine ramps over the overlap, sampled at pixel centres: nowhere zero, so at the borders of the image, where
    no neighbour helps out, dividing by the accumulated weight gives the tile itself.
    """
    profile = _profile(tile_px, overlap_px, scale)
    return torch.outer(profile, profile).float()


class Stitcher:
    """Collects the tiles of one image and returns their mean weighted by `window`.

    The engine finishes tiles out of order, and float addition is not associative: adding as they come would make the
    last bits depend on what else was in the batch. So tiles are blended strictly by index; one that is early waits
    until all before it have come.

    Memory is the output plus the tiles that wait. The weights are kept per axis and divided before blending, not
    after: both the window and the sum of all windows are products of a vertical and a horizontal profile, which spares
    a plane of weights as large as the output, and where a single tile covers a pixel it comes through unchanged.
    """

    def __init__(
        self,
        grid: TileGrid,
        scale: int,
        channels: int = 3,
        device: torch.device | str = "cpu",
        rows: tuple[int, int] | None = None,
    ) -> None:
        """Allocate the output on `device`: all of it, or only its rows [first, last), bit for bit the same.

        Raises EngineError if the grid leaves a pixel uncovered.
        """
        self._grid = grid
        self._first, self._last = rows or (0, grid.height * scale)
        self._scale = scale
        self._tile_shape = (channels, grid.tile_px * scale, grid.tile_px * scale)
        self._row_weights = _shares(grid.tops, grid.height, grid, scale).to(device)
        self._column_weights = _shares(grid.lefts, grid.width, grid, scale).to(device)
        self._output = torch.zeros((channels, self._last - self._first, grid.width * scale), device=device)
        self._waiting: dict[int, Tensor] = {}
        touching = [i for i, top in enumerate(grid.tops) if self._touches(top)]
        self._next, self._end = touching[0] * len(grid.lefts), (touching[-1] + 1) * len(grid.lefts)

    @property
    def indices(self) -> range:
        """Which tiles are still needed."""
        return range(self._next, self._end)

    def add(self, index: int, tile: Tensor) -> None:
        """Take the tile (C, tile_px·scale, tile_px·scale) float32 of box number `index`; it must not change afterwards.

        Raises EngineError for an unknown index, one added before, or another shape or dtype.
        """
        if not 0 <= index < self._end:
            raise EngineError(f"tile {index} of {self._grid.num_tiles} does not exist; {_REPORT}")
        if index < self._next or index in self._waiting:
            raise EngineError(f"tile {index} was stitched twice; {_REPORT}")
        if tuple(tile.shape) != self._tile_shape or tile.dtype != torch.float32:
            raise EngineError(
                f"tile {index} is {tuple(tile.shape)} {tile.dtype}: need {self._tile_shape} torch.float32; {_REPORT}"
            )
        self._waiting[index] = tile
        while self._next in self._waiting:
            self._blend(self._next, self._waiting.pop(self._next))
            self._next += 1

    def finish(self) -> Tensor:
        """Return (C, rows, width·scale) float32, as a rule all rows. Raises EngineError if a tile never came."""
        if self._next < self._end:
            missing = [i for i in self.indices if i not in self._waiting]
            raise EngineError(f"{len(missing)} tiles never came, the first is {missing[0]}; {_REPORT}")
        return self._output

    def _blend(self, index: int, tile: Tensor) -> None:
        row, column = divmod(index, len(self._grid.lefts))
        top, left = self._grid.tops[row] * self._scale, self._grid.lefts[column] * self._scale
        _, height, width = self._tile_shape
        begin, end = max(top, self._first), min(top + height, self._last)
        inside = slice(begin - top, end - top)
        weights = torch.outer(self._row_weights[row][inside], self._column_weights[column])
        blended = tile[:, inside].to(self._output.device) * weights
        self._output[:, begin - self._first : end - self._first, left : left + width] += blended

    def _touches(self, top: int) -> bool:
        return top * self._scale < self._last and (top + self._grid.tile_px) * self._scale > self._first


_REPORT = "this is a bug of the engine, please report it with the job's spec"


def _profile(tile_px: int, overlap_px: int, scale: int) -> Tensor:
    """Return (tile_px·scale,) float64 in (0,1]: sin² up over the overlap, flat, and down again."""
    ramp_px = overlap_px * scale
    profile = torch.ones(tile_px * scale, dtype=torch.float64)
    if ramp_px:
        ramp = torch.sin((torch.arange(ramp_px, dtype=torch.float64) + 0.5) * (math.pi / (2 * ramp_px))) ** 2
        profile[:ramp_px] *= ramp
        profile[-ramp_px:] *= ramp.flip(0)
    return profile


@lru_cache(maxsize=16)
def _shares(positions: tuple[int, ...], length: int, grid: TileGrid, scale: int) -> Tensor:
    """Return (num positions, tile_px·scale) float32: each tile's share along one axis; the shares of a pixel sum to 1.

    Divided in float64: the ramps' feet are small, and the shares are cast once. Kept: a large image asks for each of
    its bands. Not to be written to.
    """
    profile = _profile(grid.tile_px, grid.overlap_px, scale)
    spans = [slice(position * scale, (position + grid.tile_px) * scale) for position in positions]
    total = torch.zeros(length * scale, dtype=torch.float64)
    for span in spans:
        total[span] += profile
    if bool((total <= 0).any()):
        first = int((total <= 0).nonzero()[0])
        raise EngineError(f"no tile of {positions} covers pixel {first} of {length * scale}; {_REPORT}")
    return torch.stack([profile / total[span] for span in spans]).float()
