"""The embedded model: a small U-Net that denoises the residual between the photograph and its bicubic enlargement.

The latent of a tile is z0 = pixel_unshuffle((hr - upsample(lr)) / residual_scale, scale): 3·scale² channels at the
low resolution, so a forward costs what a low-resolution network costs and decoding is a pixel shuffle.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.diffusion.prediction import precondition
from tss_ray.diffusion.spatial import look_up
from tss_ray.diffusion.time_embedding import SpatialTimeEmbedding
from tss_ray.imaging.resample import upsample
from tss_ray.models.card import ResidualUNetCard, UNetShape


class ChannelNorm(nn.Module):
    """Normalise each position over its channels, in the place of a GroupNorm and with its parameters' names.

    Ba et al., "Layer Normalization" (arXiv 1607.06450), per pixel as image restoration networks use it. No statistic is
    taken over positions, so a tile's content cannot reach further than the convolutions do.
    """

    def __init__(self, num_channels: int) -> None:
        """Start as the plain normalisation."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B,C,h,w)."""
        last = functional.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, eps=1e-5)
        return last.permute(0, 3, 1, 2)


class SteadyLinear(nn.Module):
    """A Linear that always multiplies a multiple of 8 rows, in the place of one and with its parameters' names.

    A matrix product of few rows is another kernel with other last bits: with one row per sample, as in the time
    embedding, a tile alone in its batch would differ from itself among seven others. Convolutions were not seen to.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Take over the parameters."""
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map (…,in) to (…,out)."""
        rows = x.reshape(-1, x.shape[-1])
        padded = functional.pad(rows, (0, 0, 0, -len(rows) % 8))
        return functional.linear(padded, self.weight, self.bias)[: len(rows)].reshape(*x.shape[:-1], -1)


def build_unet(scale: int, shape: UNetShape) -> nn.Module:
    """Return an untrained `diffusers` UNet2DModel without attention.

    It takes the 3·scale² channels of the latent and 3 of `make_condition` (6 if preconditioned), and gives 3·scale²
    (twice that if preconditioned: the second half is the logarithm of the spread).
    """
    from diffusers import UNet2DModel  # here: importing it takes seconds, and only who builds a network needs it

    depth = len(shape.block_out_channels)
    unet: Any = UNet2DModel
    network: nn.Module = unet(
        in_channels=3 * scale**2 + 3 * (2 if shape.preconditioned else 1),
        out_channels=3 * scale**2 * (2 if shape.preconditioned else 1),
        block_out_channels=shape.block_out_channels,
        layers_per_block=shape.layers_per_block,
        norm_num_groups=shape.norm_num_groups,
        down_block_types=("DownBlock2D",) * depth,
        up_block_types=("UpBlock2D",) * depth,
        add_attention=False,
    )
    if shape.norm == "channel":
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.GroupNorm):
                    setattr(parent, name, ChannelNorm(child.num_channels))
    return network


def make_condition(lr: Tensor, shape: UNetShape, residual_scale: float) -> Tensor:
    """Return what the network sees of lr (B,3,h,w) in [-1,1]: itself, and if preconditioned its detail, (B,6,h,w).

    Detail is what differs from the mean of 5 × 5 px, in units of the residual: what the residual must be guessed from
    is a small part of the range of lr, and would be lost beside the noise.
    """
    if not shape.preconditioned:
        return lr
    mean = functional.avg_pool2d(lr, 5, stride=1, padding=2, count_include_pad=False)
    return torch.cat([lr, (lr - mean) / residual_scale], 1)


def network_input(x: Tensor, condition: Tensor, a: Tensor, shape: UNetShape) -> Tensor:
    """Return what goes into the network: x_t, if preconditioned shrunk by sqrt(a) (its best use is as small), and the
    condition.
    """
    return torch.cat([a.sqrt() * x if shape.preconditioned else x, condition], 1)


def read_output(output: Tensor, x: Tensor, a: Tensor, shape: UNetShape) -> Tensor:
    """Turn what the network puts out for x_t into what its card says that it predicts, (B,3·scale²,h,w) float32."""
    output = output.float()
    if not shape.preconditioned:
        return output
    answer, log_spread = output.chunk(2, dim=1)
    return precondition(answer, log_spread, x, a)


def residual_latent(hr: Tensor, lr: Tensor, scale: int, residual_scale: float) -> Tensor:
    """Return z0 (B,3·scale²,h,w) of hr (B,3,h·scale,w·scale) and lr (B,3,h,w), both in [-1,1]."""
    return functional.pixel_unshuffle((hr - upsample(lr, scale)) / residual_scale, scale)


def residual_pixels(z0: Tensor, scale: int, residual_scale: float) -> Tensor:
    """Invert `residual_latent` up to the enlargement: (B,3·scale²,h,w) -> (B,3,h·scale,w·scale), to be added to it."""
    return functional.pixel_shuffle(z0, scale) * residual_scale


class ResidualUNet:
    """`SuperResolutionModel` over `build_unet`."""

    def __init__(
        self,
        card: ResidualUNetCard,
        weights: dict[str, Tensor],
        device: torch.device,
        dtype: torch.dtype,
        compiled: bool = False,
    ) -> None:
        """Take over the weights. Raises RuntimeError if they do not fit the card's network.

        compiled: run the ordinary forward through torch.compile, on CUDA as CUDA graphs (untried there: no GPU was at
        hand). Compiled once for all shapes, at the first forward: with code for each shape, an image's bits would
        depend on which shape a worker met first. A forward with levels is never compiled.
        """
        self.card: ResidualUNetCard = card
        self.alphas_cumprod = cosine_alphas_cumprod(card.num_timesteps, shift=card.schedule_shift)
        self._device, self._dtype = device, dtype
        self._alphas = self.alphas_cumprod.float().to(device)
        with torch.device("meta"):  # the random initialisation would be thrown away
            network = build_unet(card.scale, card.unet)
        network.load_state_dict({name: value.to(dtype) for name, value in weights.items()}, assign=True)
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear:
                    setattr(parent, name, SteadyLinear(child))
        self._network: Any = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._spatial = SpatialTimeEmbedding(self._network)
        self._graphs = compiled and device.type == "cuda"
        self._ordinary: Any = self._network
        if compiled:
            self._ordinary = torch.compile(
                self._network, dynamic=True, mode="reduce-overhead" if self._graphs else None
            )

    def latent_shape(self, tile_px: int) -> tuple[int, int, int]:
        """Return (3·scale², tile_px, tile_px)."""
        return 3 * self.card.scale**2, tile_px, tile_px

    def condition(self, lr: Tensor, noise: Tensor | None = None) -> Tensor:
        """Condition on the pixels; see `make_condition`."""
        return make_condition(lr, self.card.unet, self.card.residual_scale)

    @torch.inference_mode()
    def predict(self, x: Tensor, condition: Tensor, timesteps: Tensor, levels: Tensor | None = None) -> Tensor:
        """Predict what the card says: v or x0."""
        a, shape = self._signal(timesteps, levels), self.card.unet
        stacked = network_input(x, condition, a, shape).to(self._dtype, memory_format=torch.channels_last)
        if levels is None:
            if self._graphs:  # what the forward before returned has been used: its memory may be written again
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            output = self._ordinary(stacked, timesteps, return_dict=False)[0]
        else:
            output = self._spatial(stacked, timesteps, levels)
        return read_output(output, x, a, shape)

    def _signal(self, timesteps: Tensor, levels: Tensor | None) -> Tensor:
        """Return alphas_cumprod of every sample (B,1,1,1), or with levels of every position (B,1,h,w)."""
        if levels is None:
            return self._alphas[timesteps][:, None, None, None]
        return look_up(self._alphas[timesteps][..., None], levels).permute(0, 3, 1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the residual in pixels."""
        return residual_pixels(latents, self.card.scale, self.card.residual_scale)
