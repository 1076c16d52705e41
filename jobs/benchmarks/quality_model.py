"""The upscaler that the quality benchmark measures: the product's own engine, with its default tiles and dtype."""

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import torch
from numpy.typing import NDArray

from tss_ray.diffusion.timesteps import PlanFamily, make_plan
from tss_ray.engine.compose import compose
from tss_ray.engine.device import pick_device, pick_dtype
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.models.registry import load_model
from tss_ray.spec import PlanSpec, TileSpec

_MAX_BATCH = 4
"""A crop of 96 px is four tiles."""


class Upscaler:
    """A model, an embedded name or a folder, behind an engine of its own."""

    def __init__(self, model: str, plan: PlanSpec | None = None, use_gpu: bool = True) -> None:
        """Load it; a, n and eta come from `plan`. Raises ModelError if its weights are not what its card says."""
        self.device = pick_device(use_gpu)
        self.dtype: torch.dtype = pick_dtype("auto", self.device)
        self._plan = plan or PlanSpec()
        self._model = load_model(model, self.device, self.dtype)
        tiles = TileSpec()
        self._engine = Engine(
            self._model, self.device, _MAX_BATCH, tiles.tile_px, tiles.overlap_px, sides_px=tiles.sides
        )

    @property
    def scale(self) -> int:
        """The factor."""
        return self._model.card.scale

    def upscale(
        self, lr: NDArray[np.uint8], num_steps: int, family: PlanFamily, image_key: str, gain: float = 1.0
    ) -> NDArray[np.uint8]:
        """Enlarge (h,w,3) uint8; no steps is the bicubic enlargement. `gain` is `PlanSpec.detail_gain`."""
        plan = make_plan(self._model.card.num_timesteps, num_steps, family, self._plan.a, self._plan.n)
        request = ImageRequest(image_key, lr, plan, eta=self._plan.eta, seed=0, detail_gain=gain)
        (denoised,) = run([request], self._engine)
        return compose(denoised, self.scale)


def run(requests: Sequence[ImageRequest], engine: Engine) -> list[DenoisedImage]:
    """Denoise images together, so that their tiles fill the engine's batch; return them in the order given."""
    futures: list[Future[DenoisedImage]] = [Future() for _ in requests]
    for request, future in zip(requests, futures, strict=True):
        engine.submit(request, future)
    while not engine.idle:
        engine.step()
    return [future.result() for future in futures]
