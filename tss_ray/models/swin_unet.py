"""The network of ResShift: a U-Net of residual blocks that listen to the time, with windowed attention between them.

Yue et al., "ResShift: Efficient Diffusion Model for Image Super-resolution by Residual Shifting" (arXiv 2307.12348) and
"Efficient Diffusion Model for Image Restoration by Residual Shifting" (arXiv 2403.07319). Its attention is that of Liu
et al., "Swin Transformer" (arXiv 2103.14030), over feature maps with 1×1 convolutions around it. What the layers are
called, and what they compute, was learned from github.com/zsyOAOA/ResShift (S-Lab License 1.0), so that its checkpoints
load; the code is ours, and tests compare with figures of the original's.
"""

import math
from typing import Any, Literal, Self, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from tss_ray.diffusion.spatial import look_up, resample_levels
from tss_ray.models.residual_unet import SteadyLinear

_GROUPS = 32
_APART = -100.0
"""What is added to the attention between positions that are to be kept apart."""
DERIVED = ("relative_position_index", "attn_mask")
"""Ends of names in checkpoints that hold no weights: what follows from the window's size."""


class SwinUNetShape(BaseModel):
    """`model.params` of an official configuration; what is not served cannot be said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(ge=1, description="side of the latent that it was trained on: windows follow from it")
    in_channels: int = Field(ge=1)
    model_channels: int = Field(ge=_GROUPS, multiple_of=_GROUPS)
    out_channels: int = Field(ge=1)
    num_res_blocks: tuple[int, ...]
    attention_resolutions: tuple[int, ...]
    channel_mult: tuple[int, ...] = Field(min_length=1)
    swin_depth: int = Field(2, ge=1)
    swin_embed_dim: int = Field(96, ge=_GROUPS, multiple_of=_GROUPS)
    window_size: int = Field(8, ge=2)
    mlp_ratio: float = Field(2.0, gt=0)
    num_heads: int = Field(1, ge=1)
    num_head_channels: int = -1
    lq_size: int = Field(256, description="side of the low-resolution pixels that lie beside the latent")
    dropout: float = 0
    use_fp16: bool = False
    dims: Literal[2] = 2
    conv_resample: Literal[True] = True
    use_scale_shift_norm: Literal[True]
    resblock_updown: Literal[False] = False
    patch_norm: Literal[False] = False
    cond_lq: Literal[True] = True
    cond_mask: Literal[False] = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.lq_size != self.image_size:
            raise ValueError(f"lq_size={self.lq_size}, image_size={self.image_size}: served is where they agree")
        if len(self.num_res_blocks) != len(self.channel_mult):
            raise ValueError("num_res_blocks and channel_mult differ in number")
        if self.swin_embed_dim % self.heads:
            raise ValueError(f"swin_embed_dim={self.swin_embed_dim} is no multiple of its {self.heads} heads")
        return self

    @property
    def heads(self) -> int:
        """How many heads the attention has."""
        return self.num_heads if self.num_head_channels < 1 else max(1, self.swin_embed_dim // self.num_head_channels)

    @property
    def size_multiple(self) -> int:
        """What a latent's sides must be multiples of: whole windows at every resolution that has some."""
        last = len(self.channel_mult) - 1
        multiples = [2**last]
        for depth in range(last + 1):
            side = self.image_size // 2**depth
            if depth == last or side in self.attention_resolutions:
                multiples.append(min(side, self.window_size) * 2**depth)
        return math.lcm(*multiples)


class SwinUNet(nn.Module):
    """The network; its parameters bear the names of the official checkpoints."""

    def __init__(self, shape: SwinUNetShape) -> None:
        """Build it untrained."""
        super().__init__()
        first, wide = shape.channel_mult[0] * shape.model_channels, 4 * shape.model_channels
        self._channels = shape.model_channels
        self.time_embed = nn.Sequential(
            SteadyLinear(nn.Linear(shape.model_channels, wide)), nn.SiLU(), SteadyLinear(nn.Linear(wide, wide))
        )
        self.input_blocks = nn.ModuleList([_Stage(nn.Conv2d(shape.in_channels + 3, first, 3, padding=1))])
        channels, side, skips = first, shape.image_size, [first]
        last = len(shape.channel_mult) - 1
        for depth, mult in enumerate(shape.channel_mult):
            for number in range(shape.num_res_blocks[depth]):
                parts: list[nn.Module] = [_ResBlock(channels, mult * shape.model_channels, wide)]
                channels = mult * shape.model_channels
                if number == 0 and side in shape.attention_resolutions:
                    parts.append(_SwinLayer(channels, side, shape))
                self.input_blocks.append(_Stage(*parts))
                skips.append(channels)
            if depth < last:
                self.input_blocks.append(_Stage(_Halve(channels)))
                skips.append(channels)
                side //= 2
        self.middle_block = _Stage(
            _ResBlock(channels, channels, wide), _SwinLayer(channels, side, shape), _ResBlock(channels, channels, wide)
        )
        self.output_blocks = nn.ModuleList()
        for depth, mult in reversed(list(enumerate(shape.channel_mult))):
            for number in range(shape.num_res_blocks[depth] + 1):
                parts = [_ResBlock(channels + skips.pop(), mult * shape.model_channels, wide)]
                channels = mult * shape.model_channels
                if number == 0 and side in shape.attention_resolutions:
                    parts.append(_SwinLayer(channels, side, shape))
                if depth and number == shape.num_res_blocks[depth]:
                    parts.append(_Double(channels))
                    side *= 2
                self.output_blocks.append(_Stage(*parts))
        self.out = nn.Sequential(
            nn.GroupNorm(_GROUPS, channels), nn.SiLU(), nn.Conv2d(first, shape.out_channels, 3, padding=1)
        )

    def forward(self, x: Tensor, lr: Tensor, timesteps: Tensor, levels: Tensor | None = None) -> Tensor:
        """Return (B,C,h,w) of x (B,C,h,w) and the low-resolution pixels lr (B,3,h,w) beside it, both of its dtype.

        timesteps and levels are those of `SuperResolutionModel.predict`.
        """
        embedded = self.time_embed(sinusoids(timesteps, self._channels).to(x.dtype))
        time = _Time(embedded, levels)
        features, skips = torch.cat([x, lr], 1), []
        for stage in self.input_blocks:
            features = stage(features, time)
            skips.append(features)
        features = self.middle_block(features, time)
        for stage in self.output_blocks:
            features = stage(torch.cat([features, skips.pop()], 1), time)
        painted: Tensor = self.out(features)
        return painted


def sinusoids(timesteps: Tensor, channels: int) -> Tensor:
    """Return (…,channels) float32, cosines before sines, of timesteps (…) int64; channels is even.

    Vaswani et al., "Attention Is All You Need" (arXiv 1706.03762), 3.5, with periods up to 2π·10000.
    """
    half = channels // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=timesteps.device) / half)
    angles = timesteps[..., None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], -1)


class _Time:
    """The time embedding of a forward: (B,D), or (B,L,D) with a map of levels (B,h,w)."""

    def __init__(self, embedded: Tensor, levels: Tensor | None) -> None:
        self._embedded, self._levels = embedded, levels
        self._resampled: dict[tuple[int, int], Tensor] = {}

    def projected(self, projection: nn.Module, size: tuple[int, int]) -> Tensor:
        """Return (B,C,1,1), or the field (B,C,h,w) of a block at resolution `size`: few rows, looked up by level."""
        rows: Tensor = projection(self._embedded)
        if self._levels is None:
            return rows[:, :, None, None]
        if size not in self._resampled:
            self._resampled[size] = resample_levels(self._levels, *size)
        return look_up(rows, self._resampled[size]).permute(0, 3, 1, 2)


class _Stage(nn.Sequential):
    """Layers one after the other, of which some listen to the time."""

    def forward(self, features: Tensor, time: _Time) -> Tensor:  # type: ignore[override]
        for layer in self:
            features = layer(features, time) if isinstance(layer, _ResBlock) else layer(features)
        return features


class _ResBlock(nn.Module):
    """Two convolutions beside a shortcut; what lies between them is scaled and shifted by the time."""

    def __init__(self, channels: int, out: int, wide: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(_GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), SteadyLinear(nn.Linear(wide, 2 * out)))
        self.out_layers = nn.Sequential(  # an Identity where dropout was: the names are numbers
            nn.GroupNorm(_GROUPS, out), nn.SiLU(), nn.Identity(), nn.Conv2d(out, out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if out == channels else nn.Conv2d(channels, out, 1)

    def forward(self, features: Tensor, time: _Time) -> Tensor:
        inner = self.in_layers(features)
        scale, shift = time.projected(self.emb_layers, (inner.shape[-2], inner.shape[-1])).chunk(2, 1)
        inner = self.out_layers[0](inner) * (1 + scale) + shift
        added: Tensor = self.skip_connection(features) + self.out_layers[1:](inner)
        return added


class _Halve(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.op(features))


class _Double(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.conv(functional.interpolate(features, scale_factor=2, mode="nearest")))


class _SwinLayer(nn.Module):
    """Some blocks of windowed attention, every second one with its windows shifted by half."""

    def __init__(self, channels: int, side: int, shape: SwinUNetShape) -> None:
        super().__init__()
        width, window = shape.swin_embed_dim, min(side, shape.window_size)
        half = 0 if side <= shape.window_size else window // 2
        self.patch_embed = _Named(proj=nn.Conv2d(channels, width, 1))
        self.blocks = nn.ModuleList(
            [_SwinBlock(width, window, half * (number % 2), shape) for number in range(shape.swin_depth)]
        )
        self.patch_unembed = _Named(proj=nn.Conv2d(width, channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        tokens = self.patch_embed["proj"](features)
        for block in self.blocks:
            tokens = block(tokens)
        return cast(Tensor, self.patch_unembed["proj"](tokens))


class _SwinBlock(nn.Module):
    def __init__(self, width: int, window: int, shift: int, shape: SwinUNetShape) -> None:
        super().__init__()
        self._window, self._shift = window, shift
        hidden = int(width * shape.mlp_ratio)
        self.norm1, self.norm2 = nn.GroupNorm(_GROUPS, width), nn.GroupNorm(_GROUPS, width)
        self.attn = _WindowAttention(width, window, shape.heads)
        self.mlp = _Named(fc1=nn.Conv2d(width, hidden, 1), fc2=nn.Conv2d(hidden, width, 1))

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        normed, apart = self.norm1(features), None
        if self._shift:
            normed = normed.roll((-self._shift, -self._shift), (2, 3))
            apart = self._apart(height, width, features)
        attended = _from_windows(self.attn(_windows(normed, self._window), apart), self._window, height, width)
        if self._shift:
            attended = attended.roll((self._shift, self._shift), (2, 3))
        features = features + attended
        return features + cast(Tensor, self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(features)))))

    def _apart(self, height: int, width: int, like: Tensor) -> Tensor:
        """Return (windows,1,N,N): in the last row of windows, what keeps their left apart from their right.

        Elsewhere in the literature it keeps apart what only the shift has brought together: in that row above from
        below, in the last column left from right. The original mistakes one axis for another here, and was trained so:
        its weights expect it.
        """
        at = torch.arange(height, device=like.device)
        region = (at >= height - self._window).long() + (at >= height - self._shift).long()
        seen = region.reshape(-1, 1, self._window).expand(-1, self._window, -1).flatten(1)
        apart = (seen[:, :, None] != seen[:, None, :]).to(like.dtype) * _APART
        return apart.repeat_interleave(width // self._window, 0)[:, None]


class _WindowAttention(nn.Module):
    """Attention among the positions of a window, with a bias for each distance between two of them."""

    def __init__(self, width: int, window: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("_distances", _distances(window), persistent=False)

    def forward(self, tokens: Tensor, apart: Tensor | None) -> Tensor:
        """Return (B·windows,N,C) of tokens of that shape; apart: (windows,1,N,N), added to the attention."""
        number, length, width = tokens.shape
        q, k, v = self.qkv(tokens).reshape(number, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        distances = cast(Tensor, self._distances)
        bias = self.relative_position_bias_table[distances].permute(2, 0, 1)[None].to(tokens.dtype)
        if apart is not None:
            bias = (bias + apart).repeat(number // len(apart), 1, 1, 1)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return cast(Tensor, self.proj(attended.transpose(1, 2).reshape(number, length, width)))


class _Named(nn.ModuleDict):
    """Layers by name."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__(layers)


def _distances(window: int) -> Tensor:
    """Return (N,N) int64, which row of the table belongs to two positions of a window: by rows apart, then columns."""
    at = torch.arange(window, device="cpu")  # wherever the network is built: it is no weight that would be loaded
    rows, columns = (grid.flatten() for grid in torch.meshgrid(at, at, indexing="ij"))
    down, right = (each[:, None] - each[None, :] + window - 1 for each in (rows, columns))
    return down * (2 * window - 1) + right


def _windows(features: Tensor, window: int) -> Tensor:
    """Cut (B,C,h,w) into (B·windows,N,C), row by row."""
    batch, channels, height, width = features.shape
    cut = features.reshape(batch, channels, height // window, window, width // window, window)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(-1, window**2, channels)


def _from_windows(tokens: Tensor, window: int, height: int, width: int) -> Tensor:
    """Put (B·windows,N,C) together to (B,C,h,w) again."""
    rows, columns = height // window, width // window
    cut = tokens.reshape(-1, rows, columns, window, window, tokens.shape[-1])
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(len(cut), -1, height, width)


def own_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint: without what is derived, and without the wrappers that trainers leave.

    A trainer may put all under `state_dict`, and `module.` or `_orig_mod.` before every name.
    """
    state = state.get("state_dict", state)
    own: dict[str, Tensor] = {}
    for name, value in state.items():
        for wrapper in ("module.", "_orig_mod."):
            name = name.removeprefix(wrapper)
        if not name.endswith(DERIVED):
            own[name] = value
    return own
