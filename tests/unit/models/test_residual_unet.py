"""Promises of the embedded family."""

import pytest
import torch
from tiny import TINY_UNET
from torch import nn

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.imaging.resample import upsample
from tss_ray.models.base import SuperResolutionModel
from tss_ray.models.card import ResidualUNetCard, UNetShape
from tss_ray.models.residual_unet import (
    ChannelNorm,
    ResidualUNet,
    SteadyLinear,
    build_unet,
    make_condition,
    read_output,
    residual_latent,
    residual_pixels,
)


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


def test_a_channel_norm_sees_one_position_at_a_time() -> None:
    norm = ChannelNorm(8)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 8, 4, 4, generator=generator) * 5 + 2
    normed = norm(x)
    assert torch.allclose(normed.mean(1), torch.zeros(1, 4, 4), atol=1e-6)
    assert torch.allclose(normed.std(1, correction=0), torch.ones(1, 4, 4), atol=1e-4)
    x[..., 0, 0] = 100
    assert torch.equal(norm(x)[..., 1:, 1:], normed[..., 1:, 1:])


def test_channel_norms_take_the_place_and_the_names_of_group_norms() -> None:
    shape = UNetShape.model_validate(TINY_UNET)
    group, channel = (build_unet(4, shape.model_copy(update={"norm": norm})) for norm in ("group", "channel"))
    assert not any(isinstance(module, torch.nn.GroupNorm) for module in channel.modules())
    assert {name: value.shape for name, value in group.state_dict().items()} == {
        name: value.shape for name, value in channel.state_dict().items()
    }


def test_with_channel_norms_a_far_change_of_a_tile_changes_nothing() -> None:
    def answer(norm: str, lr: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        network = build_unet(4, UNetShape.model_validate(TINY_UNET | {"norm": norm, "preconditioned": True}))
        with torch.no_grad():
            return network(torch.cat([torch.zeros(1, 48, 64, 64), lr], 1), 7).sample[..., :8, :8]

    lr = torch.rand(1, 6, 64, 64, generator=torch.Generator().manual_seed(4))
    other = lr.clone()
    other[..., 48:, 48:] = 9
    assert torch.allclose(answer("channel", lr), answer("channel", other), atol=1e-6)
    assert not torch.allclose(answer("group", lr), answer("group", other), atol=1e-3)


def test_the_condition_of_a_preconditioned_network_holds_the_detail_in_units_of_the_residual() -> None:
    shape = UNetShape(preconditioned=True)
    lr = torch.full((1, 3, 8, 8), 0.3)
    assert torch.allclose(make_condition(lr, shape, 0.1)[:, 3:], torch.zeros(1, 3, 8, 8), atol=1e-5)
    lr[..., 4, 4] = 0.55
    condition = make_condition(lr, shape, 0.1)
    assert torch.equal(condition[:, :3], lr)
    assert torch.allclose(condition[:, 3:, 4, 4], torch.full((1, 3), 0.25 * 24 / 25 / 0.1), atol=1e-4)
    assert make_condition(lr, UNetShape(), 0.1) is lr


def test_a_preconditioned_model_passes_no_noise_on_where_it_expects_nothing() -> None:
    shape, x = UNetShape(preconditioned=True), torch.randn(1, 48, 4, 4, generator=torch.Generator().manual_seed(5))
    a = torch.tensor(0.5)
    flat = torch.cat([torch.ones_like(x), torch.full_like(x, -9.0)], 1)
    assert read_output(flat, x, a, shape).abs().max() < 0.01
    wide = torch.cat([torch.zeros_like(x), torch.full_like(x, 3.0)], 1)
    assert torch.allclose(read_output(wide, x, a, shape), x / a.sqrt(), rtol=0.01)
    assert torch.equal(read_output(x, x, a, UNetShape()), x)


def test_a_preconditioned_model_reads_each_position_at_its_own_timestep(tiny_model: SuperResolutionModel) -> None:
    shape = UNetShape.model_validate(TINY_UNET | {"norm": "channel", "preconditioned": True})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = build_unet(4, shape).state_dict()
    card = tiny_model.card.model_copy(update={"unet": shape, "prediction_type": "x0"})
    model = ResidualUNet(card, weights, torch.device("cpu"), torch.float32)
    generator = torch.Generator().manual_seed(6)
    x, lr = torch.randn(2, 48, 64, 64, generator=generator), torch.rand(2, 3, 64, 64, generator=generator)
    condition, timesteps = model.condition(lr), torch.tensor([[49, 20], [7, 30]])
    levels = torch.zeros(2, 64, 64, dtype=torch.long)
    levels[..., 32:] = 1
    mixed = model.predict(x, condition, timesteps, levels)
    for level, far in ((0, slice(0, 12)), (1, slice(-12, None))):  # hardly in reach of the other half
        alone = model.predict(x, condition, timesteps[:, level])
        constant = model.predict(x, condition, timesteps, torch.full_like(levels, level))
        assert torch.allclose(constant, alone, atol=1e-5)
        assert torch.allclose(mixed[..., far], alone[..., far], atol=1e-3)
        assert not torch.allclose(mixed, alone, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_of_a_steady_linear_has_the_same_bits_whatever_is_beside_it(dtype: torch.dtype) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = nn.Linear(384, 512).to(dtype)
    x = torch.randn(8, 384, generator=torch.Generator().manual_seed(1)).to(dtype)
    steady, full = SteadyLinear(plain), plain(x)
    for size in (1, 2, 3, 4, 8):
        for start in range(0, 8, size):
            assert torch.equal(steady(x[start : start + size]), full[start : start + size])
    assert steady(x.reshape(2, 4, 384)).shape == (2, 4, 512)  # levels before samples, as a timestep map has them
    assert steady.state_dict().keys() == plain.state_dict().keys()


def test_a_compiled_model_predicts_what_the_plain_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "compile", lambda network, **options: asked.append(options) or network)
    shape = UNetShape.model_validate(TINY_UNET)
    weights = build_unet(4, shape).state_dict()
    card = ResidualUNetCard.model_construct(
        scale=4, num_timesteps=50, residual_scale=0.1, prediction_type="v", unet=shape, model_id="tiny"
    )
    plain, compiled = (ResidualUNet(card, weights, torch.device("cpu"), torch.float32, on) for on in (False, True))
    assert asked == [{"dynamic": True, "mode": None}]  # one code for all shapes: bits must not follow the first one
    x, lr = torch.ones(2, 48, 16, 16), torch.zeros(2, 3, 16, 16)
    assert torch.equal(*(m.predict(x, m.condition(lr), torch.tensor([3, 4])) for m in (plain, compiled)))
