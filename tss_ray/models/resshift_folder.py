"""A ResShift checkpoint as it is published: what its configuration says, and which files its weights lie in.

A folder holds one configuration of github.com/zsyOAOA/ResShift (S-Lab License 1.0) such as
`realsr_swinunet_realesrgan256_journal.yaml`, the network's weights (`resshift_realsrx4_s4_v3.pth`) and the
autoencoder's (`autoencoder_vq_f4.pth`), as `.safetensors` or as the pickles of the release. Nothing here touches
weights: whether a folder will run is known before they are read.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tss_ray.diffusion.transition import ResidualShift, exponential_etas
from tss_ray.errors import ModelError
from tss_ray.models.card import ModelCard
from tss_ray.models.diffusers_folder import said_beside
from tss_ray.models.swin_unet import SwinUNetShape
from tss_ray.models.vq_autoencoder import VqShape

NETWORK = "models.unet.UNetModelSwin"
_AUTOENCODER = "ldm.models.autoencoder.VQModelTorch"
_DIFFUSION = "models.script_util.create_gaussian_diffusion"
LICENCE = "S-Lab-1.0"
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_SAFE, _PICKLE = ".safetensors", ".pth"
_GIVE = "give a folder of one of its ×4 models, with configuration and both weights"
AnyModel = TypeVar("AnyModel", bound=BaseModel)


class ShiftSchedule(BaseModel):
    """`diffusion.params` of an official configuration; what is not served cannot be said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class Power(BaseModel):
        """`schedule_kwargs`."""

        model_config = ConfigDict(frozen=True, extra="forbid")
        power: float = Field(gt=0)

    sf: int = Field(4, ge=2)
    schedule_name: Literal["exponential"]
    schedule_kwargs: Power
    steps: int = Field(ge=2)
    etas_end: float = Field(0.99, gt=0, le=1)
    min_noise_level: float = Field(0.01, gt=0)
    kappa: float = Field(1.0, gt=0)
    normalize_input: bool
    predict_type: Literal["xstart"] = "xstart"
    latent_flag: Literal[True] = True
    scale_factor: float = Field(1.0, gt=0)
    timestep_respacing: None = None
    weighted_mse: bool = False

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if min(self.min_noise_level / self.kappa, self.min_noise_level) >= self.etas_end:
            raise ValueError(f"min_noise_level={self.min_noise_level} begins above etas_end={self.etas_end}")
        return self


class ResShiftCard(ModelCard):
    """The card of a folder, derived from its configuration; `card.json` in the folder may say more."""

    schedule: ShiftSchedule
    unet: SwinUNetShape
    autoencoder: VqShape

    @property
    def transition(self) -> ResidualShift:
        """The residual shift, over the etas of the configuration."""
        said = self.schedule
        etas = exponential_etas(said.steps, said.schedule_kwargs.power, said.min_noise_level, said.etas_end, said.kappa)
        return ResidualShift(etas, said.kappa)

    @property
    def size_multiple(self) -> int:
        """Whole windows of the network at each resolution: 64 for the published ones, whose latent is as large."""
        return self.unet.size_multiple

    @property
    def paints_pixels(self) -> bool:
        """An autoencoder decodes whole pictures."""
        return True


@dataclass(frozen=True)
class Files:
    """Where a folder's parts lie."""

    config: Path
    network: Path
    autoencoder: Path


def is_resshift(path: Path) -> bool:
    """Tell whether a folder has a configuration of this family; any other YAML, or none, is somebody else's."""
    return bool(_configs(path))


def read_card(path: Path, allow_pickles: bool = False) -> ResShiftCard:
    """Return the card of a folder, its weights hashed but not loaded. Raises ModelError for what will not run."""
    files = find_files(path, allow_pickles)
    config = _read(files.config)
    for part, served in (("model", NETWORK), ("autoencoder", _AUTOENCODER), ("diffusion", _DIFFUSION)):
        if (found := _target(config, part)) != served:
            raise ModelError(f"{files.config}: {part}.target is {found}, this family has {served} there; {_GIVE}")
    unet = _part(SwinUNetShape, files.config, config, "model")
    autoencoder = _part(VqShape, files.config, config, "autoencoder")
    schedule = _part(ShiftSchedule, files.config, config, "diffusion")
    _check_fit(files.config, unet, autoencoder, schedule)
    said = said_beside(path)
    return ResShiftCard(
        model_id=said.model_id or path.resolve().name,
        family="resshift",
        scale=schedule.sf,
        num_timesteps=schedule.steps,
        prediction_type="x0",
        licence=said.licence or LICENCE,
        sha256=_digest(files),
        num_steps=said.num_steps,
        schedule=schedule,
        unet=unet,
        autoencoder=autoencoder,
    )


def find_files(path: Path, allow_pickles: bool) -> Files:
    """Return where configuration and weights lie: safetensors before the pickle of the same name.

    The autoencoder's are called as in the configuration's `autoencoder.ckpt_path`; the network's are the others.
    Raises ModelError if something is missing, there are several, or they are pickles and not allowed.
    """
    configs = _configs(path)
    if len(configs) != 1:
        raise ModelError(f"{path} has {len(configs)} configurations of ResShift, it must have one; {_GIVE}")
    named = (_read(configs[0]).get("autoencoder") or {}).get("ckpt_path") or "autoencoder_vq_f4.pth"
    stem, weights = Path(str(named)).stem, _weights(path)
    if stem not in weights:
        raise ModelError(
            f"{path} has no {stem}{_SAFE} or {_PICKLE}, the autoencoder's weights; put them beside the others"
        )
    others = sorted(set(weights) - {stem})
    if len(others) != 1:
        told = ", ".join(others) or "none"
        raise ModelError(f"{path}: beside {stem} it must have the weights of one network, and has {told}; {_GIVE}")
    found = Files(configs[0], weights[others[0]], weights[stem])
    for file in (found.network, found.autoencoder):
        if file.suffix == _PICKLE and not allow_pickles:
            raise ModelError(
                f"{path} has {file.name}, a pickle, which may run code as it is read; convert it to {_SAFE}, or set "
                "checkpoint.allow_pickles=true: tensors alone are then taken of it"
            )
    return found


def _configs(path: Path) -> list[Path]:
    """Return the YAML files that name the network."""
    there = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml") and file.is_file())
    return [file for file in there if NETWORK.encode() in file.read_bytes()]


def _weights(path: Path) -> dict[str, Path]:
    """Return the files by stem."""
    by_stem: dict[str, Path] = {}
    for suffix in (_PICKLE, _SAFE):  # the later wins
        by_stem |= {file.stem: file for file in sorted(path.glob(f"*{suffix}"))}
    return by_stem


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise ModelError(f"{file} cannot be read: {told}; fetch the configuration again") from error
    return found if isinstance(found, dict) else {}


def _target(config: dict[str, Any], part: str) -> str | None:
    section = config.get(part)
    return section.get("target") if isinstance(section, dict) else None


def _part(kind: type[AnyModel], file: Path, config: dict[str, Any], name: str) -> AnyModel:
    """Return a part's `params`, with references to other places of the configuration followed."""
    params = config[name].get("params") or {}
    try:
        return kind.model_validate({key: _followed(config, value) for key, value in params.items()})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (name, "params", *first["loc"])))
        raise ModelError(f"{file}: {place}: {first['msg']}; this model is not served, {_GIVE}") from error


def _followed(config: dict[str, Any], value: object) -> object:
    """Follow one reference like ${autoencoder.params.embed_dim}, as OmegaConf writes them."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    found: object = config
    for name in match[1].split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _check_fit(file: Path, unet: SwinUNetShape, autoencoder: VqShape, schedule: ShiftSchedule) -> None:
    if schedule.sf != autoencoder.reduction:
        raise ModelError(
            f"{file}: it enlarges by {schedule.sf}, its autoencoder reduces by {autoencoder.reduction}; served is "
            f"where both are the same, {_GIVE}"
        )
    for name, channels in (("in_channels", unet.in_channels), ("out_channels", unet.out_channels)):
        if channels != autoencoder.embed_dim:
            raise ModelError(
                f"{file}: the network has {name}={channels}, the autoencoder embed_dim={autoencoder.embed_dim}: they "
                f"do not belong together; {_GIVE}"
            )


def _digest(files: Files) -> str:
    """Return the sha256 over what the files hold, whatever they are called and wherever they lie."""
    total = hashlib.sha256()
    for file in (files.config, files.network, files.autoencoder):
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
