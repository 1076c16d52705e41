"""Promises of the plan inspector's table."""

import math

import pytest
from rich.console import Console

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.errors import SpecError
from tss_ray.report.plan_steps import beside_uniform, steps_table


def test_a_row_holds_the_step_both_timesteps_and_the_noise_of_the_plan() -> None:
    steps = beside_uniform(1000, 7, "tds", 0.5, 2.0)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(steps_table(steps, "cosine"))
    header, *rows = capture.get().splitlines()
    assert header.split("  ") == ["step", "timestep", "uniform", "noise level", "ln SNR"]
    signal = cosine_alphas_cumprod(1000)[632].item()
    expected = ["4", "632", "570", f"{math.sqrt(1 - signal):.4f}", f"{math.log(signal / (1 - signal)):+.2f}"]
    assert rows[3].split() == expected
    assert [int(row.split()[1]) for row in rows] == list(steps.timesteps)


def test_the_title_names_the_parameters_of_a_bent_plan_only() -> None:
    assert beside_uniform(1000, 7, "tds", 0.4, 2.5).title == "tds (a = 0.4, n = 2.5): 7 of 1000 timesteps"
    assert beside_uniform(1000, 7, "uniform", 0.4, 2.5).title == "uniform: 7 of 1000 timesteps"


def test_no_steps_and_an_unknown_schedule_are_refused_with_the_remedy() -> None:
    with pytest.raises(SpecError, match="choose 1 step or more"):
        beside_uniform(1000, 0, "tds", 0.5, 2.0)
    with pytest.raises(SpecError, match="schedule=linear: need cosine"):
        steps_table(beside_uniform(1000, 2, "tds", 0.5, 2.0), "linear")
