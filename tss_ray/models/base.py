"""The protocol that every model family fulfils; the engine knows nothing else of a network."""

from typing import Protocol

from torch import Tensor

from tss_ray.models.card import ModelCard


class SuperResolutionModel(Protocol):
    """A denoiser of latent tiles, on one device, in one dtype."""

    card: ModelCard
    alphas_cumprod: Tensor
    """(T,) float64 on the CPU."""

    def latent_shape(self, tile_px: int) -> tuple[int, int, int]:
        """Return (C,h,w) of the latent of a low-resolution tile of tile_px × tile_px."""

    def condition(self, lr: Tensor) -> Tensor:
        """Turn low-resolution tiles (B,3,h,w) float32 in [-1,1] into what `predict` is conditioned on."""

    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor, levels: Tensor | None = None) -> Tensor:
        """Predict (B,C,h,w) float32 from noisy latents x (B,C,h,w) float32.

        timesteps: (B,) int64, one per sample. With levels (B,h,w) int64 in [0,L) they are (B,L), and position i,j of
        sample b is at timesteps[b, levels[b,i,j]] (DESIGN 4, SDS); a map of one level equals the former to rounding.
        """

    def decode(self, latents: Tensor) -> Tensor:
        """Turn clean latents into (B,3,h·scale,w·scale) float32, to be added to the bicubic enlargement in [-1,1]."""
