"""Promises of ResShift's networks: what they compute, and what their weights are called, is what the original does.

The figures were recorded from github.com/zsyOAOA/ResShift (S-Lab License 1.0; arXiv 2307.12348, 2403.07319) at commit
3ce1d81, run as it is on a CPU in float32 with torch 2.15 and timm 1.0, without xformers. To record again:

- Its UNetModelSwin and VQModelTorch are made with UNET and VQ of `tests/resshift.py`; each of their parameters is set
  to what `named_weights` gives for its name; what they derive themselves (relative_position_index, attn_mask) stays.
- unet_*, encoded, decoded: one forward, encode or decode of what the tests below give, every second pixel of the
  network's answer and every fourth of the decoder's.
- sqrt_etas_*: of its create_gaussian_diffusion with DIFFUSION and the steps and min_noise_level that the tests name.
- loop_N_of_T: p_sample_loop of the same, timestep_respacing=N where N < T, clip_denoised=False as its sampler has it
  beside an autoencoder, y and the model's lq the pixels of `test_resshift.py` / 127.5 - 1, torch.randn_like replaced by
  `drawn` of "noise k" at its k-th call, counted from 0, the first being the prior's; clamped to [-1,1], every fourth
  pixel. Made again on another day they differed by 3e-6 at most.
"""

import numpy as np
import pytest
import torch
from resshift import FIGURES, VQ, drawn, state_of, unet_shape
from torch import Tensor

from tss_ray.models.swin_unet import SwinUNet, SwinUNetShape, own_weights
from tss_ray.models.vq_autoencoder import VqAutoencoder, VqShape


def named(name: str, *shape: int) -> Tensor:
    return torch.from_numpy(drawn(name, *shape))


@pytest.fixture(scope="module")
def unet() -> SwinUNet:
    network = SwinUNet(unet_shape())
    network.load_state_dict(state_of(network))
    return network.eval()


@pytest.fixture(scope="module")
def vq() -> VqAutoencoder:
    network = VqAutoencoder(VqShape(**VQ))
    network.load_state_dict(state_of(network))
    return network.eval()


@pytest.mark.parametrize(("name", "size", "timesteps"), [("trained", (16, 16), [3, 0]), ("wider", (16, 32), [49, 7])])
@torch.no_grad()
def test_the_network_paints_what_the_original_paints(
    unet: SwinUNet, name: str, size: tuple[int, int], timesteps: list[int]
) -> None:
    x, lr = named(f"x {name}", 2, 3, *size), named(f"lq {name}", 2, 3, *size) / 2
    found = unet(x, lr, torch.tensor(timesteps))[:, :, ::2, ::2].numpy()
    assert np.abs(found - FIGURES[f"unet_{name}"]).max() < 1e-4


@torch.no_grad()
def test_the_autoencoder_encodes_and_decodes_as_the_original_does(vq: VqAutoencoder) -> None:
    assert np.abs(vq.encode(named("pixels", 1, 3, 64, 32) / 2).numpy() - FIGURES["encoded"]).max() < 1e-4
    found = vq.decode(named("latents", 1, 3, 16, 8))[:, :, ::4, ::4].numpy()
    assert np.abs(found - FIGURES["decoded"]).max() < 1e-4


@torch.no_grad()
def test_a_constant_map_of_levels_is_the_ordinary_forward_and_others_are_not(unet: SwinUNet) -> None:
    x, lr = named("x", 2, 3, 16, 16), named("lr", 2, 3, 16, 16)
    ordinary = unet(x, lr, torch.tensor([40, 7]))
    timesteps, levels = torch.tensor([[40, 3], [7, 30]]), torch.zeros(2, 16, 16, dtype=torch.long)
    assert torch.allclose(unet(x, lr, timesteps, levels), ordinary, atol=1e-5)
    levels[:, 8:] = 1
    assert not torch.allclose(unet(x, lr, timesteps, levels), ordinary, atol=1e-3)


def test_the_parameters_are_called_and_shaped_as_in_the_published_checkpoints() -> None:
    """Some of the names of the official network of 15 and of 4 steps, and how many parameters both parts have."""
    shape = SwinUNetShape(
        image_size=64, in_channels=3, model_channels=160, out_channels=3, attention_resolutions=(64, 32, 16, 8),
        channel_mult=(1, 2, 2, 4), num_res_blocks=(2, 2, 2, 2), num_head_channels=32, use_scale_shift_norm=True,
        swin_depth=2, swin_embed_dim=192, window_size=8, mlp_ratio=4, lq_size=64,
    )  # fmt: skip
    ddconfig = VQ["ddconfig"] | {"ch": 128, "ch_mult": (1, 2, 4), "num_res_blocks": 2}
    vq = VqShape(embed_dim=3, n_embed=8192, ddconfig=ddconfig)
    with torch.device("meta"):
        unet, autoencoder = SwinUNet(shape), VqAutoencoder(vq)
    names = {**unet.state_dict(), **autoencoder.state_dict()}
    expected = {
        "time_embed.2.weight": (640, 640),
        "input_blocks.0.0.weight": (160, 6, 3, 3),
        "input_blocks.1.1.blocks.1.attn.relative_position_bias_table": (225, 6),
        "input_blocks.3.0.op.weight": (160, 160, 3, 3),
        "middle_block.1.patch_embed.proj.weight": (192, 640, 1, 1),
        "output_blocks.2.1.conv.weight": (640, 640, 3, 3),
        "output_blocks.11.0.skip_connection.weight": (160, 320, 1, 1),
        "encoder.down.0.downsample.conv.weight": (128, 128, 3, 3),
        "decoder.up.2.upsample.conv.weight": (512, 512, 3, 3),
        "decoder.mid.attn_1.proj_out.weight": (512, 512, 1, 1),
        "quantize.embedding.weight": (8192, 3),
    }
    assert {name: tuple(names[name].shape) for name in expected} == expected
    assert sum(value.numel() for value in unet.state_dict().values()) == 118_593_583
    assert sum(value.numel() for value in autoencoder.state_dict().values()) == 55_322_782
    assert (len(unet.state_dict()), len(autoencoder.state_dict())) == (540, 205)
    assert shape.size_multiple == 64


def test_what_trainers_wrap_around_weights_is_taken_off() -> None:
    tensor = torch.zeros(1)
    state = {"state_dict": {"module._orig_mod.out.0.weight": tensor, "middle_block.1.blocks.1.attn_mask": tensor}}
    assert own_weights(state) == {"out.0.weight": tensor}
