"""The machine-readable card beside a checkpoint: everything that must be known before its weights are touched."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tss_ray.diffusion.prediction import PredictionType
from tss_ray.errors import ModelError, SpecError

CARD_FILE = "card.json"
WEIGHTS_FILE = "model.safetensors"


class UNetShape(BaseModel):
    """The embedded network: a `diffusers` UNet2DModel without attention."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    block_out_channels: tuple[int, ...] = Field((64, 96, 160), min_length=1)
    layers_per_block: int = Field(2, ge=1)
    norm_num_groups: int = Field(16, ge=1)
    norm: Literal["group", "channel"] = Field(
        "group", description="channel: each position over its channels, so that what lies around it changes nothing"
    )
    preconditioned: bool = Field(
        False, description="inputs and outputs scaled to what is uncertain; the network also predicts its spread"
    )

    @property
    def size_multiple(self) -> int:
        """What a latent's sides must be multiples of."""
        return int(2 ** (len(self.block_out_channels) - 1))


class ModelCard(BaseModel):
    """What a model is and what it demands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_id: str
    family: Literal["residual_unet"]
    scale: int = Field(ge=2)
    num_timesteps: int = Field(ge=2)
    schedule: Literal["cosine"]
    schedule_shift: float = Field(0.0, description="added to ln SNR at every timestep")
    prediction_type: PredictionType
    residual_scale: float = Field(gt=0)
    unet: UNetShape
    licence: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    def check_tile(self, tile_px: int) -> None:
        """Raise SpecError if the network cannot take tiles of `tile_px`."""
        if not self.takes_tile(tile_px):
            multiple = self.unet.size_multiple
            raise SpecError(f"tile_px={tile_px}: {self.model_id} needs a multiple of {multiple}; correct tiles.tile_px")

    def takes_tile(self, tile_px: int) -> bool:
        """Tell whether the network can take tiles of `tile_px`."""
        return tile_px % self.unet.size_multiple == 0


def read_card(folder: Path) -> ModelCard:
    """Read the card in a model folder. Raises ModelError if there is none or it does not hold."""
    try:
        return ModelCard.model_validate_json((folder / CARD_FILE).read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{folder} has no {CARD_FILE}: not a model folder; give the folder that holds it") from error
    except ValidationError as error:
        raise ModelError(f"{folder / CARD_FILE} does not hold: {error}; fetch the model again") from error
