"""From a request to an image whose tiles can enter an engine: cut, padded, and a schedule for every tile."""

from concurrent.futures import Future

import numpy as np
import torch
from numpy.typing import NDArray

from tss_ray.engine.state import DenoisedImage, ImageRequest, ImageState, Schedule
from tss_ray.engine.stream import TileStream
from tss_ray.errors import EngineError
from tss_ray.imaging.tiles import TileGrid, best_tile, pad_to_tile
from tss_ray.models.card import ModelCard

_ASK = "give the engine the num_levels that images were planned with"


class Intake:
    """What an engine of `num_levels` levels makes of requests; it keeps nothing, so any thread may use it."""

    def __init__(
        self, card: ModelCard, tile_px: int, overlap_px: int, num_levels: int, sides_px: tuple[int, ...]
    ) -> None:
        """Take the tiles that images may be cut into; of `sides_px` those that the model can take."""
        self.sides = (tile_px, *(side for side in sides_px if side < tile_px and card.takes_tile(side)))
        self._card, self._overlap_px, self._num_levels = card, overlap_px, num_levels

    def grid(self, height: int, width: int) -> TileGrid:
        """Return how an image is cut."""
        return best_tile(height, width, self.sides, self._overlap_px)

    def image(
        self, request: ImageRequest, future: "Future[DenoisedImage]", stream: TileStream | None = None
    ) -> ImageState:
        """Return an image of which no tile has entered yet.

        Raises EngineError for plans or a map of levels that do not fit the image or the engine.
        """
        grid = self.grid(*request.lr.shape[:2])
        padded = pad_to_tile(request.lr, grid.tile_px)
        levels = pad_to_tile(self._levels(request), grid.tile_px)
        schedules = self._schedules(request, grid.num_tiles)
        held = grid.num_tiles if request.num_steps and stream is None else 0
        paints = self._card.paints_pixels
        return ImageState(request, grid, padded, levels, schedules, future, [None] * held, paints, stream)

    def _schedules(self, request: ImageRequest, num_tiles: int) -> list[Schedule]:
        """Return one for each tile; a plan object that several tiles share is worked out once."""
        plans = request.tile_plans
        if plans is None or not request.num_steps:
            return [self._schedule(request, request.plan)] * num_tiles
        if len(plans) != num_tiles:
            raise EngineError(f"{len(plans)} plans for {num_tiles} tiles; ask the engine for the image's grid")
        if self._card.paints_pixels and not all(len(plan) for plan in plans):
            raise EngineError(
                "this model paints the whole picture, so that no tile can be left alone; give each a step"
            )
        made = {id(plan): self._schedule(request, plan) for plan in plans}
        return [made[id(plan)] for plan in plans]

    def _schedule(self, request: ImageRequest, plan: tuple[int, ...] | NDArray[np.int64]) -> Schedule:
        plans, transition = self._columns(plan), self._card.transition
        coefficients = transition.coefficients(plans, request.eta).float()
        first = transition.first_noise(plans[0]).float() if transition.begins_at_lr and len(plans) else None
        return Schedule(torch.from_numpy(plans), coefficients, first)

    def _columns(self, plan: tuple[int, ...] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (num_steps, num_levels): where there is one plan, every level has it."""
        plans = np.array(plan, np.int64)
        plans = plans if plans.ndim == 2 else plans[:, None]
        if plans.shape[1] not in (1, self._num_levels):
            raise EngineError(f"{plans.shape[1]} plans for {self._num_levels} levels; {_ASK}")
        return np.repeat(plans, self._num_levels, 1) if plans.shape[1] == 1 else plans

    def _levels(self, request: ImageRequest) -> NDArray[np.uint8]:
        """Return (h,w): an image without a map is at level 0 throughout."""
        shape = request.lr.shape[:2]
        if request.levels is None:
            return np.zeros(shape, np.uint8)
        if request.levels.shape != shape or request.levels.max() >= self._num_levels:
            raise EngineError(
                f"a map of {request.levels.shape} up to level {request.levels.max()} for {shape} px and "
                f"{self._num_levels} levels; {_ASK}"
            )
        return request.levels
