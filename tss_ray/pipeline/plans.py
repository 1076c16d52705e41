"""From the spec and an image's pixels to what the engine is asked for: pure, and the same on a retry."""

import numpy as np
from numpy.typing import NDArray

from tss_ray.diffusion.spatial import level_parameters
from tss_ray.diffusion.timesteps import plan_table
from tss_ray.engine.state import ImageRequest
from tss_ray.pipeline.probe import image_levels
from tss_ray.spec import PlanSpec

__all__ = ["image_levels", "image_request"]


def image_request(
    plan: PlanSpec, num_timesteps: int, image_key: str, rgb: NDArray[np.uint8], num_steps: int, seed: int
) -> ImageRequest:
    """Plan an image (h,w,3) of `num_steps`: a plan and a share of noise for every level, and each position's level.

    Where nothing varies with texture there is one level, and the map is not even computed.
    """
    num_levels = plan.num_levels
    a_range, n_range = plan.ranges(num_steps)
    timesteps = plan_table(
        num_timesteps,
        num_steps,
        plan.family,
        level_parameters(num_levels, a_range),
        level_parameters(num_levels, n_range),
    )
    eta_range = (0.0 if plan.eta_by_texture else plan.eta, plan.eta)
    levels = image_levels(rgb, num_levels) if num_levels > 1 and num_steps else None
    return ImageRequest(image_key, rgb, timesteps, level_parameters(num_levels, eta_range), seed, levels)
