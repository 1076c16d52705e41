"""Tiny checkpoints with random weights in the layouts of `diffusers`, saved by its own pipelines."""

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DDPMScheduler,
    LDMSuperResolutionPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionUpscalePipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from numpy.typing import NDArray
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tss_ray.engine.compose import Composition
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.models.base import SuperResolutionModel

PUBLISHED: dict[str, dict[str, Any]] = {
    "ldm_sr": {
        "_class_name": "DDIMScheduler",
        "_diffusers_version": "0.7.0.dev0",
        "beta_end": 0.0155,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.0015,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": True,
        "steps_offset": 1,
        "trained_betas": None,
    },
    "sd_upscaler": {
        "_class_name": "DDIMScheduler",
        "_diffusers_version": "0.9.0.dev0",
        "beta_end": 0.02,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.0001,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
    },
    "sd_upscaler, low_res": {
        "_class_name": "DDPMScheduler",
        "_diffusers_version": "0.9.0.dev0",
        "beta_end": 0.02,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.0001,
        "clip_sample": True,
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "trained_betas": None,
        "variance_type": "fixed_small",
    },
    "sd_controlnet": {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
    },
}
"""What scheduler_config.json says in CompVis/ldm-super-resolution-4x-openimages (by a copy of its origin, of the same
size), stabilityai/stable-diffusion-x4-upscaler and stable-diffusion-v1-5."""


def as_published(folder: Path, family: str) -> Path:
    """Give a checkpoint the published scheduler configuration of its family, to the letter."""
    parts = {"scheduler": PUBLISHED[family], "low_res_scheduler": PUBLISHED.get(f"{family}, low_res")}
    index = json.loads((folder / "model_index.json").read_text())
    for part, config in parts.items():
        if config is not None:
            (folder / part / "scheduler_config.json").write_text(json.dumps(config))
            index[part] = ["diffusers", config["_class_name"]]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


_BLOCKS = {"block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
LDM_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 50,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.0015,
    "beta_end": 0.2,
    "clip_sample": False,
}


def write_ldm(folder: Path, seed: int = 0, unet: dict[str, Any] | None = None, **schedule: Any) -> Path:
    """Write an LDMSuperResolutionPipeline of 50 timesteps and scale 4; keywords change its DDIM scheduler."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = UNet2DModel(
            **{
                "in_channels": 6,
                "out_channels": 3,
                "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
                "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
                "attention_head_dim": 8,
                **_BLOCKS,
                **(unet or {}),
            }
        )
        vqvae = VQModel(
            latent_channels=3,
            num_vq_embeddings=32,
            block_out_channels=(8, 8, 16),
            norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
        )
    vqvae.quantize.embedding.weight.data.normal_(generator=torch.Generator().manual_seed(seed))
    scheduler = DDIMScheduler(**{**LDM_SCHEDULE, **schedule})
    LDMSuperResolutionPipeline(vqvae=vqvae, unet=network, scheduler=scheduler).save_pretrained(folder)
    return folder


SD_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 50,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.002,
    "beta_end": 0.3,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
}


def write_sd_upscaler(folder: Path, seed: int = 0, **schedule: Any) -> Path:
    """Write a StableDiffusionUpscalePipeline of 50 timesteps and scale 4; keywords change its DDIM scheduler."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            in_channels=7,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            num_class_embeds=1000,
            only_cross_attention=(True, False),
            use_linear_projection=True,
            **_BLOCKS,
        )
        vae = AutoencoderKL(
            latent_channels=4,
            block_out_channels=(8, 8, 16),
            norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            scaling_factor=0.08333,
        )
        encoder = _text_encoder()
    StableDiffusionUpscalePipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=_tokenizer(folder),
        unet=unet,
        low_res_scheduler=DDPMScheduler(num_train_timesteps=50, beta_schedule="scaled_linear"),
        scheduler=DDIMScheduler(**{**SD_SCHEDULE, **schedule}),
        max_noise_level=35,
    ).save_pretrained(folder)
    return folder


def write_sd_controlnet(folder: Path, seed: int = 0, **schedule: Any) -> Path:
    """Write a StableDiffusionControlNetPipeline of 50 timesteps, eps; its autoencoder reduces by 8, unlike the scale.

    A new ControlNet begins with zeros where it is added, so these are drawn too. Keywords change its DDIM scheduler.
    """
    attention = {"cross_attention_dim": 16, "attention_head_dim": 4}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            **attention,
            **_BLOCKS,
        )
        controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 4, 4, 8))
        for part in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            torch.nn.init.normal_(part.weight, std=0.2)
        for part in controlnet.controlnet_cond_embedding.modules():  # as drawn by default, an image hardly shows
            if isinstance(part, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(part.weight)
        vae = AutoencoderKL(
            latent_channels=4,
            block_out_channels=(8, 8, 8, 16),
            norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            scaling_factor=0.2,
        )
        encoder = _text_encoder()
    StableDiffusionControlNetPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=_tokenizer(folder),
        unet=unet,
        controlnet=controlnet,
        scheduler=DDIMScheduler(**{**SD_SCHEDULE, "prediction_type": "epsilon", **schedule}),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def _text_encoder() -> CLIPTextModel:
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return CLIPTextModel(
        CLIPTextConfig(**text, vocab_size=60, max_position_embeddings=12, eos_token_id=59, bos_token_id=58)
    )


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """Return CLIP's tokenizer with a vocabulary of single letters."""
    letters = [chr(ord("a") + i) for i in range(26)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    words[52:52] = [f"unused{i}" for i in range(6)]
    return CLIPTokenizer({word: number for number, word in enumerate(words)}, [], model_max_length=12)


def upscaled(model: SuperResolutionModel, pixels: NDArray[np.uint8], plan: tuple[int, ...]) -> torch.Tensor:
    """Return (3,4h,4w) in [-1,1] of one image of (h,w,3), key "a" and seed 3, by the engine."""
    engine, future = Engine(model, torch.device("cpu"), 1, 16, 4), Future[DenoisedImage]()
    engine.submit(ImageRequest("a", pixels, plan, 0.0, 3), future)
    while not engine.idle:
        engine.step()
    return Composition(future.result(timeout=0), 4).rows(0, 4 * len(pixels))
