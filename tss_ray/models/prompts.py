"""Prompts of Stable Diffusion's kin: encoded once, and kept as embeddings that a U-Net attends to at every step.

Guidance is Ho & Salimans, "Classifier-Free Diffusion Guidance" (arXiv 2207.12598): two samples for each.
"""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from tss_ray.errors import ModelError
from tss_ray.models.base import LoadSettings
from tss_ray.models.diffusers_folder import Folder

_NEEDS = "pip install 'tss-ray[models]'"


class Prompts:
    """What the network is told, and what is made of its answers."""

    def __init__(self, folder: Folder, settings: LoadSettings, device: torch.device, dtype: torch.dtype) -> None:
        """Encode the prompts; the text encoder is gone again after that. Raises ModelError as `encode_prompts`."""
        self._text = encode_prompts(folder, settings).to(device, dtype)
        self._scale = settings.guidance_scale

    def spread(self, samples: Tensor) -> Tensor:
        """Return (B·P,…) of samples (B,…), once for each of the P prompts."""
        num = len(self._text)
        return samples if num == 1 else samples.repeat(num, *[1] * (samples.dim() - 1))

    def embedded(self, num_samples: int) -> Tensor:
        """Return (B·P,N,D) for what `spread` made of B samples."""
        return self._text.repeat_interleave(num_samples, 0)

    def guided(self, output: Tensor) -> Tensor:
        """Return (B,…) of the network's (B·P,…): away from the negative prompt where there are two."""
        if len(self._text) == 1:
            return output
        away, towards = output.chunk(2)
        return away + self._scale * (towards - away)


def check_text_encoder(folder: Folder) -> dict[str, Any]:
    """Return a text encoder's configuration. Raises ModelError if it is another, or nothing here could run it."""
    if find_spec("transformers") is None:  # asked here, before a job begins
        raise ModelError(f"{folder.path} has a text encoder, which needs transformers; {_NEEDS}")
    return folder.config("text_encoder", "CLIPTextModel")


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
