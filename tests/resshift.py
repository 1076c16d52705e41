"""A tiny ResShift in the layout of the official release, with weights that follow from their names."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from tss_ray.models.swin_unet import SwinUNet, SwinUNetShape
from tss_ray.models.vq_autoencoder import VqAutoencoder, VqShape

FIGURES: dict[str, Any] = dict(np.load(Path(__file__).with_name("resshift_figures.npz")))
"""What the original computes; `tests/unit/models/test_resshift_networks.py` says how it was recorded."""
UNET: dict[str, Any] = {
    "image_size": 16,
    "in_channels": 3,
    "model_channels": 32,
    "out_channels": "${autoencoder.params.embed_dim}",
    "attention_resolutions": [16, 8],
    "dropout": 0,
    "channel_mult": [1, 2, 1],
    "num_res_blocks": [1, 2, 1],
    "conv_resample": True,
    "dims": 2,
    "use_fp16": False,
    "num_head_channels": 16,
    "use_scale_shift_norm": True,
    "resblock_updown": False,
    "swin_depth": 2,
    "swin_embed_dim": 32,
    "window_size": 4,
    "mlp_ratio": 2,
    "cond_lq": True,
    "lq_size": 16,
}
"""Windows at 16 and 8, shifted and not, at 4 (in the middle) as large as the map."""
VQ: dict[str, Any] = {
    "embed_dim": 3,
    "n_embed": 64,
    "ddconfig": {
        "double_z": False,
        "z_channels": 3,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 1, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
        "padding_mode": "zeros",
    },
}
DIFFUSION: dict[str, Any] = {
    "sf": 4,
    "schedule_name": "exponential",
    "schedule_kwargs": {"power": 0.3},
    "etas_end": 0.99,
    "steps": 50,
    "min_noise_level": 0.2,
    "kappa": 2.0,
    "weighted_mse": False,
    "predict_type": "xstart",
    "timestep_respacing": None,
    "scale_factor": 1.0,
    "normalize_input": True,
    "latent_flag": True,
}


def drawn(name: str, *shape: int) -> NDArray[np.float32]:
    """Return uniform numbers of mean 0 and variance 1 that follow from a name alone."""
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
    uniform = np.random.default_rng(seed).random(shape)
    return ((uniform - 0.5) * 12**0.5).astype(np.float32)


def named_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return weights for parameters by name: of a size that keeps what flows through about 1."""
    weights = {}
    for name, shape in shapes.items():
        numbers = torch.from_numpy(drawn(name, *shape))
        if name.endswith(("bias_table", "embedding.weight")):
            weights[name] = numbers
        elif len(shape) > 1:
            weights[name] = numbers / np.prod(shape[1:]).astype(np.float32) ** 0.5
        else:  # biases, and the gains of norms
            weights[name] = 0.2 * numbers + (1.0 if name.endswith("weight") else 0.0)
    return weights


def unet_shape() -> SwinUNetShape:
    """Return the shape of UNET, its reference resolved."""
    return SwinUNetShape(**{**UNET, "out_channels": 3})


def state_of(network: torch.nn.Module) -> dict[str, Tensor]:
    """Return weights for a network of ours."""
    return named_weights({name: tuple(value.shape) for name, value in network.state_dict().items()})


def write_resshift(folder: Path, unet: dict[str, Any] | None = None, **diffusion: Any) -> Path:
    """Write the configuration and both weights as safetensors; keywords change the diffusion's settings."""
    folder.mkdir(parents=True, exist_ok=True)
    target, path = "target", "ckpt_path"
    config = {
        "model": {target: "models.unet.UNetModelSwin", path: None, "params": {**UNET, **(unet or {})}},
        "diffusion": {
            target: "models.script_util.create_gaussian_diffusion",
            "params": {**DIFFUSION, **diffusion},
        },
        "autoencoder": {
            target: "ldm.models.autoencoder.VQModelTorch",
            path: "weights/autoencoder_vq_f4.pth",
            "use_fp16": True,
            "params": VQ,
        },
        "train": {"lr": 5e-5},
    }
    (folder / "realsr_tiny.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    save_file(state_of(SwinUNet(unet_shape())), folder / "resshift_realsrx4_tiny.safetensors")
    save_file(state_of(VqAutoencoder(VqShape(**VQ))), folder / "autoencoder_vq_f4.safetensors")
    return folder
