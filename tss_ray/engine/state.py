"""What travels with an image and with a tile from the engine's door to its end."""

import time
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tss_ray.imaging.tiles import TileGrid


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image to be denoised.

    lr: (h,w,3) uint8, any size. plan: descending timesteps, none = leave the enlargement alone; (num_steps, L) has a
    column for each level. eta: in [0,1], one for all or one per level. levels: (h,w) uint8 in [0,L); None: all level 0.
    """

    image_key: str
    lr: NDArray[np.uint8]
    plan: tuple[int, ...] | NDArray[np.int64]
    eta: float | tuple[float, ...]
    seed: int
    levels: NDArray[np.uint8] | None = None

    @property
    def num_steps(self) -> int:
        """How many forwards each tile runs."""
        return len(self.plan)


@dataclass(frozen=True, slots=True)
class DenoisedImage:
    """A finished image: what is to be added to its bicubic enlargement, as tiles, and what it cost.

    tiles: one (3, tile·scale, tile·scale) float32 CPU tensor per tile of `grid`, row-major; none for an empty plan.
    """

    request: ImageRequest
    grid: TileGrid
    tiles: list[Tensor]
    queue_s: float
    denoise_s: float
    device_seconds: float

    @property
    def nfe(self) -> int:
        """Denoiser evaluations, in full-tile forwards."""
        return len(self.tiles) * self.request.num_steps


@dataclass(slots=True, eq=False)
class ImageState:
    """An image inside the engine: its tiles wait, run and come back in any order."""

    request: ImageRequest
    grid: TileGrid
    padded: NDArray[np.uint8]
    """(H,W,3), at least one tile large; a tile becomes float only when it is loaded."""
    levels: NDArray[np.uint8]
    """(H,W), padded like the pixels."""
    timesteps: Tensor
    """(num_steps, L) int64."""
    coefficients: Tensor
    """(num_steps, L, 5) float32; see `diffusion.sampler`."""
    future: "Future[DenoisedImage]"
    tiles: list[Tensor | None]
    arrived: float = field(default_factory=time.perf_counter)
    begun: float | None = None
    cancelled: bool = False
    device_seconds: float = 0.0

    def start(self) -> bool:
        """Mark the image as begun; False if its caller cancelled it before. What has begun runs to its end."""
        if self.begun is None and not self.cancelled:  # a future may be told only once that it is dropped
            self.cancelled = not self.future.set_running_or_notify_cancel()
            self.begun = None if self.cancelled else time.perf_counter()
        return not self.cancelled

    def finished(self) -> DenoisedImage | None:
        """Return the result once every tile of an image that has begun is back."""
        tiles = [tile for tile in self.tiles if tile is not None]
        begun = self.begun
        if begun is None or len(tiles) < len(self.tiles):
            return None
        return DenoisedImage(
            self.request,
            self.grid,
            tiles,
            queue_s=begun - self.arrived,
            denoise_s=time.perf_counter() - begun,
            device_seconds=self.device_seconds,
        )


@dataclass(slots=True, eq=False)
class TileState:
    """One tile and how far along its plan it is; its latents live in the runner's slot."""

    image: ImageState
    index: int
    top: int
    left: int
    step: int = 0

    @property
    def done(self) -> bool:
        """Whether the plan has been run to its end."""
        return self.step == self.image.request.num_steps
