"""Promises of the update rule, against the reference scheduler."""

import itertools

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.diffusion.prediction import PredictionType, add_noise, to_denoised, v_target
from tss_ray.diffusion.sampler import NUM_COEFFICIENTS, ddim_coefficients, ddim_step
from tss_ray.diffusion.timesteps import make_plan

TABLE = cosine_alphas_cumprod(1000)
THEIR_NAMES: dict[PredictionType, str] = {"v": "v_prediction", "eps": "epsilon", "x0": "sample"}


def column(row: Tensor) -> Tensor:
    return row.reshape(NUM_COEFFICIENTS, 1, 1, 1, 1)


def reference(prediction_type: PredictionType, num_steps: int) -> DDIMScheduler:
    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=THEIR_NAMES[prediction_type],
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        clip_sample=False,
    )
    scheduler.alphas_cumprod = TABLE  # ours in float64, or theirs in float32 would be all that is measured
    scheduler.set_timesteps(num_steps)
    return scheduler


# Only step counts that divide 1000: the scheduler takes t - 1000 // num_steps for the timestep before t, which for 7
# (and most others) is not the next one that it visits. Ours takes the next entry of the plan.
@pytest.mark.parametrize("num_steps", [1, 2, 4, 8, 10, 20])
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("prediction_type", ["v", "eps", "x0"])
def test_every_step_on_the_uniform_plan_is_the_one_of_diffusers(
    prediction_type: PredictionType, eta: float, num_steps: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=generator)
    scheduler, plan = reference(prediction_type, num_steps), make_plan(1000, num_steps, "uniform")
    coefficients = ddim_coefficients(TABLE, plan, eta, prediction_type)
    ours = theirs = torch.randn(x0.shape, dtype=torch.float64, generator=generator)
    for k, t in enumerate(plan):
        error = 0.1 * torch.randn(x0.shape, dtype=torch.float64, generator=generator)
        a = TABLE[t]
        eps = (theirs - a.sqrt() * x0) / (1 - a).sqrt()  # what a good network would say, and then not quite
        prediction = {"v": v_target(x0, eps, a), "eps": eps, "x0": x0}[prediction_type] + error
        noise = torch.randn(x0.shape, dtype=torch.float64, generator=generator)
        theirs = scheduler.step(prediction, t, theirs, eta=eta, variance_noise=noise if eta else None).prev_sample
        ours = ddim_step(ours, prediction, noise if eta else None, column(coefficients[k]))
        # 1e-6 of the value: an eps-model's first step divides by sqrt(2.4e-9).
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-6), (k, t)


@pytest.mark.parametrize("prediction_type", ["v", "eps", "x0"])
def test_a_perfect_network_ends_at_the_clean_image_on_any_plan(prediction_type: PredictionType) -> None:
    generator = torch.Generator().manual_seed(1)
    x0, x = torch.randn(2, 1, 3, 4, 4, dtype=torch.float64, generator=generator)
    plan = make_plan(1000, 7, "tds", 0.5, 2.0)
    coefficients = ddim_coefficients(TABLE, plan, 0.0, prediction_type)
    for t, row in zip(plan, coefficients, strict=True):
        eps = (x - TABLE[t].sqrt() * x0) / (1 - TABLE[t]).sqrt()
        prediction = {"v": v_target(x0, eps, TABLE[t]), "eps": eps, "x0": x0}[prediction_type]
        x = ddim_step(x, prediction, None, column(row))
    assert torch.allclose(x, x0, atol=1e-6)


@pytest.mark.parametrize("prediction_type", ["v", "eps", "x0"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_last_step_returns_the_denoised_image_and_adds_no_noise(
    prediction_type: PredictionType, eta: float
) -> None:
    plan = make_plan(1000, 7, "uniform")
    row = ddim_coefficients(TABLE, plan, eta, prediction_type)[-1]
    x, prediction, noise = torch.randn(3, 1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    denoised = to_denoised(prediction, x, TABLE[plan[-1]], prediction_type)
    assert torch.allclose(ddim_step(x, prediction, noise, column(row)), denoised, atol=1e-12)


def test_noise_is_put_back_so_that_the_variance_is_kept() -> None:
    plan = make_plan(1000, 10, "uniform")
    for eta in (0.0, 0.3, 1.0):
        rows = ddim_coefficients(TABLE, plan, eta, "x0")
        for row, (t, t_next) in zip(rows, itertools.pairwise(plan), strict=False):
            # x = sqrt(a)·x0 + sqrt(1-a)·eps: the part that is noise must have the variance 1 - a' afterwards
            kept = row[2] ** 2 * (1 - TABLE[t]) + row[4] ** 2
            assert kept.item() == pytest.approx(1 - TABLE[t_next].item(), rel=1e-9)


def test_slots_of_a_batch_take_their_own_coefficients() -> None:
    plan = make_plan(1000, 5, "uniform")
    rows = ddim_coefficients(TABLE, plan, 1.0, "v")
    x, prediction, noise = torch.randn(3, 5, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    batched = ddim_step(x, prediction, noise, rows.T.reshape(NUM_COEFFICIENTS, -1, 1, 1, 1))
    for k in range(5):
        alone = ddim_step(x[k : k + 1], prediction[k : k + 1], noise[k : k + 1], column(rows[k]))
        assert torch.equal(batched[k : k + 1], alone)


def test_coefficients_are_float64_even_of_a_float32_table_and_none_for_the_empty_plan() -> None:
    assert ddim_coefficients(TABLE.float(), (999, 3), 0.0, "v").dtype == torch.float64
    assert ddim_coefficients(TABLE, (), 0.0, "v").shape == (0, NUM_COEFFICIENTS)


def test_the_step_after_the_noisiest_start_is_the_same_through_add_noise() -> None:
    x0, eps = torch.randn(2, 1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    row = ddim_coefficients(TABLE, (700, 300), 0.0, "v")[0]
    x = add_noise(x0, eps, TABLE[700])
    assert torch.allclose(
        ddim_step(x, v_target(x0, eps, TABLE[700]), None, column(row)), add_noise(x0, eps, TABLE[300]), atol=1e-12
    )


def test_plans_side_by_side_have_the_coefficients_of_each_alone_to_the_bit() -> None:
    plans = np.stack([make_plan(1000, 6, "tds", 0.5, n) for n in (1, 2, 3.5)], 1)
    etas = (0.0, 0.5, 1.0)
    table = ddim_coefficients(TABLE, plans, etas, "v")
    assert table.shape == (6, 3, NUM_COEFFICIENTS)
    for level, eta in enumerate(etas):
        assert torch.equal(table[:, level], ddim_coefficients(TABLE, tuple(plans[:, level]), eta, "v"))
    assert torch.equal(ddim_coefficients(TABLE, plans, 0.5, "v")[:, 2], ddim_coefficients(TABLE, plans[:, 2], 0.5, "v"))
    assert ddim_coefficients(TABLE, np.zeros((0, 3), np.int64), 0.0, "v").shape == (0, 3, NUM_COEFFICIENTS)


def test_coefficients_per_position_advance_each_position_as_its_own() -> None:
    rows = ddim_coefficients(TABLE, make_plan(1000, 4, "uniform"), 1.0, "v")
    x, prediction, noise = torch.randn(3, 1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    maps = rows.T.reshape(NUM_COEFFICIENTS, 1, 1, 2, 2)
    mixed = ddim_step(x, prediction, noise, maps)
    for k in range(4):
        alone = ddim_step(x, prediction, noise, column(rows[k]))
        assert torch.equal(mixed[..., k // 2, k % 2], alone[..., k // 2, k % 2])
