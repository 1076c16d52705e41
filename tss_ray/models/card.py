"""The machine-readable card beside a checkpoint: everything that must be known before its weights are touched."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.diffusion.prediction import PredictionType
from tss_ray.diffusion.transition import Ddim, Transition
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


class ModelCard(BaseModel, ABC):
    """What a model is and what it demands, whatever its family; the properties are what the engine is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_id: str
    family: str
    scale: int = Field(ge=2)
    num_timesteps: int = Field(ge=2)
    prediction_type: PredictionType
    licence: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    num_steps: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, min_length=1, description="the only numbers of steps that it was made for, (1,) if distilled; None: any"
    )

    @property
    def size_multiple(self) -> int:
        """What the sides of a tile, in px of low resolution, must be multiples of."""
        return 1

    @property
    def final_alpha_cumprod(self) -> float:
        """What the step after a plan's last timestep goes to: 1 is the clean latent."""
        return 1.0

    @property
    @abstractmethod
    def transition(self) -> Transition:
        """How it is sampled."""

    @property
    def paints_pixels(self) -> bool:
        """Whether `decode` gives the picture itself; else what is to be added to the bicubic enlargement."""
        return False

    @property
    def takes_noisy_lr(self) -> bool:
        """Whether `condition` wants noise of the input's size: it then follows from the position, as all noise does."""
        return False

    @property
    def compiles(self) -> bool:
        """Whether its network goes through torch.compile; see `compute.compile`."""
        return False

    @property
    def steered_by(self) -> frozenset[str]:
        """Which of `LoadSettings` change what it paints: prompts and the like; a job that gives others is refused."""
        return frozenset()

    def check_tile(self, tile_px: int) -> None:
        """Raise SpecError if the network cannot take tiles of `tile_px`."""
        if not self.takes_tile(tile_px):
            raise SpecError(
                f"tile_px={tile_px}: {self.model_id} needs a multiple of {self.size_multiple}; correct tiles.tile_px"
            )

    def check_noise_level(self, noise_level: int) -> None:
        """Raise SpecError for noise on the input that the model was not made for, where it wants noise at all."""

    def takes_tile(self, tile_px: int) -> bool:
        """Tell whether the network can take tiles of `tile_px`."""
        return tile_px % self.size_multiple == 0

    def check_steps(self, num_steps: Iterable[int]) -> None:
        """Raise SpecError for a number of steps, other than 0, that the model was not made for."""
        asked = sorted({num for num in num_steps if num})
        if asked and asked[-1] > self.num_timesteps:
            raise SpecError(
                f"budget of {asked[-1]} steps: {self.model_id} has {self.num_timesteps} timesteps; lower it"
            )
        if self.num_steps is not None and (bad := [num for num in asked if num not in self.num_steps]):
            allowed = ", ".join(map(str, self.num_steps))
            raise SpecError(
                f"{self.model_id} was made for {allowed} steps, and images may get {bad}; give --steps "
                f"{self.num_steps[0]}, or a budget.ladder of 0 and {allowed} with its thresholds"
            )


class ResidualUNetCard(ModelCard):
    """The card of the embedded family."""

    family: Literal["residual_unet"]
    schedule: Literal["cosine"]
    schedule_shift: float = Field(0.0, description="added to ln SNR at every timestep")
    residual_scale: float = Field(gt=0)
    unet: UNetShape

    @property
    def compiles(self) -> bool:
        """It does."""
        return True

    @property
    def transition(self) -> Ddim:
        """DDIM over the cosine schedule."""
        table = cosine_alphas_cumprod(self.num_timesteps, shift=self.schedule_shift)
        return Ddim(table, self.prediction_type, self.final_alpha_cumprod)

    @property
    def size_multiple(self) -> int:
        """The reduction of the network: its latent is as large as the tile."""
        return self.unet.size_multiple


def read_card(folder: Path) -> ResidualUNetCard:
    """Read the card in a folder of the embedded family. Raises ModelError if there is none or it does not hold."""
    try:
        return ResidualUNetCard.model_validate_json((folder / CARD_FILE).read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{folder} has no {CARD_FILE}: not a model folder; give the folder that holds it") from error
    except ValidationError as error:
        raise ModelError(f"{folder / CARD_FILE} does not hold: {error}; fetch the model again") from error
