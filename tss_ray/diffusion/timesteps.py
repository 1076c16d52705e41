"""Timestep plans: which timesteps one tile visits, in descending order, before it is clean.

Source of the idea: Qin et al., "Accelerating Diffusion-based Super-Resolution with Dynamic Time-Spatial Sampling"
(arXiv 2505.12048). Detail appears in the early and in the late iterations, so the plan is dense at both ends.
"""

from functools import lru_cache
from typing import Literal

from tss_ray.errors import SpecError

PlanFamily = Literal["uniform", "tds"]


def tds_warp(u: float, a: float, n: float) -> float:
    """Map u in [0,1] monotonically to [0,1], flat (so dense in timesteps) at both ends; n = 1 is the identity.

    a in (0,1) is where the early half ends and the late half begins, n >= 1 the power. The paper states the conditions
    that f must satisfy; this closed form is our reading of them.
    """
    if u <= a:
        return float(a * (u / a) ** n)
    return float(1 - (1 - a) * ((1 - u) / (1 - a)) ** n)


@lru_cache(maxsize=4096)
def make_plan(
    num_timesteps: int, num_steps: int, family: PlanFamily, a: float = 0.5, n: float = 2.0
) -> tuple[int, ...]:
    """Return `num_steps` strictly descending timesteps in [0, num_timesteps); no steps is the empty plan.

    The uniform plan is t_i = round(T·i/T') - 1 for i = T' … 1, which `diffusers` calls "trailing" spacing: it starts at
    pure noise and the step after its last entry is the clean image. TDS resamples i/T' by `tds_warp`.

    Raises SpecError if num_steps is outside [0, num_timesteps], a outside (0,1) or n below 1.
    """
    if not 0 <= num_steps <= num_timesteps:
        raise SpecError(f"num_steps={num_steps}: need 0 to {num_timesteps}, the model's timesteps; choose fewer steps")
    if not 0 < a < 1 or n < 1:
        raise SpecError(f"plan a={a}, n={n}: need 0 < a < 1 and n >= 1; correct plan.a or plan.n")
    visits = range(num_steps, 0, -1)
    if family == "uniform" or n == 1:
        # T·i is exact, so a half is rounded as a half: i/T' first, or a warp that is the identity, would tip it over
        return tuple(round(num_timesteps * i / num_steps) - 1 for i in visits)
    warped = [num_timesteps * tds_warp(i / num_steps, a, n) for i in visits]
    return _strictly_descending([round(position) - 1 for position in warped], num_timesteps)


def _strictly_descending(timesteps: list[int], num_timesteps: int) -> tuple[int, ...]:
    """Repair collisions after rounding by moving entries apart, never by dropping one."""
    num = len(timesteps)
    repaired: list[int] = []
    for k, t in enumerate(timesteps):
        room_below = num - 1 - k  # entries still to come need this many values under this one
        ceiling = (repaired[-1] if repaired else num_timesteps) - 1
        repaired.append(min(max(t, room_below), ceiling))
    return tuple(repaired)
