"""A plan beside the uniform one of as many steps, and as a table. Loads torch only where a schedule is asked for."""

import math
from dataclasses import dataclass

from rich.table import Table

from tss_ray.diffusion.timesteps import PlanFamily, make_plan
from tss_ray.errors import SpecError


@dataclass(frozen=True, slots=True)
class PlanSteps:
    """What is drawn and listed; both plans descend and have the same length, at least 1."""

    num_timesteps: int
    family: PlanFamily
    a: float
    n: float
    timesteps: tuple[int, ...]
    uniform: tuple[int, ...]

    @property
    def title(self) -> str:
        """The plan in a line, with its parameters where it has any."""
        bent = "" if self.family == "uniform" else f" (a = {self.a:g}, n = {self.n:g})"
        return f"{self.family}{bent}: {len(self.timesteps)} of {self.num_timesteps} timesteps"


def beside_uniform(num_timesteps: int, num_steps: int, family: PlanFamily, a: float, n: float) -> PlanSteps:
    """Make the plan and its uniform companion. Raises SpecError as `make_plan` does, and for no steps at all."""
    if num_steps == 0:
        raise SpecError("num_steps=0: the enlargement is left alone and nothing is visited; choose 1 step or more")
    timesteps = make_plan(num_timesteps, num_steps, family, a, n)
    return PlanSteps(num_timesteps, family, a, n, timesteps, make_plan(num_timesteps, num_steps, "uniform"))


def steps_table(steps: PlanSteps, schedule: str) -> Table:
    """Return a row per step: its timestep, the uniform plan's, the noise level √(1−ᾱ) in (0,1), ln SNR = ln(ᾱ/(1−ᾱ)).

    ᾱ is alphas_cumprod at the plan's own timestep. Raises SpecError for a schedule that no model has.
    """
    if schedule != "cosine":
        raise SpecError(f"schedule={schedule}: need cosine, the one that models have so far; correct it")
    from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod  # here: it loads torch

    alphas_cumprod = cosine_alphas_cumprod(steps.num_timesteps).tolist()
    table = Table(box=None, pad_edge=False)
    for name in ("step", "timestep", "uniform", "noise level", "ln SNR"):
        table.add_column(name, justify="right", style="dim" if name == "uniform" else None)
    for k, (t, even) in enumerate(zip(steps.timesteps, steps.uniform, strict=True), start=1):
        signal, noise = alphas_cumprod[t], 1 - alphas_cumprod[t]
        table.add_row(str(k), str(t), str(even), f"{math.sqrt(noise):.4f}", f"{math.log(signal / noise):+.2f}")
    return table
