"""Promises of the prediction types."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.diffusion.prediction import PredictionType, add_noise, precondition, to_denoised, v_target


@pytest.mark.parametrize("prediction_type", ["v", "eps", "x0"])
@settings(deadline=None)
@given(st.floats(1e-6, 1 - 1e-6), st.integers(0, 1000))
def test_the_true_prediction_gives_the_clean_image_back(
    prediction_type: PredictionType, level: float, seed: int
) -> None:
    a = torch.tensor(level, dtype=torch.float64)
    x0, eps = torch.randn(2, 1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    prediction = {"v": v_target(x0, eps, a), "eps": eps, "x0": x0}[prediction_type]
    assert torch.allclose(to_denoised(prediction, add_noise(x0, eps, a), a, prediction_type), x0, atol=1e-9)


def test_levels_may_differ_between_samples_and_positions() -> None:
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64, generator=generator)
    for shape in ((2, 1, 1, 1), (2, 1, 4, 4)):
        a = torch.rand(shape, dtype=torch.float64, generator=generator)
        assert torch.allclose(to_denoised(v_target(x0, eps, a), add_noise(x0, eps, a), a, "v"), x0)


def test_with_an_answer_of_nothing_the_preconditioned_estimate_is_the_best_linear_one() -> None:
    """Over latents of spread s: its error is what theory says, and no other multiple of x_t does better."""
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 200_000, dtype=torch.float64, generator=generator)
    s, a = 0.3, torch.tensor(0.4, dtype=torch.float64)
    x_t = add_noise(s * x0, eps, a)
    estimate = precondition(torch.zeros_like(x_t), torch.full_like(x_t, s).log(), x_t, a)
    error = ((estimate - s * x0) ** 2).mean()
    assert torch.isclose(error, s**2 * (1 - a) / (a * s**2 + 1 - a), rtol=0.02)
    assert all(((factor * estimate - s * x0) ** 2).mean() > error for factor in (0.9, 1.1))


def test_the_preconditioned_answer_is_in_units_of_what_is_left_open() -> None:
    s, a = torch.tensor([0.1, 1.0, 4.0], dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    nothing = torch.zeros(3, dtype=torch.float64)
    unit = precondition(nothing + 1, s.log(), nothing, a)
    assert torch.allclose(unit, s * (1 - a).sqrt() / (a * s**2 + 1 - a).sqrt())
