"""LDM super-resolution: `LDMSuperResolutionPipeline` folders of `diffusers`, such as CompVis's of 4×.

Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (arXiv 2112.10752). A UNet2DModel sees
the noisy latent beside the low-resolution pixels, and a VQModel decodes; its latent is neither scaled nor shifted. What
the pipeline does was read from `diffusers` (Apache-2.0); tests compare with it.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tss_ray.models.base import LoadSettings
from tss_ray.models.diffusers_folder import DiffusersCard, open_folder
from tss_ray.models.latent import LatentUNet, load_component, read_latent_card

PIPELINE = "LDMSuperResolutionPipeline"
_COMPONENTS = ("scheduler", "unet", "vqvae")


def read_card(path: Path, allow_pickles: bool = False) -> DiffusersCard:
    """Return the card of a folder, its weights hashed but not loaded. Raises ModelError for what will not run."""
    folder = open_folder(path)
    unet, vqvae = folder.config("unet", "UNet2DModel"), folder.config("vqvae", "VQModel")
    vqvae = {"latent_channels": 3} | vqvae
    return read_latent_card(DiffusersCard, "ldm_sr", folder, _COMPONENTS, unet, vqvae, allow_pickles)


class LdmSuperResolution:
    """`SuperResolutionModel` over a folder."""

    def __init__(
        self, path: Path, card: DiffusersCard, device: torch.device, dtype: torch.dtype, settings: LoadSettings
    ) -> None:
        """Load the components. Raises ModelError if they do not fit their configurations."""
        from diffusers import UNet2DModel, VQModel  # here: importing them takes seconds

        self.card = card
        self.alphas_cumprod = card.schedule.alphas_cumprod(card.num_timesteps)
        folder = open_folder(path)
        unet = load_component(folder, "unet", UNet2DModel, settings.allow_pickles, dtype)
        self._channels = int(unet.config.out_channels)
        self._unet = LatentUNet(unet, device, dtype)
        vqvae = load_component(folder, "vqvae", VQModel, settings.allow_pickles)
        vqvae.encoder = None  # nothing here is ever encoded
        self._vqvae: Any = vqvae.to(device).eval()

    def latent_shape(self, tile_px: int) -> tuple[int, int, int]:
        """Return (channels, tile_px, tile_px)."""
        return self._channels, tile_px, tile_px

    def condition(self, lr: Tensor, noise: Tensor | None = None) -> Tensor:
        """Condition on the pixels as they are."""
        return lr

    @torch.inference_mode()
    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor, levels: Tensor | None = None) -> Tensor:
        """Predict what the scheduler's configuration says, as a rule eps."""
        return self._unet(torch.cat([x, condition], 1), timesteps, levels)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return pixels in [-1,1]; in float32, by way of the nearest codes."""
        decoded: Tensor = self._vqvae.decode(latents.contiguous(), return_dict=False)[0]
        return decoded.clamp(-1, 1)
