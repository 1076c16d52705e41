"""Promises of the rules that lead from one timestep to the next."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from resshift import FIGURES

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.diffusion.sampler import ddim_coefficients, ddim_step
from tss_ray.diffusion.transition import Ddim, ResidualShift, exponential_etas

KAPPA = 2.0
RULE = ResidualShift(exponential_etas(15, 0.3, 0.04, 0.99, KAPPA), KAPPA)


@pytest.mark.parametrize(("steps", "least_noise"), [(4, 0.2), (15, 0.04)])
def test_the_etas_are_those_of_the_original(steps: int, least_noise: float) -> None:
    """Recorded as `tests/unit/models/test_resshift_networks.py` says, from both published configurations."""
    etas = exponential_etas(steps, 0.3, least_noise, 0.99, KAPPA)
    assert np.allclose(etas.sqrt().numpy(), FIGURES[f"sqrt_etas_{steps}"], rtol=1e-12, atol=0)


def test_a_step_to_the_neighbour_is_the_paper_s_posterior() -> None:
    etas = RULE.etas.numpy()
    shares = np.diff(etas, prepend=0.0)
    table = RULE.coefficients(range(14, -1, -1), 0.0)[:-1].numpy()
    for row, t in zip(table, range(14, 0, -1), strict=True):
        variance = KAPPA**2 * etas[t - 1] / etas[t] * shares[t]
        assert np.allclose(row, [0, 1, etas[t - 1] / etas[t], shares[t] / etas[t], variance**0.5], rtol=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.sets(st.integers(0, 14), min_size=1))
def test_any_subset_of_the_timesteps_keeps_mean_and_variance_of_every_timestep(visited: set[int]) -> None:
    """With the true x0 = 0 and y = 1, x_t has the mean e and the variance k²·e, wherever it came from."""
    plan = sorted(visited, reverse=True)
    mean, variance = float(RULE.etas[plan[0]]), float(RULE.first_noise(plan[0])) ** 2
    for row, then in zip(RULE.coefficients(plan, 0.0).tolist(), [*plan[1:], None], strict=True):
        mean, variance = row[2] * mean, row[2] ** 2 * variance + row[4] ** 2
        expected = 0.0 if then is None else float(RULE.etas[then])
        assert mean == pytest.approx(expected, abs=1e-12)
        assert variance == pytest.approx(KAPPA**2 * expected, abs=1e-12)


def test_the_last_step_is_the_prediction_itself_without_noise() -> None:
    row = RULE.coefficients([7, 3], 1.0)[-1].float()
    x, prediction = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert row[-1] == 0
    assert torch.equal(ddim_step(x, prediction, None, row[:, None, None, None, None]), prediction)


def test_plans_side_by_side_are_each_their_own() -> None:
    plans = np.array([[14, 14], [9, 12], [2, 5]])
    together = RULE.coefficients(plans, (0.0, 0.5))
    for column in range(2):
        assert torch.equal(together[:, column], RULE.coefficients(plans[:, column], 0.0))
    assert torch.equal(RULE.first_noise(plans[0]), KAPPA * RULE.etas[[14, 14]].sqrt())


def test_ddim_is_the_sampler_s_and_begins_in_noise_alone() -> None:
    table = cosine_alphas_cumprod(50)
    rule, plan = Ddim(table, "v", 0.999), [49, 20, 3]
    assert torch.equal(rule.coefficients(plan, 0.3), ddim_coefficients(table, plan, 0.3, "v", 0.999))
    assert not rule.begins_at_lr
    assert torch.equal(rule.first_noise([49, 20]), torch.ones(2, dtype=torch.float64))
