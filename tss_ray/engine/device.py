"""Which device and which dtype: detected, never assumed."""

import logging
import shutil
from typing import Literal

import torch

log = logging.getLogger(__name__)

DtypeName = Literal["auto", "float32", "bfloat16"]


def pick_device(use_gpu: bool) -> torch.device:
    """Return CUDA's current device if asked for and there, else the CPU."""
    return (
        torch.device("cuda", torch.cuda.current_device())
        if use_gpu and torch.cuda.is_available()
        else torch.device("cpu")
    )


def pick_dtype(name: DtypeName, device: torch.device) -> torch.dtype:
    """Resolve `auto`: bfloat16 where convolutions in it are faster than in float32."""
    if name != "auto":
        return torch.float32 if name == "float32" else torch.bfloat16
    return torch.bfloat16 if _fast_bfloat16(device) else torch.float32


def pick_compile(setting: Literal["auto", "on", "off"]) -> bool:
    """Tell whether to compile the network; falls back to no with a log line where there is no C++ compiler.

    `auto` is no on every kind of device: on an AVX-512 CPU compiling won a tenth of a forward and took minutes of each
    worker's start; on CUDA it is unmeasured.
    """
    if setting != "on":
        return False
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        log.warning("compute.compile=on, but no C++ compiler is on PATH; going on without: install g++ in the image")
        return False
    return True


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))


def device_name(device: torch.device) -> str:
    """Return what a bill would call the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def default_max_batch(device: torch.device) -> int:
    """Return tiles per forward: 8 already saturate a few cores, a GPU wants more."""
    return 64 if device.type == "cuda" else 8
