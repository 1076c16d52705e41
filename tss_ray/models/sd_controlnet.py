"""Stable Diffusion with a ControlNet that sees the enlarged tile: `StableDiffusionControlNetPipeline` of `diffusers`.

The family that StableSR, PASD and SUPIR belong to, in its plainest form: a ControlNet (Zhang et al., "Adding
Conditional Control to Text-to-Image Diffusion Models", arXiv 2302.05543) trained on tiles adds its residuals to a U-Net
at each resolution. It sees the low-resolution tile, enlarged bicubically to the size of the result; the latent is an
eighth of the result, so half of the tile, where autoencoders reduce by 8. The model itself has no scale; 4 is ours.
What the pipeline does was read from `diffusers` (Apache-2.0); tests compare with it. Colours drift in this family; the
job's wavelet correction, the default for all families, takes care of them (see `imaging.correct`).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tss_ray.errors import ModelError
from tss_ray.imaging.resample import upsample
from tss_ray.models.base import LoadSettings
from tss_ray.models.diffusers_folder import DiffusersCard, open_folder
from tss_ray.models.latent import LatentUNet, load_component, read_latent_card, reduction
from tss_ray.models.prompts import Prompts, check_text_encoder

PIPELINES = ("StableDiffusionControlNetPipeline", "StableDiffusionControlNetImg2ImgPipeline")
"""Folders of both hold the same; what the second adds, a start from another picture, is not used."""
_COMPONENTS = ("scheduler", "tokenizer", "text_encoder", "unet", "controlnet", "vae")
_SCALE = 4
_SAME = ("cross_attention_dim", "block_out_channels", "layers_per_block")
"""In what a ControlNet must be like the U-Net that it adds to."""
_FOREIGN = ("num_class_embeds", "class_embed_type", "addition_embed_type", "encoder_hid_dim", "time_cond_proj_dim")
"""What other models embed, for which nothing here stands."""


class SdControlNetCard(DiffusersCard):
    """The card of the family: it takes a prompt, and knows of no noise on its input."""

    @property
    def steered_by(self) -> frozenset[str]:
        """The prompts by cross attention, in both networks."""
        return frozenset({"prompt", "negative_prompt", "guidance_scale", "controlnet_conditioning_scale"})


def read_card(path: Path, allow_pickles: bool = False) -> SdControlNetCard:
    """Return the card of a folder, its weights hashed but not loaded. Raises ModelError for what will not run."""
    folder = open_folder(path)
    text = check_text_encoder(folder)
    if not (path / "controlnet").is_dir():
        raise ModelError(f"{path / 'controlnet'} is missing; fetch the model again, all of its folders")
    unet, vae = folder.config("unet", "UNet2DConditionModel"), folder.config("vae", "AutoencoderKL")
    controlnet = folder.config("controlnet", "ControlNetModel")
    vae = {"latent_channels": 4} | vae
    _check_fit(path, unet, controlnet, vae)
    if (width := text.get("hidden_size")) != unet.get("cross_attention_dim"):
        raise _unfit(
            path, "text_encoder has hidden_size", width, "unet cross_attention_dim", unet, "cross_attention_dim"
        )
    return read_latent_card(
        SdControlNetCard,
        "sd_controlnet",
        folder,
        _COMPONENTS,
        unet,
        vae,
        allow_pickles,
        channels_beside=0,
        scale=_SCALE,
    )


class SdControlNet:
    """`SuperResolutionModel` over a folder."""

    def __init__(
        self, path: Path, card: DiffusersCard, device: torch.device, dtype: torch.dtype, settings: LoadSettings
    ) -> None:
        """Load the components and encode the prompts; the text encoder is gone again after that.

        Raises ModelError if components do not fit their configurations.
        """
        from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel  # here: importing them takes seconds

        self.card = card
        self.alphas_cumprod = card.schedule.alphas_cumprod(card.num_timesteps)
        folder, pickles = open_folder(path), settings.allow_pickles
        self._prompts = Prompts(folder, settings, device, dtype)
        unet = load_component(folder, "unet", UNet2DConditionModel, pickles, dtype)
        self._channels, self._dtype = int(unet.config.out_channels), dtype
        self._unet = LatentUNet(unet, device, dtype)
        self._strength = settings.controlnet_conditioning_scale
        controlnet: Any = load_component(folder, "controlnet", ControlNetModel, pickles, dtype)
        self._embed: Any = controlnet.controlnet_cond_embedding.to(device).eval()
        controlnet.controlnet_cond_embedding = torch.nn.Identity()  # it gets what is embedded once, at the beginning
        self._controlnet = LatentUNet(controlnet, device, dtype)
        vae = load_component(folder, "vae", AutoencoderKL, pickles)
        self._reduction, self._latent_scale = reduction(vae.config), float(vae.config.scaling_factor)
        vae.encoder = None  # nothing here is ever encoded
        self._vae: Any = vae.to(device).eval()

    def latent_shape(self, tile_px: int) -> tuple[int, int, int]:
        """Return (channels, h, h), h the result's side over the autoencoder's reduction: as a rule half of the tile."""
        side = tile_px * self.card.scale // self._reduction
        return self._channels, side, side

    @torch.inference_mode()
    def condition(self, lr: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return (B,D,h,w) of the latent's size: what the ControlNet makes of the enlargement in [0,1], at any step."""
        image = (upsample(lr, self.card.scale) / 2 + 0.5).clamp(0, 1)
        embedded: Tensor = self._embed(image.to(self._dtype))
        return embedded

    @torch.inference_mode()
    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor, levels: Tensor | None = None) -> Tensor:
        """Predict what the scheduler's configuration says; a map of levels holds for both networks."""
        spread, text = self._prompts.spread, self._prompts.embedded(len(x))
        at = spread(x), spread(timesteps), None if levels is None else spread(levels)
        down, middle = self._controlnet.outputs(
            *at,
            encoder_hidden_states=text,
            controlnet_cond=spread(condition),
            conditioning_scale=self._strength,
        )
        output = self._unet(
            *at,
            encoder_hidden_states=text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        )
        return self._prompts.guided(output)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return pixels in [-1,1]; in float32, since the autoencoder overflows in half precision."""
        decoded: Tensor = self._vae.decode(latents.contiguous() / self._latent_scale, return_dict=False)[0]
        return decoded.clamp(-1, 1)


def _check_fit(path: Path, unet: dict[str, Any], controlnet: dict[str, Any], vae: dict[str, Any]) -> None:
    """Raise ModelError where a ControlNet is not one for this U-Net and autoencoder, or neither is served."""
    for part, config in (("unet", unet), ("controlnet", controlnet)):
        if foreign := [name for name in _FOREIGN if config.get(name) is not None]:
            raise ModelError(f"{path}: a {part} with {foreign[0]} is not served; give another checkpoint")
    if controlnet.get("global_pool_conditions") or controlnet.get("controlnet_conditioning_channel_order") == "bgr":
        raise ModelError(f"{path}: a controlnet of pooled conditions or of BGR images is not served; give another")
    for name in _SAME:
        if controlnet.get(name) != unet.get(name):
            raise _unfit(path, f"controlnet has {name}", controlnet.get(name), "unet", unet, name)
    if (channels := controlnet.get("in_channels", 4)) != vae["latent_channels"]:
        raise _unfit(path, "controlnet has in_channels", channels, "vae latent_channels", vae, "latent_channels")
    steps = 2 ** (len(controlnet.get("conditioning_embedding_out_channels", (16, 32, 96, 256))) - 1)
    if controlnet.get("conditioning_channels", 3) != 3 or steps != reduction(vae):
        raise ModelError(
            f"{path}: controlnet reduces images of {controlnet.get('conditioning_channels', 3)} channels by {steps}, "
            f"vae those of 3 by {reduction(vae)}; give a ControlNet that was trained with this autoencoder"
        )


def _unfit(path: Path, what: str, found: object, other: str, config: dict[str, Any], name: str) -> ModelError:
    return ModelError(
        f"{path}: {what}={found}, {other}={config.get(name)}: they do not belong together; give a folder whose parts do"
    )
