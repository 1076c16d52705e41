"""What the families of others' models take: random checkpoints at the published shapes, loaded and run by this package.

    python jobs/benchmarks/families.py [--families ldm_sr,…] [--tile-px 128] [--dtype float32] [--out out/bench]
    python jobs/benchmarks/families.py --families sd_upscaler --write FOLDER     # leaves the checkpoint there instead

CONFIGS holds what the published folders' own configurations say (tss_ray/models/FAMILIES.md says where they lie), so
parameters and shapes are theirs; weights are random, since none can be had here, and tokenizers know single letters.
Each family is written to a temporary folder (up to 6 GB) and measured in a process of its own, on the CPU:

- `parameters`, in millions: all that the folder holds; `unet`, `beside` (ControlNet), `decoder`: what stays in memory.
- `weights_gb`: what of it stays, the U-Net (and the ControlNet) in `dtype`, the decoder in float32, the rest freed.
- `check_s`, `load_s`: as `tss-ray models check` tells them; `loaded_gb` and `peak_gb`: the most that the process held
  until it was loaded, and after all: its own libraries are in it.
- `condition_s`, `forward_s`, `decode_s` of one tile, medians over `--rounds`; `image_s`: of an image of one tile at
  `steps`, by arithmetic.

The last line of stdout is one JSON object: `image_s` by family.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from measured import Row, report

from tss_ray.models.base import LoadSettings
from tss_ray.models.registry import check_model, load_model

Config = dict[str, Any]
_DOWN, _CROSS_DOWN, _UP, _CROSS_UP = "DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"
_SD15_BLOCKS: Config = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (_CROSS_DOWN, _CROSS_DOWN, _CROSS_DOWN, _DOWN),
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
}


def _autoencoder(block_out_channels: tuple[int, ...], latent_channels: int) -> Config:
    depth = len(block_out_channels)
    return {
        "block_out_channels": block_out_channels,
        "latent_channels": latent_channels,
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * depth,
        "up_block_types": ("UpDecoderBlock2D",) * depth,
    }


CONFIGS: dict[str, Config] = {
    "ldm_sr": {
        "unet": {
            "in_channels": 6,
            "out_channels": 3,
            "sample_size": 64,
            "block_out_channels": (160, 320, 320, 640),
            "down_block_types": (_DOWN, _DOWN, _DOWN, "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", _UP, _UP, _UP),
            "attention_head_dim": 32,
        },
        "vqvae": _autoencoder((128, 256, 512), 3) | {"num_vq_embeddings": 8192},
        "scheduler": {
            "beta_start": 0.0015,
            "beta_end": 0.0155,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "set_alpha_to_one": True,
            "steps_offset": 1,
        },
    },
    "sd_upscaler": {
        "unet": {
            "in_channels": 7,
            "out_channels": 4,
            "sample_size": 128,
            "block_out_channels": (256, 512, 512, 1024),
            "down_block_types": (_DOWN, _CROSS_DOWN, _CROSS_DOWN, _CROSS_DOWN),
            "up_block_types": (_CROSS_UP, _CROSS_UP, _CROSS_UP, _UP),
            "attention_head_dim": 8,
            "cross_attention_dim": 1024,
            "only_cross_attention": (True, True, True, False),
            "num_class_embeds": 1000,
            "use_linear_projection": True,
        },
        "vae": _autoencoder((128, 256, 512), 4) | {"scaling_factor": 0.08333},
        "text_encoder": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
            "projection_dim": 512,
        },
        "scheduler": {
            "beta_start": 0.0001,
            "beta_end": 0.02,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "prediction_type": "v_prediction",
            "set_alpha_to_one": False,
            "steps_offset": 1,
        },
        "low_res_scheduler": {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "scaled_linear"},
    },
    "sd_controlnet": {
        "unet": {"up_block_types": (_UP, _CROSS_UP, _CROSS_UP, _CROSS_UP), "sample_size": 64} | _SD15_BLOCKS,
        "controlnet": _SD15_BLOCKS,
        "vae": _autoencoder((128, 256, 512, 512), 4),
        "text_encoder": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "hidden_act": "quick_gelu",
            "projection_dim": 768,
        },
        "scheduler": {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "set_alpha_to_one": False,
            "skip_prk_steps": True,
            "steps_offset": 1,
        },
    },
}
_RESSHIFT: Config = {
    "model": {
        "target": "models.unet.UNetModelSwin",
        "params": {
            "image_size": 64,
            "in_channels": 3,
            "model_channels": 160,
            "out_channels": 3,
            "attention_resolutions": [64, 32, 16, 8],
            "channel_mult": [1, 2, 2, 4],
            "num_res_blocks": [2, 2, 2, 2],
            "num_head_channels": 32,
            "use_scale_shift_norm": True,
            "swin_depth": 2,
            "swin_embed_dim": 192,
            "window_size": 8,
            "mlp_ratio": 4,
            "cond_lq": True,
            "lq_size": 64,
        },
    },
    "diffusion": {
        "target": "models.script_util.create_gaussian_diffusion",
        "params": {
            "sf": 4,
            "schedule_name": "exponential",
            "schedule_kwargs": {"power": 0.3},
            "etas_end": 0.99,
            "kappa": 2.0,
            "normalize_input": True,
        },
    },
    "autoencoder": {
        "target": "ldm.models.autoencoder.VQModelTorch",
        "ckpt_path": "weights/autoencoder_vq_f4.pth",
        "params": {
            "embed_dim": 3,
            "n_embed": 8192,
            "ddconfig": {
                "double_z": False,
                "z_channels": 3,
                "resolution": 256,
                "in_channels": 3,
                "out_ch": 3,
                "ch": 128,
                "ch_mult": [1, 2, 4],
                "num_res_blocks": 2,
                "attn_resolutions": [],
            },
        },
    },
}
_STEPS = {"ldm_sr": 50, "sd_upscaler": 50, "sd_controlnet": 50, "resshift_15": 15, "resshift_4": 4}
_NOISE_LEAST = {15: 0.04, 4: 0.2}


def main() -> None:
    """Measure each family in a process of its own, and print one JSON line."""
    parser = argparse.ArgumentParser(description="What the families of others' models take, at their published shapes.")
    parser.add_argument("--families", default=",".join(_STEPS))
    parser.add_argument("--tile-px", type=int, default=128)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--write", type=Path, help="leave one family's checkpoint in this folder, and measure nothing")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # in a child: this folder alone
    arguments = parser.parse_args()
    names = arguments.families.split(",")
    if unknown := sorted(set(names) - set(_STEPS)):
        parser.error(f"no families {', '.join(unknown)}; there are {', '.join(_STEPS)}")
    if arguments.one is not None:
        print(json.dumps(measured(arguments.one, arguments.tile_px, getattr(torch, arguments.dtype), arguments.rounds)))
        return
    if arguments.write is not None:
        write(names[0], arguments.write)
        return
    rows: list[Row] = []
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            parameters = write(name, Path(scratch) / name)
            child = [sys.executable, __file__, "--one", f"{scratch}/{name}", "--tile-px", str(arguments.tile_px)]
            child += ["--dtype", arguments.dtype, "--rounds", str(arguments.rounds)]
            told = json.loads(subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout)
        row = {"family": name, "dtype": arguments.dtype, "tile_px": arguments.tile_px, "steps": _STEPS[name]}
        row |= {"parameters": parameters} | told
        row["image_s"] = row["condition_s"] + row["steps"] * row["forward_s"] + row["decode_s"]
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
    print(report(arguments.out, "families", rows, {row["family"]: row["image_s"] for row in rows}))


def write(name: str, folder: Path) -> float:
    """Write a family's checkpoint with random weights as it is published; return its parameters in millions."""
    folder.mkdir(parents=True, exist_ok=True)
    return (_write_resshift if name.startswith("resshift") else _write_diffusers)(name, folder) / 1e6


def measured(folder: Path, tile_px: int, dtype: torch.dtype, rounds: int) -> Row:
    """Load a checkpoint and run one tile; nothing else may have run in this process."""
    settings, began = LoadSettings(allow_pickles=True), time.perf_counter()
    card = check_model(str(folder), settings)
    card.check_tile(tile_px)
    checked = time.perf_counter()
    model: Any = load_model(str(folder), torch.device("cpu"), dtype, settings=settings)
    row: Row = {"check_s": checked - began, "load_s": time.perf_counter() - checked, "loaded_gb": _peak_gb()}
    generator = torch.Generator().manual_seed(0)
    lr = torch.rand(1, 3, tile_px, tile_px, generator=generator) * 2 - 1
    x, timesteps = (
        torch.randn(1, *model.latent_shape(tile_px), generator=generator),
        torch.tensor([card.num_timesteps // 2]),
    )
    condition = model.condition(lr)
    row["condition_s"] = _median_s(lambda: model.condition(lr), rounds)
    row["forward_s"] = _median_s(lambda: model.predict(x, condition, timesteps), rounds)
    row["decode_s"] = _median_s(lambda: model.decode(x), rounds)
    row["peak_gb"] = _peak_gb()
    kept = {
        part: held
        for part in ("unet", "controlnet", "embed", "vae", "vqvae", "autoencoder")
        if (held := _bytes(getattr(model, f"_{part}", None)))
    }
    return row | {"weights_gb": sum(kept.values()) / 1e9}


def _bytes(part: Any) -> int:  # noqa: ANN401
    network = getattr(part, "_network", part)
    return 0 if network is None else sum(each.nbytes for each in network.parameters())


def _median_s(call: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _write_diffusers(name: str, folder: Path) -> int:
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    configs = CONFIGS[name]
    kinds: dict[str, Any] = {
        "unet": diffusers.UNet2DModel if name == "ldm_sr" else diffusers.UNet2DConditionModel,
        "vqvae": diffusers.VQModel,
        "vae": diffusers.AutoencoderKL,
        "controlnet": diffusers.ControlNetModel,
        "scheduler": diffusers.PNDMScheduler if name == "sd_controlnet" else diffusers.DDIMScheduler,
        "low_res_scheduler": diffusers.DDPMScheduler,
    }
    parts = {part: kinds[part](**config) for part, config in configs.items() if part in kinds}
    if "text_encoder" in configs:
        encoder = CLIPTextConfig(vocab_size=49408, max_position_embeddings=77, **configs["text_encoder"])
        parts["text_encoder"] = CLIPTextModel(encoder)
        words = [*(chr(ord("a") + i) for i in range(26)), *(f"{chr(ord('a') + i)}</w>" for i in range(26))]
        words += ["<|startoftext|>", "<|endoftext|>"]
        parts["tokenizer"] = CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=77)
    pipelines: dict[str, Any] = {
        "ldm_sr": diffusers.LDMSuperResolutionPipeline,
        "sd_upscaler": diffusers.StableDiffusionUpscalePipeline,
        "sd_controlnet": diffusers.StableDiffusionControlNetPipeline,
    }
    if name == "sd_controlnet":
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipelines[name](**parts).save_pretrained(folder)
    return sum(
        each.numel() for part in parts.values() if isinstance(part, torch.nn.Module) for each in part.parameters()
    )


def _write_resshift(name: str, folder: Path) -> int:
    from tss_ray.models.swin_unet import SwinUNet, SwinUNetShape
    from tss_ray.models.vq_autoencoder import VqAutoencoder, VqShape

    steps = _STEPS[name]
    params = _RESSHIFT["diffusion"]["params"] | {"steps": steps, "min_noise_level": _NOISE_LEAST[steps]}
    config = _RESSHIFT | {"diffusion": _RESSHIFT["diffusion"] | {"params": params}}
    (folder / "realsr_swinunet.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    networks = {
        f"resshift_realsrx4_s{steps}": SwinUNet(SwinUNetShape(**_RESSHIFT["model"]["params"])),
        "autoencoder_vq_f4": VqAutoencoder(VqShape(**_RESSHIFT["autoencoder"]["params"])),
    }
    for stem, network in networks.items():
        torch.save(network.state_dict(), folder / f"{stem}.pth")
    return sum(each.numel() for network in networks.values() for each in network.parameters())


if __name__ == "__main__":
    main()
