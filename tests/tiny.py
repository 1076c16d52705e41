"""A model small enough for a test, with random weights: what it paints means nothing, that it repeats does."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tss_ray.models.card import CARD_FILE, WEIGHTS_FILE, UNetShape
from tss_ray.models.residual_unet import build_unet

TINY_UNET = {"block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4}


def write_tiny_model(folder: Path, **changes: object) -> Path:
    """Write a model folder of 50 timesteps; keywords change its card, None takes a field away."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_unet(4, UNetShape.model_validate(TINY_UNET))
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / WEIGHTS_FILE)
    card: dict[str, object] = {
        "model_id": "tiny",
        "family": "residual_unet",
        "scale": 4,
        "num_timesteps": 50,
        "schedule": "cosine",
        "prediction_type": "v",
        "residual_scale": 0.1,
        "unet": TINY_UNET,
        "licence": "Apache-2.0",
        "sha256": hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
    }
    card = {key: value for key, value in (card | changes).items() if value is not None}
    (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")
    return folder
