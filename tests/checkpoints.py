"""Tiny checkpoints with random weights in the layouts of `diffusers`, saved by its own pipelines."""

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, LDMSuperResolutionPipeline, UNet2DModel, VQModel

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
