"""A checkpoint as `diffusers` saves it: what its configurations say, and which files its weights lie in.

Everything here reads JSON and looks at file names: whether a folder will run is known before its weights are touched.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from tss_ray.diffusion.noise_schedule import beta_alphas_cumprod, cosine_alphas_cumprod, with_pure_noise_end
from tss_ray.diffusion.prediction import PredictionType
from tss_ray.diffusion.transition import Ddim
from tss_ray.errors import ModelError
from tss_ray.models.card import CARD_FILE, ModelCard

INDEX_FILE = "model_index.json"
README_FILE = "README.md"
_HEAD = re.compile(r"---\r?\n(.*?)^---", re.DOTALL | re.MULTILINE)
_STEMS = {
    "diffusers": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
    "transformers": ("model", "pytorch_model"),
}
"""Names of weights, as safetensors and as pickles, by the library that reads them."""
_VARIANTS = (None, "fp16", "bf16", "non_ema")
_PREDICTIONS: dict[str, PredictionType] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
_SCHEDULERS = {
    "DDIMScheduler": True,
    "DDPMScheduler": True,
    "PNDMScheduler": False,
    "LMSDiscreteScheduler": True,
    "EulerDiscreteScheduler": True,
    "EulerAncestralDiscreteScheduler": True,
    "DPMSolverMultistepScheduler": True,
    "DPMSolverSinglestepScheduler": True,
    "DEISMultistepScheduler": True,
    "UniPCMultistepScheduler": True,
    "HeunDiscreteScheduler": True,
}
"""Schedulers whose noise is that of alphas_cumprod, with their default of `set_alpha_to_one`. Only what they say of the
noise is used: the sampler is ours."""


class BetaSchedule(BaseModel):
    """What a scheduler's configuration says of the noise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    start: float = 0.0001
    end: float = 0.02
    stops_at_first: bool = Field(False, description="the last step goes to timestep 0's noise, not to none at all")
    begins_at_noise: bool = Field(False, description="rescaled so that the last timestep holds no signal")

    def alphas_cumprod(self, num_timesteps: int) -> Tensor:
        """Return the table (T,) float64. Raises SpecError for betas that are none."""
        if self.kind == "squaredcos_cap_v2":
            table = cosine_alphas_cumprod(num_timesteps)
        else:
            table = beta_alphas_cumprod(num_timesteps, self.start, self.end, scaled=self.kind == "scaled_linear")
        return with_pure_noise_end(table) if self.begins_at_noise else table


class DiffusersCard(ModelCard):
    """The card of a `diffusers` folder, derived from its configurations; `card.json` in the folder may say more."""

    schedule: BetaSchedule
    tile_multiple: int = Field(ge=1)

    @property
    def size_multiple(self) -> int:
        """The reduction of the network, over what a pixel of the input is in the latent."""
        return self.tile_multiple

    @property
    def final_alpha_cumprod(self) -> float:
        """See `BetaSchedule.stops_at_first`."""
        return float(self.schedule.alphas_cumprod(self.num_timesteps)[0]) if self.schedule.stops_at_first else 1.0

    @property
    def transition(self) -> Ddim:
        """DDIM over the scheduler's noise."""
        table = self.schedule.alphas_cumprod(self.num_timesteps)
        return Ddim(table, self.prediction_type, self.final_alpha_cumprod)

    @property
    def paints_pixels(self) -> bool:
        """An autoencoder decodes whole pictures."""
        return True


class SaidBeside(BaseModel):
    """What `card.json` beside a `diffusers` folder may say: what no configuration tells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_id: str | None = None
    licence: str | None = None
    sha256: str | None = None
    num_steps: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Weights:
    """Where the weights of one component lie. variant: as `diffusers` calls it, like fp16."""

    files: tuple[Path, ...]
    variant: str | None
    is_pickle: bool


@dataclass(frozen=True)
class Folder:
    """A folder with a model_index.json that can be read."""

    path: Path
    index: dict[str, Any]

    @property
    def pipeline(self) -> str:
        """The class that it was saved from."""
        return str(self.index.get("_class_name"))

    def config(self, component: str, expected: str | None = None) -> dict[str, Any]:
        """Return a component's configuration. Raises ModelError if it is missing or of another class than expected."""
        name = {"scheduler": "scheduler_config.json", "low_res_scheduler": "scheduler_config.json"}.get(component)
        config = _read_json(self.path / component / (name or "config.json"))
        found = (self.index.get(component) or [None, config.get("_class_name")])[1]
        if expected is not None and found != expected:
            raise ModelError(
                f"{self.path}: {component} is a {found}, {self.pipeline} has a {expected} there; give the folder that "
                "the pipeline was saved to"
            )
        return config

    def weights(self, component: str, allow_pickles: bool = False) -> Weights:
        """Return where a component's weights lie: safetensors first, in full precision first.

        Raises ModelError if there are none, some of several parts are missing, or they are pickles and not allowed.
        """
        folder = self.path / component
        library = str((self.index.get(component) or ["diffusers"])[0])
        safe, pickled = _STEMS.get(library, _STEMS["diffusers"])
        for stem, ending in ((safe, "safetensors"), (pickled, "bin")):
            for variant in _VARIANTS:
                files = _weight_files(folder, stem, ending, variant)
                if files and ending == "bin" and not allow_pickles:
                    raise ModelError(
                        f"{folder} has {files[0].name} alone, a pickle, which may run code as it is read; take a "
                        "checkpoint of safetensors, or set checkpoint.allow_pickles=true"
                    )
                if files:
                    return Weights(files, variant, ending == "bin")
        raise ModelError(f"{folder} has no {safe}.safetensors; fetch the model again")


def open_folder(path: Path) -> Folder:
    """Read a folder's index. Raises ModelError if it is none of `diffusers`."""
    return Folder(path, _read_json(path / INDEX_FILE))


def read_schedule(folder: Folder) -> tuple[int, PredictionType, BetaSchedule]:
    """Return timesteps, prediction and noise as a folder's scheduler says. Raises ModelError for what is not served."""
    num_timesteps, schedule = read_noise(folder, "scheduler")
    config = folder.config("scheduler")
    clips = {
        "clip_sample": _class_of(folder, "scheduler") in ("DDIMScheduler", "DDPMScheduler"),
        "thresholding": False,
    }
    for setting, default in clips.items():
        if config.get(setting, default):
            raise ModelError(
                f"{folder.path}: its scheduler clips estimates of the latent ({setting}), which is not served; set "
                f"{setting} to false in scheduler/scheduler_config.json if the model was not trained so"
            )
    name = config.get("prediction_type", "epsilon")
    if name not in _PREDICTIONS:
        raise ModelError(
            f"{folder.path}: a scheduler with prediction_type={name} is not served; give another checkpoint"
        )
    if schedule.begins_at_noise and name == "epsilon":
        raise ModelError(
            f"{folder.path}: rescale_betas_zero_snr leaves no signal for a network of prediction_type=epsilon to "
            "begin with; correct one of them in scheduler/scheduler_config.json"
        )
    return num_timesteps, _PREDICTIONS[name], schedule


def read_noise(folder: Folder, component: str) -> tuple[int, BetaSchedule]:
    """Return timesteps and noise as a scheduler of the folder says. Raises ModelError for what is not served."""
    config, name = folder.config(component), _class_of(folder, component)
    if name not in _SCHEDULERS:
        raise ModelError(f"{folder.path}: a {name} is not served; give one of {', '.join(_SCHEDULERS)}")
    kind = config.get("beta_schedule", "linear")
    if config.get("trained_betas") or kind not in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        told = "trained_betas" if config.get("trained_betas") else f"beta_schedule={kind}"
        raise ModelError(f"{folder.path}: a scheduler with {told} is not served; give another checkpoint")
    schedule = BetaSchedule(
        kind=kind,
        start=config.get("beta_start", 0.0001),
        end=config.get("beta_end", 0.02),
        stops_at_first=not config.get("set_alpha_to_one", _SCHEDULERS[name]),
        begins_at_noise=bool(config.get("rescale_betas_zero_snr", False)),
    )
    return int(config.get("num_train_timesteps", 1000)), schedule


def _class_of(folder: Folder, component: str) -> str:
    return str((folder.index.get(component) or [None, folder.config(component).get("_class_name")])[1])


def digest(folder: Folder, components: tuple[str, ...], allow_pickles: bool) -> str:
    """Return the sha256 over names and contents of the files that are used, the same wherever the folder lies."""
    total = hashlib.sha256()
    for file in used_files(folder, components, allow_pickles):
        status = file.stat()
        total.update(f"{file.relative_to(folder.path).as_posix()}\0".encode())
        total.update(_file_sha256(file, status.st_size, status.st_mtime_ns))
    return total.hexdigest()


def used_files(folder: Folder, components: tuple[str, ...], allow_pickles: bool) -> Iterator[Path]:
    """Yield the index, the configurations and the weights of a folder, in a fixed order."""
    yield folder.path / INDEX_FILE
    for component in components:
        if not (folder.path / component).is_dir():
            raise ModelError(f"{folder.path / component} is missing; fetch the model again, all of its folders")
        yield from sorted(
            file
            for file in (folder.path / component).iterdir()
            if file.suffix in (".json", ".txt") and ".index." not in file.name
        )
        if component not in ("scheduler", "low_res_scheduler", "tokenizer"):
            yield from folder.weights(component, allow_pickles).files


def said_beside(path: Path) -> SaidBeside:
    """Return what a `card.json` in the folder says, or nothing. Raises ModelError if it does not hold."""
    file = path / CARD_FILE
    if not file.exists():
        return SaidBeside()
    try:
        return SaidBeside.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise ModelError(f"{file} does not hold: {error}; correct it, or remove it") from error


def licence_of(path: Path, said: SaidBeside) -> str:
    """Return the licence that `card.json` says, else the head of the hub's model card, README.md; else "unknown"."""
    if said.licence is not None:
        return said.licence
    try:
        head = _HEAD.match((path / README_FILE).read_text(encoding="utf-8", errors="replace"))
        told = yaml.safe_load(head[1]) if head is not None else {}
    except (OSError, yaml.YAMLError):
        told = {}
    found = told.get("license") if isinstance(told, dict) else None
    found = told.get("license_name") if found == "other" else found
    return found if isinstance(found, str) else "unknown"


@lru_cache(maxsize=256)
def _file_sha256(file: Path, size: int, mtime_ns: int) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _weight_files(folder: Path, stem: str, ending: str, variant: str | None) -> tuple[Path, ...]:
    """Return the one file, or all parts that an index names; nothing if neither is there."""
    infix = f".{variant}" if variant else ""
    whole = folder / f"{stem}{infix}.{ending}"
    if whole.exists():
        return (whole,)
    index = folder / f"{stem}.{ending}.index{infix}.json"
    if not index.exists():
        return ()
    parts = sorted({folder / name for name in _read_json(index).get("weight_map", {}).values()})
    if missing := [part.name for part in parts if not part.exists()]:
        raise ModelError(f"{folder} lacks {', '.join(missing)}; fetch the model again")
    return tuple(parts)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{file} is missing; fetch the model again, all of its folders") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}; fetch the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file} holds no settings; fetch the model again")
    return found
