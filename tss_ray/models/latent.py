"""What the families of `diffusers` folders share: components loaded whole or not at all, a U-Net, an autoencoder.

The latent of a tile is what its autoencoder would make of the high-resolution pixels. An autoencoder that reduces by
the model's scale makes it as large as the low-resolution tile, which can then be concatenated to it.
"""

import math
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tss_ray.diffusion.time_embedding import SpatialTimeEmbedding
from tss_ray.errors import ModelError
from tss_ray.models.diffusers_folder import DiffusersCard, Folder, digest, licence_of, read_schedule, said_beside
from tss_ray.models.residual_unet import SteadyLinear

AnyCard = TypeVar("AnyCard", bound=DiffusersCard)


def reduction(config: dict[str, Any]) -> int:
    """Return by how much a U-Net or an autoencoder of this configuration reduces the sides of what it takes."""
    return int(2 ** (len(config.get("block_out_channels") or (0,)) - 1))


def read_latent_card(
    kind: type[AnyCard],
    family: str,
    folder: Folder,
    components: tuple[str, ...],
    unet: dict[str, Any],
    autoencoder: dict[str, Any],
    allow_pickles: bool,
    channels_beside: int = 3,
    scale: int | None = None,
    **more: Any,  # noqa: ANN401
) -> AnyCard:
    """Return the card of a folder whose U-Net sees the latent beside the pixels; weights are hashed, not loaded.

    components: whose files the hash is over. autoencoder: its configuration, `latent_channels` in it. channels_beside:
    what the U-Net sees beside the latent. scale: None means that the latent is as large as the tile. more: what the
    family says besides.
    Raises ModelError where the channels are those of another model.
    """
    said, channels = said_beside(folder.path), int(autoencoder["latent_channels"])
    scale = reduction(autoencoder) if scale is None else scale
    deepest = reduction(autoencoder) * reduction(unet)  # px of the result that one position in its middle stands for
    num_timesteps, prediction, schedule = read_schedule(folder)
    _check_channels(folder.path, unet, "in_channels", channels + channels_beside)
    _check_channels(folder.path, unet, "out_channels", channels)
    return kind(
        model_id=said.model_id or folder.path.resolve().name,
        family=family,
        scale=scale,
        num_timesteps=num_timesteps,
        prediction_type=prediction,
        licence=licence_of(folder.path, said),
        sha256=digest(folder, components, allow_pickles),
        num_steps=said.num_steps,
        schedule=schedule,
        tile_multiple=deepest // math.gcd(deepest, scale),
        **more,
    )


def load_component(
    folder: Folder,
    component: str,
    kind: Any,  # noqa: ANN401
    allow_pickles: bool,
    dtype: torch.dtype = torch.float32,
) -> Any:  # noqa: ANN401
    """Return a component of a `diffusers` class with the folder's weights, on the CPU.

    Raises ModelError where weights are missing, too many, damaged or of other shapes: `from_pretrained` alone would
    leave what is missing random and say so in its log.
    """
    weights = folder.weights(component, allow_pickles)
    try:
        network, found = kind.from_pretrained(
            folder.path,
            subfolder=component,
            torch_dtype=dtype,
            use_safetensors=not weights.is_pickle,
            variant=weights.variant,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except Exception as error:  # files from anywhere, read by other libraries: they raise what they like
        told = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder.path / component} cannot be loaded: {told}; fetch the model again") from error
    wrong = [*found["missing_keys"], *found["unexpected_keys"], *found["mismatched_keys"], *found["error_msgs"]]
    if wrong:
        raise ModelError(
            f"the weights in {folder.path / component} are not of the network that its config.json describes: "
            f"{', '.join(map(str, wrong[:3]))}{' …' if len(wrong) > 3 else ''}; fetch the model again"
        )
    return network


class LatentUNet:
    """A U-Net with and without a map of levels; the conditions of its forward are keywords."""

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        """Take over a network of `dtype`. Raises ModelError if it has no spatial time embedding."""
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear and name in _FEW_ROWS:
                    setattr(parent, name, SteadyLinear(child))
        moved: Any = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network: Any = moved.eval()
        self._spatial = SpatialTimeEmbedding(self._network)
        self._dtype = dtype

    def __call__(self, stacked: Tensor, timesteps: Tensor, levels: Tensor | None, **conditions: Any) -> Tensor:  # noqa: ANN401
        """Return (B,C,h,w) float32; stacked, timesteps and levels are those of `SuperResolutionModel.predict`."""
        output: Tensor = self.outputs(stacked, timesteps, levels, **conditions)[0]
        return output.float()

    def outputs(
        self,
        stacked: Tensor,
        timesteps: Tensor,
        levels: Tensor | None,
        **conditions: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """Return all that the network returns, in its own dtype."""
        given = stacked.to(self._dtype, memory_format=torch.channels_last)
        if levels is None:
            return tuple(self._network(given, timesteps, return_dict=False, **conditions))
        return self._spatial.outputs(given, timesteps, levels, **conditions)


_FEW_ROWS = frozenset({"linear_1", "linear_2", "time_emb_proj"})
"""Matrix products with a row for each sample; see `SteadyLinear`."""


def _check_channels(path: Path, unet: dict[str, Any], name: str, wanted: int) -> None:
    if unet.get(name) != wanted:
        raise ModelError(
            f"{path}: unet has {name}={unet.get(name)}, the family has {wanted}; this is another model, give "
            "one of a family that `tss-ray models list` names"
        )
