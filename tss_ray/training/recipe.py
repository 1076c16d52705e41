"""The training recipe: one YAML file in, one frozen and checked object out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tss_ray.errors import TrainingError
from tss_ray.models.card import UNetShape

Share = Annotated[float, Field(ge=0, le=1)]


def _ascending(bounds: tuple[Any, Any]) -> tuple[Any, Any]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"{list(bounds)}: need least <= largest; swap them")
    return bounds


Positive = Annotated[float, Field(gt=0)]
Cutoff = Annotated[float, Field(gt=0, le=1)]
JpegQuality = Annotated[int, Field(ge=1, le=100)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_ascending)]
ShareRange = Annotated[tuple[Share, Share], AfterValidator(_ascending)]
CutoffRange = Annotated[tuple[Cutoff, Cutoff], AfterValidator(_ascending)]
QualityRange = Annotated[tuple[JpegQuality, JpegQuality], AfterValidator(_ascending)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CropRecipe(_Frozen):
    """Which pixels are learned from."""

    crop_px: int = Field(96, ge=32, description="side of a high-resolution training crop, in px")
    margin_px: int = Field(16, ge=0, description="extra px on each side that resampling sees and training does not")
    github: bool = Field(False, description="the lossless photos of repositories at GitHub as well as Debian's")
    reductions: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (2, 3, 4),
        min_length=1,
        description="photos are reduced by these; lossy ones by 2 at least, so that they are sharp",
    )
    min_side_px: int = Field(192, ge=64, description="a reduced photo smaller than this is not used")
    texture_floor: float = Field(0.01, gt=0, description="weight of a crop = floor + min(mean local std of luma, cap)")
    texture_cap: float = Field(0.12, gt=0)
    evenness: Share = Field(0.0, description="0: a photo counts as all its crops do; 1: every photo counts alike")
    shrink_share: Share = Field(0.0, description="of the crops: cut larger and reduced by 1 … largest_shrink as well")
    largest_shrink: float = Field(1.5, ge=1, description="of those; their shrinks are drawn evenly in the logarithm")
    recolour_share: Share = Field(0.0, description="of the crops: channels exchanged and scaled, half of them inverted")
    drawn_share: Share = Field(0.0, description="of the crops: no photograph but drawn letters, lines and shapes")


class DegradationStage(_Frozen):
    """The first of the two stages of a strong degradation; ranges are [least, largest], drawn evenly between."""

    blur_share: Share = 0.8
    blur_sigma_px: PositiveRange = Field((0.2, 2.5), description="in px of the picture that enters the stage")
    anisotropic_share: Share = Field(0.4, description="of the blurred: another sigma across, at any angle")
    generalised_share: Share = Field(0.15, description="of the blurred: not Gaussian but exp(-d^(2 beta) / 2)")
    generalised_beta: PositiveRange = (0.5, 2.0)
    resize_share: Share = 0.9
    resize: PositiveRange = Field((0.3, 1.4), description="times the original's size")
    noise_share: Share = 0.8
    noise_sigma: ShareRange = Field((0.0, 0.08), description="Gaussian, of a range of 1")
    poisson_share: Share = Field(0.5, description="of the noisy: shot noise instead of Gaussian")
    poisson_scale: PositiveRange = Field(
        (0.05, 2.0), description="sigma of the shot noise at white, in 1/16 of the range"
    )
    grey_share: Share = Field(0.4, description="of the noisy: the same in all channels")
    jpeg_share: Share = 0.7
    jpeg_quality: QualityRange = (35, 95)


class SecondStage(DegradationStage):
    """The second: a smaller picture takes less, and the reduction to the low resolution follows it."""

    blur_sigma_px: PositiveRange = (0.2, 1.2)
    resize: PositiveRange = Field((0.6, 1.2), description="times the low resolution's size")
    noise_share: Share = 0.5
    noise_sigma: ShareRange = (0.0, 0.05)
    poisson_scale: PositiveRange = (0.05, 1.5)


class DegradationMix(_Frozen):
    """How a low-resolution input is made; the rest of the shares is clean bicubic.

    Fields that are not of `first` and `second` describe the single mild stage, but for the sinc filter.
    """

    degraded_share: Share = 0.4
    single_stage_share: Share = Field(0.5, description="of the degraded: one mild stage; the others take two")
    blur_sigma_px: float = Field(1.6, ge=0, description="largest Gaussian sigma, in high-resolution px")
    noise_share: Share = 0.5
    noise_sigma: float = Field(0.05, ge=0, le=1, description="largest Gaussian noise sigma, of a range of 1")
    jpeg_share: Share = 0.6
    jpeg_quality: QualityRange = Field((40, 95), description="least and largest, both included")
    first: DegradationStage = DegradationStage()
    second: SecondStage = SecondStage()
    sinc_share: Share = Field(0.4, description="of the two-stage crops: a low-pass filter that rings, at the end")
    sinc_cutoff: CutoffRange = Field((0.5, 1.0), description="of the Nyquist frequency of the low resolution")


class AdversarialRecipe(_Frozen):
    """A second phase for the few-step end: sampled trajectories, judged; see `training.adversarial`.

    It starts from the averaged weights of the first phase, with a fresh optimiser and another cosine schedule.
    """

    iterations: int = Field(6_000, ge=1, description="on top of those of the first phase")
    batch_size: int = Field(12, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    ema_decay: float = Field(0.998, gt=0, lt=1)
    crops: int = Field(8, ge=1, description="of each batch, this many are also sampled and judged")
    num_steps: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (2, 3, 4, 4, 6, 8, 15), min_length=1, description="lengths of the sampled plans, drawn at random"
    )
    adversarial_weight: float = Field(0.2, ge=0, description="of the hinge loss, times the late share of the timestep")
    feature_weight: float = Field(2.0, ge=0, description="of matching the discriminator's features, times the same")
    pixel_weight: float = Field(0.8, ge=0, description="of the mean absolute error of the latent, of spread near 1")
    masking_std: float | None = Field(
        0.02,
        gt=0,
        description="local std of luma, of a range of 1, that halves an error's weight; None: none is",
    )
    judged_std: float | None = Field(
        None,
        gt=0,
        description="local std of what a reduction loses, of luma of a range of 1, at which the judge sees half of an "
        "error, and none where nothing is lost; None: all of it everywhere",
    )
    initial_judge: Path | None = Field(
        None, description="checkpoint.pt of an earlier run, whose discriminator goes on; None: it starts from nothing"
    )
    consistency_weight: float = Field(1.0, ge=0, description="of the squared error after reduction, in the same unit")
    late_power: float = Field(2.0, gt=0, description="late share = (1 - t/T) to this power: no judge at pure noise")
    channels: tuple[int, int, int] = Field((48, 96, 192), description="of the discriminator, finest resolution first")
    judge_learning_rate: float = Field(4e-4, gt=0, description="constant after the warm-up")

    @model_validator(mode="after")
    def _the_batch_holds_the_judged(self) -> "AdversarialRecipe":
        if self.crops > self.batch_size:
            raise ValueError(f"crops={self.crops}: need at most batch_size={self.batch_size}")
        return self


class ValidationRecipe(_Frozen):
    """The table and the pictures that show in the middle of a run how it stands; they decide no weight."""

    every: int = Field(2000, ge=0, description="iterations between two tables; 0 = never")
    num_crops: int = Field(8, ge=1, description="one of each photograph of the split validation, at most")
    crop_px: int = Field(256, ge=96, description="side of a crop, in px of the original; NIQE needs 96")
    steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 4, 7, 15), min_length=1, description="numbers of denoising steps, each a row"
    )


class Recipe(_Frozen):
    """Everything that decides the weights; two runs of one recipe on one machine give the same bits."""

    name: str = "tss-x4-small"
    scale: int = Field(4, ge=2)
    residual_scale: float = Field(
        0.1, gt=0, description="z0 = pixel_unshuffle((hr - upsampled lr) / residual_scale), range [-1,1]"
    )
    num_timesteps: int = Field(1000, ge=10)
    schedule_shift: float = Field(0.0, ge=-6, le=6, description="added to ln SNR at every timestep")
    seed: int = Field(0, ge=0)
    prediction_type: Literal["x0", "v"] = Field(
        "x0", description="what the network is trained to predict; x0 keeps flat areas clean early on"
    )
    snr_weight_cap: float = Field(
        25.0, ge=1, description="x0 only: weight of the squared error = SNR clipped to [1, cap]"
    )
    one_step_share: Share = Field(
        0.2, description="of each batch at the last timestep, pure noise, which a single step starts from"
    )
    initial_weights: str | None = Field(
        None, description="embedded name or model folder whose weights the network starts from; None: random"
    )
    initial_partial: bool = Field(
        False, description="of another network take the tensors that fit by name and shape, rather than refuse it"
    )
    iterations: int = Field(5_250, ge=0, description="of the first phase")
    decay_iterations: int | None = Field(
        12_000, ge=1, description="of the first phase's cosine, which the second may cut short; None: its iterations"
    )
    batch_size: int = Field(16, ge=1)
    optimiser: Literal["adamw", "muon"] = Field("adamw", description="muon: of the convolutions; see `MuonAndAdamW`")
    learning_rate: float = Field(6e-4, gt=0)
    warmup_iterations: int = Field(200, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, gt=0, lt=1)
    checkpoint_every: int = Field(250, ge=1)
    unet: UNetShape = UNetShape(
        block_out_channels=(96, 128, 192), layers_per_block=1, norm="channel", preconditioned=True
    )
    crops: CropRecipe = CropRecipe()
    degradation: DegradationMix = DegradationMix()
    adversarial: AdversarialRecipe | None = AdversarialRecipe()
    validation: ValidationRecipe = ValidationRecipe()

    @model_validator(mode="after")
    def _crops_fit_the_network(self) -> "Recipe":
        multiple = self.scale * 2 ** (len(self.unet.block_out_channels) - 1)
        for name in ("crop_px", "margin_px"):
            value = getattr(self.crops, name)
            if value % (multiple if name == "crop_px" else self.scale):
                raise ValueError(
                    f"crops.{name}={value}: need a multiple of {multiple if name == 'crop_px' else self.scale}"
                )
        groups = self.unet.norm_num_groups
        if any(channels < 1 or channels % groups for channels in self.unet.block_out_channels):
            raise ValueError(
                f"unet.block_out_channels={list(self.unet.block_out_channels)}: need multiples of "
                f"unet.norm_num_groups={groups}"
            )
        return self

    @property
    def all_iterations(self) -> int:
        """Iterations of both phases."""
        return self.iterations + (0 if self.adversarial is None else self.adversarial.iterations)

    def phase(self, iteration: int) -> "Phase":
        """Return what holds at an iteration, counted from 1."""
        second = self.adversarial
        if second is None or iteration <= self.iterations:
            decay = max(self.iterations, self.decay_iterations or 0)
            return Phase(False, iteration, decay, self.batch_size, self.learning_rate, self.ema_decay)
        own = iteration - self.iterations
        return Phase(True, own, second.iterations, second.batch_size, second.learning_rate, second.ema_decay)


@dataclass(frozen=True)
class Phase:
    """Where in which phase an iteration is, counted from 1 within it; the cosine is `decay_iterations` long."""

    judged: bool
    iteration: int
    decay_iterations: int
    batch_size: int
    learning_rate: float
    ema_decay: float


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises TrainingError for an unreadable file, an unknown key or a value out of bounds."""
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise TrainingError(f"{path}: {error}; correct the recipe (jobs/train_x4.yaml is a working one)") from error
