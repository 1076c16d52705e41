"""Stable Diffusion's ×4 upscaler: `StableDiffusionUpscalePipeline` folders of `diffusers`.

A UNet2DConditionModel sees the noisy latent beside the low-resolution pixels with noise put on them, whose timestep is
its class label (noise conditioning augmentation: Ho et al., "Cascaded Diffusion Models", arXiv 2106.15282), and the
prompt by cross attention; an AutoencoderKL decodes. What the pipeline does was read from `diffusers` (Apache-2.0);
tests compare with it.
"""

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from tss_ray.diffusion.prediction import add_noise
from tss_ray.errors import ModelError, SpecError
from tss_ray.models.base import LoadSettings
from tss_ray.models.diffusers_folder import DiffusersCard, Folder, open_folder, read_noise
from tss_ray.models.latent import LatentUNet, load_component, read_latent_card
from tss_ray.models.prompts import Prompts, check_text_encoder

PIPELINE = "StableDiffusionUpscalePipeline"
_COMPONENTS = ("scheduler", "low_res_scheduler", "tokenizer", "text_encoder", "unet", "vae")
_LATENT_SCALE = 0.08333
"""What latents are divided by before decoding: the pipeline takes this number whatever the autoencoder's file says."""


class SdUpscalerCard(DiffusersCard):
    """The card of the family: it takes noise on its input, and a prompt."""

    max_noise_level: int = Field(ge=0)

    def check_noise_level(self, noise_level: int) -> None:
        """Raise SpecError above its most."""
        if noise_level > self.max_noise_level:
            raise SpecError(
                f"{self.model_id}: noise_level={noise_level} is above its {self.max_noise_level}; lower "
                "checkpoint.noise_level"
            )

    @property
    def takes_noisy_lr(self) -> bool:
        """See `condition`."""
        return True

    @property
    def steered_by(self) -> frozenset[str]:
        """The prompts by cross attention, the noise level as a class."""
        return frozenset({"prompt", "negative_prompt", "guidance_scale", "noise_level"})


def read_card(path: Path, allow_pickles: bool = False) -> SdUpscalerCard:
    """Return the card of a folder, its weights hashed but not loaded. Raises ModelError for what will not run."""
    folder = open_folder(path)
    check_text_encoder(folder)
    unet, vae = folder.config("unet", "UNet2DConditionModel"), folder.config("vae", "AutoencoderKL")
    num_timesteps, _ = read_noise(folder, "low_res_scheduler")
    most = min(int(folder.index.get("max_noise_level", 350)), num_timesteps - 1)
    if not unet.get("num_class_embeds"):
        raise ModelError(
            f"{path}: unet has no class embeddings for the noise level; this is another model, give another"
        )
    vae = {"latent_channels": 4} | vae
    return read_latent_card(
        SdUpscalerCard, "sd_upscaler", folder, _COMPONENTS, unet, vae, allow_pickles, max_noise_level=most
    )


class SdUpscaler:
    """`SuperResolutionModel` over a folder."""

    def __init__(
        self, path: Path, card: SdUpscalerCard, device: torch.device, dtype: torch.dtype, settings: LoadSettings
    ) -> None:
        """Load the components and encode the prompts; the text encoder is gone again after that.

        Raises ModelError if components do not fit their configurations, SpecError for a noise level above its most.
        """
        from diffusers import AutoencoderKL, UNet2DConditionModel  # here: importing them takes seconds

        card.check_noise_level(settings.noise_level)
        self.card = card
        self.alphas_cumprod = card.schedule.alphas_cumprod(card.num_timesteps)
        folder, pickles = open_folder(path), settings.allow_pickles
        self._lr_signal = _signal(folder, settings.noise_level)
        self._prompts = Prompts(folder, settings, device, dtype)
        unet = load_component(folder, "unet", UNet2DConditionModel, pickles, dtype)
        self._channels = int(unet.config.out_channels)
        self._unet = LatentUNet(unet, device, dtype)
        self._label = torch.tensor([settings.noise_level], device=device)
        vae = load_component(folder, "vae", AutoencoderKL, pickles)
        vae.encoder = None  # nothing here is ever encoded
        self._vae: Any = vae.to(device).eval()

    def latent_shape(self, tile_px: int) -> tuple[int, int, int]:
        """Return (channels, tile_px, tile_px)."""
        return self._channels, tile_px, tile_px

    def condition(self, lr: Tensor, noise: Tensor | None = None) -> Tensor:
        """Put noise of the level's strength on the pixels; none is added where none is given."""
        return add_noise(lr, torch.zeros_like(lr) if noise is None else noise, self._lr_signal)

    @torch.inference_mode()
    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor, levels: Tensor | None = None) -> Tensor:
        """Predict what the scheduler's configuration says, v or eps; with guidance as two samples for each."""
        stacked = self._prompts.spread(torch.cat([x, condition], 1))
        output = self._unet(
            stacked,
            self._prompts.spread(timesteps),
            None if levels is None else self._prompts.spread(levels),
            encoder_hidden_states=self._prompts.embedded(len(x)),
            class_labels=self._label.expand(len(stacked)),
        )
        return self._prompts.guided(output)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return pixels in [-1,1]; in float32, since the autoencoder overflows in half precision."""
        decoded: Tensor = self._vae.decode(latents.contiguous() / _LATENT_SCALE, return_dict=False)[0]
        return decoded.clamp(-1, 1)


def _signal(folder: Folder, noise_level: int) -> Tensor:
    """Return alphas_cumprod of the noise on the low-resolution pixels, float32, one value on the CPU."""
    num_timesteps, schedule = read_noise(folder, "low_res_scheduler")
    return schedule.alphas_cumprod(num_timesteps)[noise_level].float()
