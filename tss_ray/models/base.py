"""The protocol that every model family fulfils; the engine knows nothing else of a network."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tss_ray.models.card import ModelCard


@dataclass(frozen=True)
class LoadSettings:
    """What a checkpoint is loaded with beside device and dtype; families that have no use for one ignore it."""

    allow_pickles: bool = False
    """Read weights that are pickles, which may run code; only tensors of them are taken."""
    prompt: str = ""
    negative_prompt: str = ""
    guidance_scale: float = 1.0
    """Above 1: away from the negative prompt, by two forwards a step."""
    noise_level: int = 20
    """Timestep whose noise is put on the low-resolution pixels."""
    controlnet_conditioning_scale: float = 1.0
    """What a ControlNet's residuals are multiplied by."""


class SuperResolutionModel(Protocol):
    """A denoiser of latent tiles, on one device, in one dtype."""

    @property
    def card(self) -> ModelCard:
        """What it is, and how it is sampled (`card.transition`)."""

    def latent_shape(self, tile_px: int) -> tuple[int, int, int]:
        """Return (C,h,w) of the latent of a low-resolution tile of tile_px × tile_px."""

    def condition(self, lr: Tensor, noise: Tensor | None = None) -> Tensor:
        """Turn low-resolution tiles (B,3,h,w) float32 in [-1,1] into what `predict` is conditioned on, (B,…).

        noise: standard normal, of lr's shape, where `card.takes_noisy_lr`. What is the same for all tiles, such as the
        embedding of a prompt, is no part of the condition: the model keeps it. Where
        `card.transition.begins_at_lr`, the first channels are the latent that sampling begins at.
        """

    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor, levels: Tensor | None = None) -> Tensor:
        """Predict (B,C,h,w) float32 from noisy latents x (B,C,h,w) float32.

        timesteps: (B,) int64, one per sample. With levels (B,h,w) int64 in [0,L) they are (B,L), and position i,j of
        sample b is at timesteps[b, levels[b,i,j]] (DESIGN 4, SDS); a map of one level equals the former to rounding.
        """

    def decode(self, latents: Tensor) -> Tensor:
        """Turn clean latents into (B,3,h·scale,w·scale) float32 of a range of 2.

        With `card.paints_pixels` the picture in [-1,1], else what is to be added to the bicubic enlargement.
        """
