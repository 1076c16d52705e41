"""The embedded model: a small U-Net that denoises the residual between the photograph and its bicubic enlargement.

The latent of a tile is z0 = pixel_unshuffle((hr - upsample(lr)) / residual_scale, scale): 3·scale² channels at the
low resolution, so a forward costs what a low-resolution network costs and decoding is a pixel shuffle.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.diffusion.time_embedding import SpatialTimeEmbedding
from tss_ray.imaging.resample import upsample
from tss_ray.models.card import ModelCard


def build_unet(
    scale: int, block_out_channels: tuple[int, ...], layers_per_block: int, norm_num_groups: int
) -> nn.Module:
    """Return an untrained `diffusers` UNet2DModel of 3·scale² + 3 channels in, 3·scale² out, without attention."""
    from diffusers import UNet2DModel  # here: importing it takes seconds, and only who builds a network needs it

    depth = len(block_out_channels)
    unet: Any = UNet2DModel
    network: nn.Module = unet(
        in_channels=3 * scale**2 + 3,
        out_channels=3 * scale**2,
        block_out_channels=block_out_channels,
        layers_per_block=layers_per_block,
        norm_num_groups=norm_num_groups,
        down_block_types=("DownBlock2D",) * depth,
        up_block_types=("UpBlock2D",) * depth,
        add_attention=False,
    )
    return network


def residual_latent(hr: Tensor, lr: Tensor, scale: int, residual_scale: float) -> Tensor:
    """Return z0 (B,3·scale²,h,w) of hr (B,3,h·scale,w·scale) and lr (B,3,h,w), both in [-1,1]."""
    return functional.pixel_unshuffle((hr - upsample(lr, scale)) / residual_scale, scale)


def residual_pixels(z0: Tensor, scale: int, residual_scale: float) -> Tensor:
    """Invert `residual_latent` up to the enlargement: (B,3·scale²,h,w) -> (B,3,h·scale,w·scale), to be added to it."""
    return functional.pixel_shuffle(z0, scale) * residual_scale


class ResidualUNet:
    """`SuperResolutionModel` over `build_unet`."""

    def __init__(self, card: ModelCard, weights: dict[str, Tensor], device: torch.device, dtype: torch.dtype) -> None:
        """Take over the weights. Raises RuntimeError if they do not fit the card's network."""
        self.card = card
        self.alphas_cumprod = cosine_alphas_cumprod(card.num_timesteps)
        self._device, self._dtype = device, dtype
        shape = card.unet
        with torch.device("meta"):  # the random initialisation would be thrown away
            network = build_unet(card.scale, shape.block_out_channels, shape.layers_per_block, shape.norm_num_groups)
        network.load_state_dict({name: value.to(dtype) for name, value in weights.items()}, assign=True)
        self._network: Any = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._spatial = SpatialTimeEmbedding(self._network)

    def latent_shape(self, tile_px: int) -> tuple[int, int, int]:
        """Return (3·scale², tile_px, tile_px)."""
        return 3 * self.card.scale**2, tile_px, tile_px

    def condition(self, lr: Tensor) -> Tensor:
        """Condition on the pixels as they are."""
        return lr

    @torch.inference_mode()
    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor, levels: Tensor | None = None) -> Tensor:
        """Predict what the card's prediction_type says."""
        stacked = torch.cat([x, condition], 1).to(self._dtype, memory_format=torch.channels_last)
        if levels is not None:
            return self._spatial(stacked, timesteps, levels).float()
        return self._network(stacked, timesteps, return_dict=False)[0].float()  # type: ignore[no-any-return]

    def decode(self, latents: Tensor) -> Tensor:
        """Return the residual in pixels."""
        return residual_pixels(latents, self.card.scale, self.card.residual_scale)
