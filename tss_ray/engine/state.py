"""What travels with an image and with a tile from the engine's door to its end."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tss_ray.engine.runner import TileTensors
from tss_ray.imaging.tiles import TileGrid

if TYPE_CHECKING:
    from tss_ray.engine.stream import TileStream


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image to be denoised.

    image_key: whose noise it gets; a job gives the sha256 of the input's bytes, so that copies become the same image.
    lr: (h,w,3) uint8, any size. plan: descending timesteps, none = leave the enlargement alone; (num_steps, L) has a
    column for each level. eta: in [0,1], one for all or one per level. levels: (h,w) uint8 in [0,L); None: all level 0.
    tile_plans: in place of `plan` one for each tile of the engine's grid, row-major; () leaves its enlargement alone.
    detail_gain: times the detail that vanishes when the result is reduced again; no step depends on it.
    """

    image_key: str
    lr: NDArray[np.uint8]
    plan: tuple[int, ...] | NDArray[np.int64]
    eta: float | tuple[float, ...]
    seed: int
    levels: NDArray[np.uint8] | None = None
    tile_plans: tuple[tuple[int, ...] | NDArray[np.int64], ...] | None = None
    detail_gain: float = 1.0

    @property
    def num_steps(self) -> int:
        """How many forwards each tile runs, where no tile has a plan of its own."""
        return len(self.plan)


@dataclass(frozen=True, slots=True)
class DenoisedImage:
    """A finished image: what is to be added to its bicubic enlargement, as tiles, and what it cost.

    tiles: one (3, tile·scale, tile·scale) float32 CPU tensor per tile of `grid`, row-major; none for an empty plan, and
    none where a stream had them.
    """

    request: ImageRequest
    grid: TileGrid
    tiles: list[Tensor]
    queue_s: float
    denoise_s: float
    device_seconds: float
    paints_pixels: bool = False
    """Tiles are the picture in [-1,1] instead."""

    @property
    def nfe(self) -> int:
        """Denoiser evaluations, in full-tile forwards."""
        if self.request.tile_plans is not None:
            return sum(len(plan) for plan in self.request.tile_plans)
        return self.grid.num_tiles * self.request.num_steps

    @property
    def padding_ratio(self) -> float:
        """Pixels run / pixels wanted, at least 1; see `TileGrid.padding_ratio`."""
        return self.grid.padding_ratio(*self.request.lr.shape[:2])


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """What a tile's steps are.

    timesteps: (num_steps, L) int64. coefficients: (num_steps, L, 5) float32; see `diffusion.sampler`.
    first_noise: (L,) float32, the strength of the noise that it begins with; None: 1 throughout.
    """

    timesteps: Tensor
    coefficients: Tensor
    first_noise: Tensor | None = None

    @property
    def num_steps(self) -> int:
        """How many forwards the tile runs."""
        return len(self.timesteps)

    def adds_noise(self, step: int) -> bool:
        """Whether the step adds noise anywhere."""
        return bool(self.coefficients[step, :, -1].any())


@dataclass(slots=True, eq=False)
class ImageState:
    """An image inside the engine: its tiles wait, run and come back in any order."""

    request: ImageRequest
    grid: TileGrid
    padded: NDArray[np.uint8]
    """(H,W,3), at least one tile large; a tile becomes float only when it is loaded."""
    levels: NDArray[np.uint8]
    """(H,W), padded like the pixels."""
    schedules: Sequence[Schedule]
    """One for each tile; the same object where tiles share a plan."""
    future: "Future[DenoisedImage]"
    tiles: list[Tensor | None]
    paints_pixels: bool = False
    stream: "TileStream | None" = None
    """Where tiles that are back go instead of `tiles`."""
    rows_in: int = 0
    """Of a streamed image, the rows of tiles that have entered."""
    arrived: float = field(default_factory=time.perf_counter)
    begun: float | None = None
    cancelled: bool = False
    device_seconds: float = 0.0
    num_out: int = field(init=False)
    """Tiles that are not back yet."""

    def __post_init__(self) -> None:
        """All are out."""
        self.num_out = self.grid.num_tiles if self.stream else len(self.tiles)

    def take(self, index: int, tile: Tensor) -> None:
        """Take a tile that is back."""
        if self.stream is None:
            self.tiles[index] = tile
        else:
            self.stream.put(index, tile)
        self.num_out -= 1

    def start(self) -> bool:
        """Mark the image as begun; False if its caller cancelled it before. What has begun runs to its end.

        A stream that was given up is cancelled at any time: none of its further tiles begins.
        """
        if self.stream is not None and self.stream.cancelled:
            self.cancelled = True
        if self.begun is None and not self.cancelled:  # a future may be told only once that it is dropped
            self.cancelled = not self.future.set_running_or_notify_cancel()
            self.begun = None if self.cancelled else time.perf_counter()
        return not self.cancelled

    def finished(self) -> DenoisedImage | None:
        """Return the result once every tile of an image that has begun is back."""
        begun = self.begun
        if begun is None or self.num_out:  # counted: looking through the tiles would be quadratic in their number
            return None
        return DenoisedImage(
            self.request,
            self.grid,
            [tile for tile in self.tiles if tile is not None],
            queue_s=begun - self.arrived,
            denoise_s=time.perf_counter() - begun,
            device_seconds=self.device_seconds,
            paints_pixels=self.paints_pixels,
        )


@dataclass(slots=True, eq=False)
class TileState:
    """One tile and how far along its plan it is."""

    image: ImageState
    index: int
    top: int
    left: int
    schedule: Schedule
    step: int = 0
    tensors: TileTensors | None = None
    """On the device, from when it was admitted."""
