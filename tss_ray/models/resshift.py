"""ResShift: a low-resolution image becomes a high-resolution one in few steps, between their latents.

Yue et al., "ResShift: Efficient Diffusion Model for Image Super-resolution by Residual Shifting" (arXiv 2307.12348) and
"Efficient Diffusion Model for Image Restoration by Residual Shifting" (arXiv 2403.07319). The published models of 4 and
of 15 steps load (github.com/zsyOAOA/ResShift, S-Lab License 1.0: not for commerce). What they do was learned there, the
code is ours; tests compare with figures of the original's.
"""

from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from tss_ray.diffusion.spatial import look_up
from tss_ray.errors import ModelError
from tss_ray.models.base import LoadSettings
from tss_ray.models.resshift_folder import ResShiftCard, find_files
from tss_ray.models.swin_unet import SwinUNet, own_weights
from tss_ray.models.vq_autoencoder import VqAutoencoder

Network = TypeVar("Network", bound=nn.Module)


class ResShift:
    """`SuperResolutionModel` over a folder."""

    def __init__(
        self, path: Path, card: ResShiftCard, device: torch.device, dtype: torch.dtype, settings: LoadSettings
    ) -> None:
        """Load both networks. Raises ModelError if their weights are damaged or of another shape."""
        self.card = card
        files = find_files(path, settings.allow_pickles)
        with torch.device("meta"):  # the random initialisation would be thrown away
            unet, autoencoder = SwinUNet(card.unet), VqAutoencoder(card.autoencoder)
        self._unet = _filled(unet, files.network, dtype).to(device)
        self._autoencoder = _filled(autoencoder, files.autoencoder, torch.float32).to(device)
        self._dtype, self._channels = dtype, card.unet.out_channels
        self._factor = card.schedule.scale_factor
        spread = card.transition.spread()
        self._spread = (spread if card.schedule.normalize_input else torch.ones_like(spread)).float().to(device)

    def latent_shape(self, tile_px: int) -> tuple[int, int, int]:
        """Return (channels, tile_px, tile_px)."""
        return self._channels, tile_px, tile_px

    @torch.inference_mode()
    def condition(self, lr: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return (B,C+3,h,w): the latent of the bicubic enlargement, where sampling begins, and the pixels."""
        enlarged = functional.interpolate(lr, scale_factor=self.card.scale, mode="bicubic")  # torch's own, as trained
        return torch.cat([self._autoencoder.encode(enlarged) * self._factor, lr], 1)

    @torch.inference_mode()
    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor, levels: Tensor | None = None) -> Tensor:
        """Predict x0."""
        if levels is None:
            spread = self._spread[timesteps][:, None, None, None]
        else:
            spread = look_up(self._spread[timesteps][..., None], levels).permute(0, 3, 1, 2)
        lr = condition[:, self._channels :]
        painted: Tensor = self._unet((x / spread).to(self._dtype), lr.to(self._dtype), timesteps, levels)
        return painted.float()

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return pixels in [-1,1]; in float32, by way of the nearest codes."""
        return self._autoencoder.decode(latents.contiguous() / self._factor).clamp(-1, 1)


def _filled(network: Network, file: Path, dtype: torch.dtype) -> Network:
    """Return the network with a file's weights. Raises ModelError if there are too few, too many or others."""
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        weights = {name: value.to(dtype) for name, value in own_weights(state).items()}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} cannot be read: {error}; fetch it again") from error
    except Exception as error:  # a pickle from anywhere: it raises what it likes
        told = " ".join(str(error).split())[:300]
        raise ModelError(f"{file} cannot be read as tensors alone: {told}; fetch it again, or convert it") from error
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if wrong := sorted({name for name, _ in own.items() ^ found.items()}):
        raise ModelError(
            f"{file} does not hold the weights of the network that the configuration describes: "
            f"{', '.join(wrong[:3])}{' …' if len(wrong) > 3 else ''}; take the configuration of this checkpoint"
        )
    network.load_state_dict(weights, assign=True)
    return network.eval()
