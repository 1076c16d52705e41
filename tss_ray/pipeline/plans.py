"""From the spec and an image's pixels to what the engine is asked for: pure, and the same on a retry."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tss_ray.budget.by_tile import deal_steps
from tss_ray.diffusion.spatial import level_parameters
from tss_ray.diffusion.timesteps import plan_table
from tss_ray.engine.state import ImageRequest
from tss_ray.imaging.tiles import TileGrid
from tss_ray.models.card import ModelCard
from tss_ray.pipeline.probe import image_levels, tile_scores
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec, PlanSpec

__all__ = ["image_levels", "image_request", "row_request"]


def row_request(
    spec: JobSpec, card: ModelCard, row: ManifestRow, rgb: NDArray[np.uint8], grid: Callable[[int, int], TileGrid]
) -> ImageRequest:
    """Plan an image (h,w,3) of a job as its row says, tile by tile where the budget asks for that.

    grid: how the engine cuts an image of (height, width). Images of one tile, and those held out to run the top rung,
    have one plan.
    """
    num_steps = row.num_steps or 0
    request = image_request(spec.plan, card.num_timesteps, row.input_sha256 or row.image_key, rgb, num_steps, spec.seed)
    cut = grid(*rgb.shape[:2])
    if not spec.budget.by_tile or not num_steps or row.holdout or cut.num_tiles == 1:
        return request
    scores = tile_scores(rgb, cut)
    steps = deal_steps(spec.budget, scores, num_steps, int(card.paints_pixels), card.num_timesteps)
    plans = {num: _plans(spec.plan, card.num_timesteps, num) for num in set(steps)}
    return replace(request, tile_plans=tuple(plans[num] for num in steps))


def image_request(
    plan: PlanSpec, num_timesteps: int, image_key: str, rgb: NDArray[np.uint8], num_steps: int, seed: int
) -> ImageRequest:
    """Plan an image (h,w,3) of `num_steps`: a plan and a share of noise for every level, and each position's level.

    Where nothing varies with texture there is one level, and the map is not even computed.
    """
    num_levels = plan.num_levels
    eta_range = (0.0 if plan.eta_by_texture else plan.eta, plan.eta)
    levels = image_levels(rgb, num_levels) if num_levels > 1 and num_steps else None
    timesteps = _plans(plan, num_timesteps, num_steps)
    eta = level_parameters(num_levels, eta_range)
    return ImageRequest(image_key, rgb, timesteps, eta, seed, levels, detail_gain=plan.detail_gain)


def _plans(plan: PlanSpec, num_timesteps: int, num_steps: int) -> NDArray[np.int64]:
    """Return (num_steps, num_levels)."""
    a_range, n_range = plan.ranges(num_steps)
    return plan_table(
        num_timesteps,
        num_steps,
        plan.family,
        level_parameters(plan.num_levels, a_range),
        level_parameters(plan.num_levels, n_range),
    )
