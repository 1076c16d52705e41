"""Promises of the prediction types."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.diffusion.prediction import PredictionType, add_noise, to_denoised, v_target


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
