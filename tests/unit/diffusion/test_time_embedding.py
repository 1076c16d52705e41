"""Promises of the spatial time embedding, on the networks of diffusers as they are."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from tss_ray.diffusion import time_embedding
from tss_ray.diffusion.time_embedding import SpatialTimeEmbedding
from tss_ray.errors import ModelError

SMALL: dict[str, Any] = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "in_channels": 3}
PLAIN = SMALL | {
    "out_channels": 3,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "add_attention": False,
}
CROSS = SMALL | {
    "out_channels": 3,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 6,
    "attention_head_dim": 4,
}
TEXT = {"encoder_hidden_states": torch.linspace(-1, 1, 2 * 5 * 6).reshape(2, 5, 6)}
LABELS = {"class_labels": torch.tensor([3, 9])}
NETWORKS: dict[str, tuple[type[nn.Module], dict[str, Any], dict[str, Any]]] = {
    "additive": (UNet2DModel, PLAIN, {}),
    "scale and shift": (UNet2DModel, PLAIN | {"resnet_time_scale_shift": "scale_shift"}, {}),
    "resampling by residual blocks": (
        UNet2DModel,
        PLAIN | {"downsample_type": "resnet", "upsample_type": "resnet"},
        {},
    ),
    "attention": (
        UNet2DModel,
        SMALL
        | {"out_channels": 3, "attention_head_dim": 4}
        | {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")},
        {},
    ),
    "classes": (UNet2DModel, PLAIN | {"num_class_embeds": 12}, LABELS),
    "classes as timesteps": (UNet2DModel, PLAIN | {"class_embed_type": "timestep"}, LABELS),
    "cross attention": (UNet2DConditionModel, CROSS, TEXT),
    "cross attention, scale and shift": (
        UNet2DConditionModel,
        CROSS | {"resnet_time_scale_shift": "scale_shift"},
        TEXT,
    ),
    "cross attention and classes": (UNet2DConditionModel, CROSS | {"num_class_embeds": 12}, TEXT | LABELS),
    "an activation after the sum": (UNet2DConditionModel, CROSS | {"time_embedding_act_fn": "silu"}, TEXT),
    "a condition of the time": (
        UNet2DConditionModel,
        CROSS | {"time_cond_proj_dim": 4},
        TEXT | {"timestep_cond": torch.ones(2, 4)},
    ),
    "added text and sizes": (
        UNet2DConditionModel,
        CROSS
        | {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 30,
        },
        TEXT | {"added_cond_kwargs": {"text_embeds": torch.ones(2, 6), "time_ids": torch.arange(12.0).reshape(2, 6)}},
    ),
}


def build(name: str) -> tuple[Any, dict[str, Any]]:
    family, settings, conditions = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return family(**settings).eval(), conditions


def sample(side: int = 16) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def random_levels(side: int = 16, num_levels: int = 4) -> Tensor:
    return torch.randint(0, num_levels, (2, side, side), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_a_constant_map_is_the_ordinary_forward(name: str) -> None:
    unet, conditions = build(name)
    spatial, x = SpatialTimeEmbedding(unet), sample()
    timesteps = torch.tensor([[700, 3, 41, 999], [8, 8, 500, 250]])
    for level in range(4):
        ordinary = unet(x, timesteps[:, level], return_dict=False, **conditions)[0]
        found = spatial(x, timesteps, torch.full((2, 16, 16), level), **conditions)
        assert torch.allclose(found, ordinary, atol=1e-5)
    # and a map whose levels differ in name only
    same = spatial(x, torch.tensor([[7] * 4, [90] * 4]), random_levels(), **conditions)
    assert torch.allclose(same, unet(x, torch.tensor([7, 90]), return_dict=False, **conditions)[0], atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_every_level_is_heard_and_a_level_that_no_position_has_is_not(name: str) -> None:
    unet, conditions = build(name)
    spatial, x, levels = SpatialTimeEmbedding(unet), sample(), random_levels(num_levels=3)
    timesteps = torch.tensor([[700, 3, 41, 999], [8, 30, 500, 250]])
    before = spatial(x, timesteps, levels, **conditions)
    for level in range(4):
        after = spatial(x, timesteps.index_fill(1, torch.tensor(level), 120), levels, **conditions)
        assert torch.equal(before, after) == (level == 3)


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_who_calls_the_network_directly_gets_the_ordinary_forward_to_the_bit(name: str) -> None:
    unet, conditions = build(name)
    x, t = sample(), torch.tensor([700, 8])
    names, before = list(unet.state_dict()), unet(x, t, return_dict=False, **conditions)[0]
    spatial = SpatialTimeEmbedding(unet)
    assert torch.equal(unet(x, t, return_dict=False, **conditions)[0], before)
    spatial(x, t[:, None].expand(2, 3), random_levels(num_levels=3), **conditions)
    assert torch.equal(unet(x, t, return_dict=False, **conditions)[0], before)
    assert list(unet.state_dict()) == names


@pytest.mark.parametrize("kind", ["default", "scale_shift"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@torch.inference_mode()
def test_each_position_of_a_block_takes_the_projection_of_its_own_timestep(
    kind: str, layout: torch.memory_format
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = ResnetBlock2D(in_channels=4, out_channels=8, temb_channels=6, groups=2, time_embedding_norm=kind).eval()
        x, embeddings = torch.randn(2, 4, 5, 7).contiguous(memory_format=layout), torch.randn(3, 2, 6)
    levels = random_levels()[:, :5, :7] % 3
    hidden = block.conv1(block.nonlinearity(block.norm1(x)))
    rows = block.time_emb_proj(block.nonlinearity(embeddings))  # (3,2,C)
    field = torch.zeros(2, rows.shape[-1], 5, 7)
    for b in range(2):
        for i in range(5):
            for j in range(7):
                field[b, :, i, j] = rows[levels[b, i, j], b]
    if kind == "default":
        hidden = block.norm2(hidden + field)
    else:
        scale, shift = field.chunk(2, 1)
        hidden = block.norm2(hidden) * (1 + scale) + shift
    expected = block.conv_shortcut(x) + block.conv2(block.nonlinearity(hidden))

    now = time_embedding._Present()
    time_embedding._attach(block, now)
    now.set(torch.zeros(2, 3, dtype=torch.long), levels)
    assert torch.allclose(block(x, embeddings), expected, atol=1e-5)


@torch.inference_mode()
def test_a_deeper_resolution_takes_the_rounded_mean_of_the_levels_that_it_covers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unet, _ = build("additive")
    spatial, seen, choice = SpatialTimeEmbedding(unet), {}, time_embedding._Present._choice

    def spy(now: Any, projected: Tensor) -> Tensor:
        seen[now._size] = choice(now, projected).argmax(-1).unflatten(1, now._size)
        return choice(now, projected)

    monkeypatch.setattr(time_embedding._Present, "_choice", spy)
    levels = torch.zeros(2, 16, 16, dtype=torch.long)
    levels[:, :, 7:] = 2  # the fourth pair of columns is one 0 and one 2
    spatial(sample(), torch.tensor([[900, 500, 100]] * 2), levels)
    assert seen.keys() == {(16, 16), (8, 8)}
    assert torch.equal(seen[16, 16], levels)
    assert seen[8, 8].tolist() == [[[0, 0, 0, 1, 2, 2, 2, 2]] * 8] * 2


@torch.inference_mode()
def test_a_side_that_the_network_does_not_halve_evenly_is_taken_too() -> None:
    unet, conditions = build("cross attention")
    x, t = sample(15), torch.tensor([[30, 30], [700, 700]])
    found = SpatialTimeEmbedding(unet)(x, t, random_levels(15, 2), **conditions)
    assert torch.allclose(found, unet(x, t[:, 0], return_dict=False, **conditions)[0], atol=1e-5)


@torch.inference_mode()
def test_in_bfloat16_and_channels_last_a_constant_map_is_the_ordinary_forward_to_its_precision() -> None:
    unet, _ = build("additive")
    unet = unet.to(torch.bfloat16, memory_format=torch.channels_last)
    x = sample().to(torch.bfloat16, memory_format=torch.channels_last)
    found = SpatialTimeEmbedding(unet)(x, torch.tensor([[30, 4], [700, 4]]), torch.zeros(2, 16, 16, dtype=torch.long))
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found, unet(x, torch.tensor([30, 700]), return_dict=False)[0], atol=0.02)


@torch.inference_mode()
def test_a_forward_that_fails_leaves_nothing_behind() -> None:
    unet, _ = build("additive")
    x, t = sample(), torch.tensor([700, 8])
    before = unet(x, t, return_dict=False)[0]
    spatial = SpatialTimeEmbedding(unet)
    with pytest.raises(RuntimeError):
        spatial(x[:, :2], t[:, None], torch.zeros(2, 16, 16, dtype=torch.long))
    assert torch.equal(unet(x, t, return_dict=False)[0], before)


@pytest.mark.parametrize(
    ("family", "settings", "told"),
    [
        (UNet2DModel, {"time_embedding_type": "fourier"}, "time_embedding_type=fourier"),
        (UNet2DModel, {"down_block_types": ("SkipDownBlock2D", "DownBlock2D")}, "SkipDownBlock2D"),
        (
            UNet2DConditionModel,
            {
                "class_embed_type": "projection",
                "projection_class_embeddings_input_dim": 4,
                "class_embeddings_concat": True,
            },
            "class_embeddings_concat=True",
        ),
        (UNet2DConditionModel, {"down_block_types": ("KDownBlock2D", "DownBlock2D")}, "KDownBlock2D"),
    ],
)
def test_a_network_of_another_form_is_refused_at_once_with_the_remedy(
    family: type[nn.Module], settings: dict[str, Any], told: str
) -> None:
    unet = family(**((PLAIN if family is UNet2DModel else CROSS) | settings))
    with pytest.raises(ModelError, match=rf"{told}.* has no spatial time embedding; set plan\.levels to 1"):
        SpatialTimeEmbedding(unet)


def test_a_residual_block_of_another_class_is_refused() -> None:
    class Ours(ResnetBlock2D):  # type: ignore[misc]
        pass

    unet, _ = build("additive")
    unet.mid_block.resnets[0] = Ours(in_channels=16, temb_channels=32, groups=4)
    with pytest.raises(ModelError, match="Ours"):
        SpatialTimeEmbedding(unet)


@pytest.mark.parametrize("kind", ["default", "scale_shift"])
def test_a_diffusers_whose_blocks_use_the_time_in_another_way_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = ResnetBlock2D.forward

    def other(block: Any, features: Tensor, temb: Tensor) -> Tensor:
        return forward(block, features, temb if temb.ndim == 2 else temb * 2)

    time_embedding._check_form.cache_clear()
    monkeypatch.setattr(ResnetBlock2D, "forward", other)
    with pytest.raises(ModelError, match=r"another way: this version of diffusers is not known here; install the one"):
        time_embedding._check_form(kind)
    time_embedding._check_form.cache_clear()


def test_indexing_in_another_way_is_refused() -> None:
    with pytest.raises(ModelError, match="this version of diffusers is not known"):
        time_embedding._Indexed(torch.zeros(1))[:, None]


def test_the_caller_s_random_numbers_are_left_alone() -> None:
    unet, _ = build("additive")
    time_embedding._check_form.cache_clear()
    before = torch.random.get_rng_state()
    SpatialTimeEmbedding(unet)
    assert torch.equal(torch.random.get_rng_state(), before)
