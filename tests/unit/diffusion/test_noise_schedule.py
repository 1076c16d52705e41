"""Promises of the noise schedule."""

import pytest
import torch
from diffusers import DDIMScheduler

from tss_ray.diffusion.noise_schedule import beta_alphas_cumprod, cosine_alphas_cumprod, with_clean_end
from tss_ray.errors import SpecError


@pytest.mark.parametrize("num_timesteps", [2, 50, 1000])
def test_the_cosine_table_is_the_one_that_diffusers_computes(num_timesteps: int) -> None:
    theirs = DDIMScheduler(num_train_timesteps=num_timesteps, beta_schedule="squaredcos_cap_v2").alphas_cumprod
    # Theirs is a float32 product of up to 1000 factors, each rounded: 1e-4 of the value is what that leaves.
    assert torch.allclose(cosine_alphas_cumprod(num_timesteps).float(), theirs, rtol=1e-4, atol=0)


@pytest.mark.parametrize("num_timesteps", [2, 3, 50, 1000, 4000])
def test_the_table_is_float64_and_strictly_descending_inside_0_and_1(num_timesteps: int) -> None:
    table = cosine_alphas_cumprod(num_timesteps)
    assert table.dtype == torch.float64
    assert table.shape == (num_timesteps,)
    assert (table.diff() < 0).all()
    assert 0 < table[-1] < table[0] < 1


def test_golden_values_of_the_table() -> None:
    table = cosine_alphas_cumprod(1000)
    golden = torch.tensor([0.99995872, 0.49386077, 2.4288e-9], dtype=torch.float64)
    assert torch.allclose(table[[0, 499, 999]], golden, rtol=1e-4, atol=0)


def test_the_clean_end_is_exactly_1_and_the_table_before_it_is_untouched() -> None:
    table = cosine_alphas_cumprod(50)
    ended = with_clean_end(table)
    assert ended.dtype == torch.float64
    assert ended[-1] == 1
    assert torch.equal(ended[:-1], table)


@pytest.mark.parametrize("shift", [-1.4, 1.4])
def test_a_shift_is_added_to_the_log_of_the_signal_to_noise_ratio_everywhere(shift: float) -> None:
    plain, shifted = cosine_alphas_cumprod(1000), cosine_alphas_cumprod(1000, shift=shift)
    torch.testing.assert_close(torch.logit(shifted) - torch.logit(plain), torch.full_like(plain, shift))
    assert (shifted.diff() < 0).all()


@pytest.mark.parametrize("num_timesteps", [1, 0, -5])
def test_a_schedule_of_fewer_than_two_timesteps_is_refused(num_timesteps: int) -> None:
    with pytest.raises(SpecError, match="raise num_timesteps"):
        cosine_alphas_cumprod(num_timesteps)


@pytest.mark.parametrize("name", ["linear", "scaled_linear"])
def test_betas_give_the_table_of_diffusers(name: str) -> None:
    theirs = DDIMScheduler(beta_schedule=name, beta_start=0.00085, beta_end=0.012).alphas_cumprod
    ours = beta_alphas_cumprod(1000, 0.00085, 0.012, scaled=name == "scaled_linear")
    assert ours.dtype == torch.float64
    assert torch.allclose(ours.float(), theirs, atol=1e-6)


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.1), (0.2, 0.1), (0.1, 1.0)])
def test_betas_that_are_none_are_refused(start: float, end: float) -> None:
    with pytest.raises(SpecError, match="need 0 < start <= end < 1"):
        beta_alphas_cumprod(10, start, end, scaled=False)
