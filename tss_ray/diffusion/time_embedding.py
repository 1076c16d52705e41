"""A timestep for every position of a `diffusers` U-Net, without a fork of it.

DESIGN 4, "spatial time embedding". Residual blocks add a projection of the time embedding to their features, or scale
and shift by it: one vector per sample. With a timestep map it is a field. The timesteps of a sample have few distinct
values, one per level, so a block projects these few and every position looks its own up, at the block's resolution.

The rows are computed at each step, not kept for all timesteps: eight rows a sample cost no more than one does (the
weights are what is read), and class and other embeddings that are added to the time embedding are part of them.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tss_ray.diffusion.spatial import resample_levels
from tss_ray.errors import ModelError

_KNOWN_BLOCKS = frozenset(
    {
        *("DownBlock2D", "AttnDownBlock2D", "CrossAttnDownBlock2D", "ResnetDownsampleBlock2D"),
        *("UNetMidBlock2D", "UNetMidBlock2DCrossAttn"),
        *("UpBlock2D", "AttnUpBlock2D", "CrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    }
)
"""Blocks whose only use of the time embedding is to hand it to their ResnetBlock2D."""


class SpatialTimeEmbedding:
    """Runs a UNet2DModel, UNet2DConditionModel or ControlNetModel with a timestep for every position.

    The network stays what it is: hooks stand beside it, its weights keep their names, and who calls it directly gets
    the ordinary forward to the bit. Not for several threads at once.
    """

    def __init__(self, unet: nn.Module) -> None:
        """Attach to the network. Raises ModelError if it uses its time embedding in a way that is not known here."""
        blocks = _residual_blocks(unet)
        self._unet: Any = unet
        self._now = _Present()
        entrance: Any = unet.time_embedding
        entrance.register_forward_pre_hook(self._embed_every_level)
        for block in blocks:
            _attach(block, self._now)

    def __call__(self, sample: Tensor, timesteps: Tensor, levels: Tensor, **conditions: Any) -> Tensor:  # noqa: ANN401
        """Return the network's output for sample (B,C,h,w); position i,j is at timesteps[b, levels[b,i,j]].

        timesteps: (B,L) int64. levels: (B,h,w) int64 in [0,L). conditions: what the network's own forward takes.
        """
        output: Tensor = self.outputs(sample, timesteps, levels, **conditions)[0]
        return output

    def outputs(self, sample: Tensor, timesteps: Tensor, levels: Tensor, **conditions: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Return all that the network returns; a ControlNet has residuals for each resolution. See `__call__`."""
        self._now.set(timesteps, levels)
        try:
            return tuple(self._unet(sample, timesteps[:, 0], return_dict=False, **conditions))
        finally:
            self._now.set(None, None)

    def _embed_every_level(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Put (L,B,D) in the place of (B,D): levels first, so that what is added per sample broadcasts."""
        timesteps = self._now.timesteps
        if timesteps is None:
            return None
        by_level = timesteps.T
        projected = self._unet.time_proj(by_level.flatten()).to(inputs[0].dtype)
        return (projected.reshape(*by_level.shape, -1), *inputs[1:])


class _Present:
    """The maps of the forward that is running; none between forwards."""

    def __init__(self) -> None:
        self.timesteps: Tensor | None = None
        self._levels: Tensor | None = None
        self._size = (0, 0)
        self._choices: dict[tuple[int, int], Tensor] = {}

    def set(self, timesteps: Tensor | None, levels: Tensor | None) -> None:
        """Begin a forward, or end it with nothing."""
        self.timesteps, self._levels = timesteps, levels
        self._choices.clear()

    def see(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Note the resolution at which the block will use its time embedding."""
        self._size = (inputs[0].shape[-2], inputs[0].shape[-1])

    def added(self, module: nn.Module, inputs: tuple[Tensor, ...], projected: Tensor) -> "_Indexed | None":
        """Turn a block's projection (L,B,C) of every level into what adds itself to the block's features."""
        return None if self._levels is None else _Indexed(_Addend(self._choice(projected), projected.transpose(0, 1)))

    def spread(self, module: nn.Module, inputs: tuple[Tensor, ...], projected: Tensor) -> "_Indexed | None":
        """Turn a block's projection (L,B,C) of every level into a field (B,C,h,w)."""
        if self._levels is None:
            return None
        field = torch.bmm(self._choice(projected), projected.transpose(0, 1))
        return _Indexed(field.reshape(len(field), *self._size, -1).permute(0, 3, 1, 2))

    def _choice(self, projected: Tensor) -> Tensor:
        """Return (B,h·w,L), one where a position has the level and zero elsewhere, at the block's resolution."""
        assert self._levels is not None
        if self._size not in self._choices:
            levels = resample_levels(self._levels, *self._size).flatten(1)[..., None]
            numbers = torch.arange(len(projected), device=levels.device)
            self._choices[self._size] = (levels == numbers).to(projected.dtype)
        return self._choices[self._size]


class _Indexed:
    """What a projection returns in the place of (B,C): the block's `[:, :, None, None]` yields what it holds."""

    __slots__ = ("_value",)

    def __init__(self, value: "Tensor | _Addend") -> None:
        self._value = value

    def __getitem__(self, index: object) -> "Tensor | _Addend":
        if index != (slice(None), slice(None), None, None):
            raise ModelError(f"a residual block reads its time embedding at {index}: {_OTHER_VERSION}")
        return self._value


class _Addend:
    """A field that is never written out: choices (B,h·w,L) and rows (B,L,C), added to features by one matrix product.

    A choice is one and otherwise zeros, so the product picks a row without rounding, and the sum is that of the
    ordinary forward. A field that is written out and read again would be two more passes over the features.
    """

    __slots__ = ("_choice", "_rows")

    def __init__(self, choice: Tensor, rows: Tensor) -> None:
        self._choice, self._rows = choice, rows

    def __radd__(self, features: Tensor) -> Tensor:
        batch, _, height, width = features.shape
        pixels = features.permute(0, 2, 3, 1).flatten(1, 2)
        pixels.baddbmm_(self._choice, self._rows)  # into the features if they are channels last: nobody else has them
        return pixels.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


_OTHER_VERSION = "this version of diffusers is not known here; install the one that CI tests"


def _attach(block: nn.Module, now: _Present) -> None:
    parts: Any = block
    parts.conv1.register_forward_pre_hook(now.see)
    additive = parts.time_embedding_norm == "default"
    parts.time_emb_proj.register_forward_hook(now.added if additive else now.spread)


def _residual_blocks(unet: nn.Module) -> list[nn.Module]:
    """Return the blocks that listen to the time, or raise ModelError if any is of another form."""
    from diffusers.models.resnet import ResnetBlock2D  # here: importing it takes seconds

    network: Any = unet
    for setting, bad in (("time_embedding_type", "fourier"), ("class_embeddings_concat", True)):
        if network.config.get(setting) == bad:
            raise ModelError(f"a network with {setting}={bad} has no spatial time embedding; set plan.levels to 1")
    for part in (
        *network.down_blocks,
        network.mid_block,
        *getattr(network, "up_blocks", ()),
    ):  # a ControlNet: no way up
        if part is not None and type(part).__name__ not in _KNOWN_BLOCKS:
            raise ModelError(f"{type(part).__name__} has no spatial time embedding; set plan.levels to 1")
    blocks = [part for part in unet.modules() if getattr(part, "time_emb_proj", None) is not None]
    for block in blocks:
        kind = getattr(block, "time_embedding_norm", None)
        if type(block) is not ResnetBlock2D or kind not in ("default", "scale_shift"):
            raise ModelError(
                f"{type(block).__name__} with {kind!r} has no spatial time embedding; set plan.levels to 1"
            )
        _check_form(kind)
    return blocks


@cache
def _check_form(kind: str) -> None:
    """Raise ModelError unless a residual block of the installed diffusers takes a field where it took a vector."""
    from diffusers.models.resnet import ResnetBlock2D

    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.inference_mode():
        block = ResnetBlock2D(in_channels=4, temb_channels=4, groups=2, time_embedding_norm=kind).eval()
        features, embedding, now = torch.randn(2, 4, 3, 5), torch.randn(2, 4), _Present()
        ordinary = block(features, embedding)
        _attach(block, now)
        now.set(torch.zeros(2, 3, dtype=torch.long), torch.arange(2 * 15).reshape(2, 3, 5) % 3)
        spatial = block(features, embedding.expand(3, 2, 4))
    if not torch.allclose(spatial, ordinary, atol=1e-5):
        raise ModelError(f"ResnetBlock2D uses its time embedding in another way: {_OTHER_VERSION}")
