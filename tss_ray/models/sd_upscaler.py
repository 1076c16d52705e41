"""Stable Diffusion's ×4 upscaler: `StableDiffusionUpscalePipeline` folders of `diffusers`.

A UNet2DConditionModel sees the noisy latent beside the low-resolution pixels with noise put on them, whose timestep is
its class label (noise conditioning augmentation: Ho et al., "Cascaded Diffusion Models", arXiv 2106.15282), and the
prompt by cross attention; an AutoencoderKL decodes. Guidance is Ho & Salimans, "Classifier-Free Diffusion Guidance"
(arXiv 2207.12598). What the pipeline does was read from `diffusers` (Apache-2.0); tests compare with it.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tss_ray.diffusion.prediction import add_noise
from tss_ray.errors import ModelError
from tss_ray.models.base import LoadSettings
from tss_ray.models.diffusers_folder import DiffusersCard, Folder, open_folder, read_noise
from tss_ray.models.latent import LatentUNet, load_component, read_latent_card

PIPELINE = "StableDiffusionUpscalePipeline"
_COMPONENTS = ("scheduler", "low_res_scheduler", "tokenizer", "text_encoder", "unet", "vae")
_LATENT_SCALE = 0.08333
"""What latents are divided by before decoding: the pipeline takes this number whatever the autoencoder's file says."""
_NEEDS = "pip install 'tss-ray[models]'"


class SdUpscalerCard(DiffusersCard):
    """The card of the family: it takes noise on its input, and a prompt."""

    @property
    def takes_noisy_lr(self) -> bool:
        """See `condition`."""
        return True

    @property
    def takes_prompt(self) -> bool:
        """By cross attention."""
        return True


def read_card(path: Path, allow_pickles: bool = False) -> SdUpscalerCard:
    """Return the card of a folder, its weights hashed but not loaded. Raises ModelError for what will not run."""
    if find_spec("transformers") is None:  # asked here, before a job begins
        raise ModelError(f"{path} has a text encoder, which needs transformers; {_NEEDS}")
    folder = open_folder(path)
    unet, vae = folder.config("unet", "UNet2DConditionModel"), folder.config("vae", "AutoencoderKL")
    folder.config("text_encoder", "CLIPTextModel")
    read_noise(folder, "low_res_scheduler")
    if not unet.get("num_class_embeds"):
        raise ModelError(
            f"{path}: unet has no class embeddings for the noise level; this is another model, give another"
        )
    vae = {"latent_channels": 4} | vae
    return read_latent_card(SdUpscalerCard, "sd_upscaler", folder, _COMPONENTS, unet, vae, allow_pickles)


class SdUpscaler:
    """`SuperResolutionModel` over a folder."""

    def __init__(
        self, path: Path, card: DiffusersCard, device: torch.device, dtype: torch.dtype, settings: LoadSettings
    ) -> None:
        """Load the components and encode the prompts; the text encoder is gone again after that.

        Raises ModelError if components do not fit their configurations, or the noise level has no class.
        """
        from diffusers import AutoencoderKL, UNet2DConditionModel  # here: importing them takes seconds

        self.card = card
        self.alphas_cumprod = card.schedule.alphas_cumprod(card.num_timesteps)
        folder, pickles = open_folder(path), settings.allow_pickles
        self._lr_signal = _signal(folder, settings.noise_level)
        self._text = encode_prompts(folder, settings).to(device, dtype)
        self._guidance = settings.guidance_scale
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
        num, stacked = len(x), torch.cat([x, condition], 1)
        if len(self._text) == 2:
            stacked, timesteps = stacked.repeat(2, 1, 1, 1), timesteps.repeat(2, *[1] * (timesteps.dim() - 1))
            levels = None if levels is None else levels.repeat(2, 1, 1)
        output = self._unet(
            stacked,
            timesteps,
            levels,
            encoder_hidden_states=self._text.repeat_interleave(num, 0),
            class_labels=self._label.expand(len(stacked)),
        )
        if len(self._text) == 1:
            return output
        away, towards = output.chunk(2)
        return away + self._guidance * (towards - away)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return pixels in [-1,1]; in float32, since the autoencoder overflows in half precision."""
        decoded: Tensor = self._vae.decode(latents.contiguous() / _LATENT_SCALE, return_dict=False)[0]
        return decoded.clamp(-1, 1)


def encode_prompts(folder: Folder, settings: LoadSettings) -> Tensor:
    """Return (1,N,D) float32 of the prompt, or (2,N,D) of negative prompt and prompt where guidance tells them apart.

    Raises ModelError if what it reads is missing or damaged.
    """
    from transformers import CLIPTextModel, CLIPTokenizer  # here: an extra, and seconds to import
    from transformers.utils import logging as their_logging

    their_logging.disable_progress_bar()  # the terminal is the command line's
    weights = folder.weights("text_encoder", settings.allow_pickles)
    try:
        tokenizer: Any = CLIPTokenizer.from_pretrained(folder.path / "tokenizer", local_files_only=True)
        encoder, found = CLIPTextModel.from_pretrained(
            folder.path / "text_encoder",
            dtype=torch.float32,
            use_safetensors=not weights.is_pickle,
            variant=weights.variant,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # files from anywhere, read by other libraries: they raise what they like
        told = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder.path}: the text encoder cannot be loaded: {told}; fetch the model again") from error
    missing = [name for name in found["missing_keys"] if "position_ids" not in name]
    if missing or found["mismatched_keys"]:
        raise ModelError(
            f"the weights in {folder.path / 'text_encoder'} are not of the network that its config.json describes: "
            f"{', '.join(map(str, [*missing, *found['mismatched_keys']][:3]))}; fetch the model again"
        )
    is_guided = settings.guidance_scale > 1 and settings.prompt != settings.negative_prompt
    prompts = [settings.negative_prompt, settings.prompt] if is_guided else [settings.prompt]
    tokens = tokenizer(
        prompts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    mask = tokens.attention_mask if getattr(encoder.config, "use_attention_mask", False) else None
    with torch.inference_mode():
        embedded: Tensor = encoder.eval()(tokens.input_ids, attention_mask=mask)[0]
    return embedded


def _signal(folder: Folder, noise_level: int) -> Tensor:
    """Return alphas_cumprod of the noise on the low-resolution pixels, float32, one value on the CPU."""
    num_timesteps, schedule = read_noise(folder, "low_res_scheduler")
    most = min(int(folder.index.get("max_noise_level", 350)), num_timesteps - 1)
    if noise_level > most:
        raise ModelError(f"{folder.path}: noise_level={noise_level} is above its {most}; lower checkpoint.noise_level")
    return schedule.alphas_cumprod(num_timesteps)[noise_level].float()
