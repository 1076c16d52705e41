"""The autoencoder of ResShift, VQ-f4: convolutions that reduce an image by 4, and a book of codes.

Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (arXiv 2012.09841), as Rombach et al. use it in
"High-Resolution Image Synthesis with Latent Diffusion Models" (arXiv 2112.10752). What the layers are called was
learned from github.com/zsyOAOA/ResShift (S-Lab License 1.0), so that `autoencoder_vq_f4.pth` loads; the code is ours,
and tests compare with figures of the original's.
"""

from typing import Literal, Self, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

_GROUPS, _EPSILON = 32, 1e-6
_POSITIONS_AT_ONCE = 4096
"""Whose distances to all codes are held at once: 128 MiB of float32 for 8192 codes."""


class DdConfig(BaseModel):
    """`autoencoder.params.ddconfig` of an official configuration; what is not served cannot be said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    z_channels: int = Field(ge=1)
    resolution: int = 256
    ch: int = Field(ge=_GROUPS, multiple_of=_GROUPS)
    ch_mult: tuple[int, ...] = Field(min_length=1)
    num_res_blocks: int = Field(ge=1)
    in_channels: Literal[3]
    out_ch: Literal[3]
    double_z: Literal[False]
    attn_resolutions: tuple[int, ...] = Field((), max_length=0)
    dropout: float = 0
    padding_mode: Literal["zeros"] = "zeros"


class VqShape(BaseModel):
    """`autoencoder.params` of an official configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embed_dim: int = Field(ge=1)
    n_embed: int = Field(ge=1)
    ddconfig: DdConfig

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.embed_dim != self.ddconfig.z_channels:
            raise ValueError(f"embed_dim={self.embed_dim}, z_channels={self.ddconfig.z_channels}: they must agree")
        return self

    @property
    def reduction(self) -> int:
        """By how much it reduces the sides of an image."""
        return int(2 ** (len(self.ddconfig.ch_mult) - 1))


class VqAutoencoder(nn.Module):
    """The autoencoder; its parameters bear the names of the official checkpoint."""

    def __init__(self, shape: VqShape) -> None:
        """Build it untrained."""
        super().__init__()
        self.encoder, self.decoder = _Encoder(shape.ddconfig), _Decoder(shape.ddconfig)
        self.quantize = nn.ModuleDict({"embedding": nn.Embedding(shape.n_embed, shape.embed_dim)})
        self.quant_conv = nn.Conv2d(shape.ddconfig.z_channels, shape.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(shape.embed_dim, shape.ddconfig.z_channels, 1)

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the latent (B,C,h/f,w/f) of pixels (B,3,h,w) in [-1,1]; not yet one of the codes."""
        return cast(Tensor, self.quant_conv(self.encoder(pixels)))

    def decode(self, latents: Tensor) -> Tensor:
        """Return pixels (B,3,h·f,w·f), about [-1,1], of latents (B,C,h,w), each position by its nearest code."""
        return cast(Tensor, self.decoder(self.post_quant_conv(self.nearest(latents))))

    def nearest(self, latents: Tensor) -> Tensor:
        """Return the code nearest to each position of latents (B,C,h,w), the first of equals."""
        codes = cast(nn.Embedding, self.quantize["embedding"]).weight
        positions = latents.permute(0, 2, 3, 1)
        lengths = codes.square().sum(1)
        parts = torch.split(positions.flatten(0, 2), _POSITIONS_AT_ONCE)
        found = [(lengths - 2 * part @ codes.T).argmin(1) for part in parts]
        return functional.embedding(torch.cat(found), codes).reshape(positions.shape).permute(0, 3, 1, 2).contiguous()


class _Encoder(nn.Module):
    def __init__(self, config: DdConfig) -> None:
        super().__init__()
        channels, last = config.ch, len(config.ch_mult) - 1
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        self.down = nn.ModuleList()
        for depth, mult in enumerate(config.ch_mult):
            block, channels = _blocks(channels, config.ch * mult, config.num_res_blocks)
            stage = nn.ModuleDict({"block": block})
            if depth < last:
                stage["downsample"] = nn.ModuleDict({"conv": nn.Conv2d(channels, channels, 3, stride=2)})
            self.down.append(stage)
        self.mid = _Middle(channels)
        self.norm_out = _norm(channels)
        self.conv_out = nn.Conv2d(channels, config.z_channels, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.conv_in(pixels)
        for stage in cast("list[nn.ModuleDict]", self.down):
            for block in cast(nn.ModuleList, stage["block"]):
                features = block(features)
            if "downsample" in stage:  # one more column and row, right and below
                halve = cast(nn.ModuleDict, stage["downsample"])["conv"]
                features = halve(functional.pad(features, (0, 1, 0, 1)))
        return cast(Tensor, self.conv_out(functional.silu(self.norm_out(self.mid(features)))))


class _Decoder(nn.Module):
    def __init__(self, config: DdConfig) -> None:
        super().__init__()
        channels, stages = config.ch * config.ch_mult[-1], []
        self.conv_in = nn.Conv2d(config.z_channels, channels, 3, padding=1)
        self.mid = _Middle(channels)
        for depth, mult in reversed(list(enumerate(config.ch_mult))):
            block, channels = _blocks(channels, config.ch * mult, config.num_res_blocks + 1)
            stage = nn.ModuleDict({"block": block})
            if depth:
                stage["upsample"] = nn.ModuleDict({"conv": nn.Conv2d(channels, channels, 3, padding=1)})
            stages.append(stage)
        self.up = nn.ModuleList(stages[::-1])  # numbered from the finest, run from the coarsest
        self.norm_out = _norm(channels)
        self.conv_out = nn.Conv2d(channels, config.out_ch, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        features = self.mid(self.conv_in(latents))
        for stage in cast("list[nn.ModuleDict]", reversed(self.up)):
            for block in cast(nn.ModuleList, stage["block"]):
                features = block(features)
            if "upsample" in stage:
                smooth = cast(nn.ModuleDict, stage["upsample"])["conv"]
                features = smooth(functional.interpolate(features, scale_factor=2, mode="nearest"))
        return cast(Tensor, self.conv_out(functional.silu(self.norm_out(features))))


class _Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = (
            _Block(channels, channels),
            _Look(channels),
            _Block(channels, channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.block_2(self.attn_1(self.block_1(features))))


class _Block(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(channels), nn.Conv2d(channels, out, 3, padding=1)
        self.norm2, self.conv2 = _norm(out), nn.Conv2d(out, out, 3, padding=1)
        if out != channels:
            self.nin_shortcut = nn.Conv2d(channels, out, 1)
        self._widens = out != channels

    def forward(self, features: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(features)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return cast(Tensor, self.nin_shortcut(features) if self._widens else features) + cast(Tensor, inner)


class _Look(nn.Module):
    """Attention of one head among all positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, features: Tensor) -> Tensor:
        normed = self.norm(features)
        q, k, v = (part(normed).flatten(2).transpose(1, 2)[:, None] for part in (self.q, self.k, self.v))
        seen = functional.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return features + cast(Tensor, self.proj_out(seen.reshape(features.shape)))


def _blocks(channels: int, out: int, number: int) -> tuple[nn.ModuleList, int]:
    return nn.ModuleList([_Block(channels if i == 0 else out, out) for i in range(number)]), out


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(_GROUPS, channels, eps=_EPSILON)
