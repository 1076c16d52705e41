"""Timestep plans: which timesteps one tile visits, in descending order, before it is clean.

Source of the idea: Qin et al., "Accelerating Diffusion-based Super-Resolution with Dynamic Time-Spatial Sampling"
(arXiv 2505.12048). Detail appears in the early and in the late iterations, so a plan is dense at both ends. A plan
starts in pure noise (u = 1, the early end) and ends at the clean image (u = 0, the late end).

Every family warps u in [0,1] by a monotone f with f(0) = 0, f(a) = a and f(1) = 1, made of a profile g for each half:

    f(u) = a·g(u/a)                       for u <= a, the late half
         = 1 − (1−a)·g((1−u)/(1−a))       for u > a, the early half

A profile is convex, rises from g(0) = 0 to g(1) = 1 and has one strength, n: g(1/2) = 2^−n. So halfway (in steps) from
either end to the transition a, every family has gone the same 2^−n of the way, and n = 1 is the identity. The paper
states the conditions that f must satisfy; these closed forms, and that n means the same in all, are our reading.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tss_ray.errors import SpecError

PlanFamily = Literal["uniform", "tds", "trigonometric", "exponential", "late_only", "early_only"]

MAX_N = 8.0
"""The most uneven plan: half of the steps of a half of 500 timesteps then share the outermost two."""

_Profile = Callable[[float, float], float]
_FULL_COSINE_N = -math.log2(1 - math.sqrt(0.5))
"""The n (1.77) at which the trigonometric family is the cosine itself: g(1/2) = 1 − cos(π/4)."""


def _even(x: float, n: float) -> float:
    return x


def _power(x: float, n: float) -> float:
    """g = x^n: halfway it is 2^-n."""
    return float(x**n)


def _cosine(x: float, n: float) -> float:
    """The half wave c = 1 − cos(πx/2), blended with x up to its own strength, raised to a power beyond.

    Blend (1−s)·x + s·c: halfway it is 1/2 − s·(√2−1)/2, so s = (1 − 2^(1−n)) / (√2−1); s = 1 gives
    f(u) = (1 − cos πu)/2 for a = 1/2. A blend is never flatter than c, but c^p is: halfway c is 2^-1.77, so p = n/1.77.
    """
    half_wave = 2 * math.sin(math.pi * x / 4) ** 2  # 1 − cos without its cancellation near 0
    if n > _FULL_COSINE_N:
        return float(half_wave ** (n / _FULL_COSINE_N))
    share = (1 - 2 ** (1 - n)) / (math.sqrt(2) - 1)
    return (1 - share) * x + share * half_wave


def _exponential(x: float, n: float) -> float:
    """g = (e^kx − 1)/(e^k − 1): halfway it is 1/(e^(k/2) + 1), so k = 2·ln(2^n − 1)."""
    k = 2 * math.log1p(2 * math.expm1((n - 1) * math.log(2)))  # 2^n − 1 without its cancellation near n = 1
    return math.expm1(k * x) / math.expm1(k)


_HALVES: dict[PlanFamily, tuple[_Profile, _Profile]] = {
    "uniform": (_even, _even),
    "tds": (_power, _power),
    "trigonometric": (_cosine, _cosine),
    "exponential": (_exponential, _exponential),
    "late_only": (_power, _even),
    "early_only": (_even, _power),
}
"""The profiles of each family, late half and early half; the last two are tds with one half left uniform."""


def warp(u: float, family: PlanFamily, a: float, n: float) -> float:
    """Map u in [0,1] to f(u) in [0,1]: flat, so dense in timesteps, where the family is dense; n = 1 is the identity.

    a in (0,1) is where the early half ends and the late half begins, n in [1, MAX_N] how uneven the plan is.
    """
    late, early = _HALVES[family]
    if n == 1 or (late if u <= a else early) is _even:
        return u
    if u <= a:
        return a * late(u / a, n)
    return 1 - (1 - a) * early((1 - u) / (1 - a), n)


@lru_cache(maxsize=4096)
def make_plan(
    num_timesteps: int, num_steps: int, family: PlanFamily, a: float = 0.5, n: float = 2.0
) -> tuple[int, ...]:
    """Return `num_steps` strictly descending timesteps in [0, num_timesteps); no steps is the empty plan.

    The uniform plan is t_i = round(T·i/T') - 1 for i = T' … 1, which `diffusers` calls "trailing" spacing: it starts at
    pure noise and the step after its last entry is the clean image. The other families resample i/T' by `warp`.

    Raises SpecError if num_steps is outside [0, num_timesteps], a outside (0,1), n outside [1, MAX_N] or the family is
    none of ours.
    """
    if not 0 <= num_steps <= num_timesteps:
        raise SpecError(f"num_steps={num_steps}: need 0 to {num_timesteps}, the model's timesteps; choose fewer steps")
    if not (0 < a < 1 and 1 <= n <= MAX_N):
        raise SpecError(f"plan a={a}, n={n}: need 0 < a < 1 and 1 <= n <= {MAX_N:g}; correct plan.a or plan.n")
    if family not in _HALVES:
        raise SpecError(f"plan family={family}: need one of {', '.join(_HALVES)}; correct plan.family")

    def position(i: int) -> float:
        u = i / num_steps
        warped = warp(u, family, a, n)
        # T·i is exact, so a half is rounded as a half: T·u would tip it over
        return num_timesteps * i / num_steps if warped == u else num_timesteps * warped

    return _strictly_descending([round(position(i)) - 1 for i in range(num_steps, 0, -1)], num_timesteps)


def plan_table(
    num_timesteps: int, num_steps: int, family: PlanFamily, a_values: Sequence[float], n_values: Sequence[float]
) -> NDArray[np.int64]:
    """Return (num_steps, L) int64: column l is the plan of level l, so `table[k, level_map]` is step k's timestep map.

    Raises SpecError as `make_plan` does, and if the levels of a and n differ in number.
    """
    if len(a_values) != len(n_values):
        raise SpecError(
            f"{len(a_values)} values of a for {len(n_values)} of n: need one of each per level; add the rest"
        )
    plans = [make_plan(num_timesteps, num_steps, family, a, n) for a, n in zip(a_values, n_values, strict=True)]
    return np.array(plans, dtype=np.int64).reshape(len(plans), num_steps).T.copy()


def _strictly_descending(timesteps: list[int], num_timesteps: int) -> tuple[int, ...]:
    """Repair collisions after rounding by moving entries apart, never by dropping one."""
    num = len(timesteps)
    repaired: list[int] = []
    for k, t in enumerate(timesteps):
        room_below = num - 1 - k  # entries still to come need this many values under this one
        ceiling = (repaired[-1] if repaired else num_timesteps) - 1
        repaired.append(min(max(t, room_below), ceiling))
    return tuple(repaired)
