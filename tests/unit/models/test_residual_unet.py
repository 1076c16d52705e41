"""Promises of the embedded family."""

import torch

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.imaging.resample import upsample
from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.residual_unet import residual_latent, residual_pixels


def test_the_latent_holds_the_photograph_minus_its_enlargement_and_gives_it_back() -> None:
    generator = torch.Generator().manual_seed(0)
    lr = torch.rand(2, 3, 8, 12, generator=generator) * 2 - 1
    hr = torch.rand(2, 3, 32, 48, generator=generator) * 2 - 1
    z0 = residual_latent(hr, lr, 4, 0.1)
    assert z0.shape == (2, 48, 8, 12)
    assert torch.allclose(upsample(lr, 4) + residual_pixels(z0, 4, 0.1), hr, atol=1e-5)


def test_the_latent_of_an_enlargement_is_nothing() -> None:
    lr = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert not residual_latent(upsample(lr, 4), lr, 4, 0.1).any()


def test_shapes_and_types_are_those_of_the_protocol(tiny_model: SuperResolutionModel) -> None:
    assert tiny_model.latent_shape(16) == (48, 16, 16)
    x, lr = torch.zeros(3, 48, 16, 16), torch.zeros(3, 3, 16, 16)
    out = tiny_model.predict(x, tiny_model.condition(lr), torch.tensor([49, 7, 0]))
    assert (out.shape, out.dtype) == (x.shape, torch.float32)
    assert not out.requires_grad
    assert tiny_model.decode(x).shape == (3, 3, 64, 64)


def test_a_sample_s_prediction_depends_on_its_own_timestep_and_condition(tiny_model: SuperResolutionModel) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 48, 16, 16, generator=generator).expand(3, -1, -1, -1)
    lr = torch.rand(1, 3, 16, 16, generator=generator).repeat(3, 1, 1, 1)
    lr[2] *= -1
    first, second, third = tiny_model.predict(x, lr, torch.tensor([49, 3, 49]))
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, third)


def test_the_schedule_is_float64_and_as_long_as_the_card_says(tiny_model: SuperResolutionModel) -> None:
    assert torch.equal(tiny_model.alphas_cumprod, cosine_alphas_cumprod(50))


def test_a_map_of_one_level_is_the_ordinary_prediction(tiny_model: SuperResolutionModel) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 48, 16, 16, generator=generator)
    lr = torch.rand(2, 3, 16, 16, generator=generator)
    timesteps = torch.tensor([[49, 20, 3], [7, 7, 30]])
    for level in range(3):
        found = tiny_model.predict(x, lr, timesteps, torch.full((2, 16, 16), level))
        assert (found.shape, found.dtype) == (x.shape, torch.float32)
        assert torch.allclose(found, tiny_model.predict(x, lr, timesteps[:, level]), atol=1e-5)


def test_a_map_of_two_levels_is_neither_of_the_two(tiny_model: SuperResolutionModel) -> None:
    x, lr = torch.zeros(1, 48, 16, 16), torch.zeros(1, 3, 16, 16)
    levels = torch.zeros(1, 16, 16, dtype=torch.long)
    levels[..., 8:] = 1
    mixed = tiny_model.predict(x, lr, torch.tensor([[49, 3]]), levels)
    for t in (49, 3):
        assert not torch.allclose(mixed, tiny_model.predict(x, lr, torch.tensor([t])), atol=1e-3)
