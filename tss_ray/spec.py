"""JobSpec: everything a job can be told, validated once, frozen, and hashed.

A YAML file and flags both end here; nothing else in the package reads settings or the environment. Credentials never
stand in a spec: boto3's own chain finds them. Ray reads RAY_ADDRESS itself.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tss_ray.errors import SpecError


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _without_credentials(url: str) -> str:
    """Refuse a URL with a user or a password in it: specs lie beside the images, in logs, and travel to clusters."""
    scheme, found, rest = url.partition("://")
    authority = rest.partition("/")[0]
    if found and ("@" in authority or (scheme == "s3" and ":" in authority)):
        told = "a URL with credentials in it; take them out and leave them to boto3's chain (environment, role)"
        raise PydanticCustomError(_CREDENTIALS, told)
    return url


_CREDENTIALS = "credentials_in_url"
Uri = Annotated[str, AfterValidator(_without_credentials)]
"""A path, glob or URL that may be shown to anybody."""


class TileSpec(_Frozen):
    """How an image is cut: px of the low-resolution input."""

    tile_px: int = Field(64, ge=16, le=512, multiple_of=8, description="side of the largest tile")
    overlap_px: int = Field(16, ge=0, description="what neighbouring tiles share, blended by a window")
    sides_px: tuple[Annotated[int, Field(ge=16, multiple_of=8)], ...] | None = Field(
        None, description="smaller tiles that an image may be cut into, by its size; None: every multiple of 8 from 16"
    )

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if not 2 * self.overlap_px <= self.tile_px:
            raise ValueError(
                f"overlap_px={self.overlap_px}: need 2·overlap_px <= tile_px={self.tile_px}; lower tiles.overlap_px"
            )
        larger = [side for side in self.sides_px or () if side > self.tile_px]
        if larger:
            raise ValueError(f"sides_px {larger}: need at most tile_px={self.tile_px}; remove them from tiles.sides_px")
        return self

    @property
    def sides(self) -> tuple[int, ...]:
        """Every side that a tile may have."""
        smaller = range(16, self.tile_px, 8) if self.sides_px is None else self.sides_px
        return tuple(sorted({*smaller, self.tile_px}))


ARange = tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=0, lt=1)]]
NRange = tuple[Annotated[float, Field(ge=1, le=8)], Annotated[float, Field(ge=1, le=8)]]


class _Ranges(_Frozen):
    """Of a and of n: the value where there is no texture, and the value where there is most."""

    a_range: ARange | None = Field(None, description="a from smooth to textured positions, ascending; None: a")
    n_range: NRange | None = Field(None, description="n from smooth to textured positions, ascending; None: n")

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name in ("a_range", "n_range"):
            ends = getattr(self, name)
            if ends is not None and ends[0] > ends[1]:
                raise ValueError(f"{name}={list(ends)}: need ascending values; swap the ends of plan.{name}")
        return self


class StepRanges(_Ranges):
    """Ranges for images of few steps: what suits 15 steps need not suit 2."""

    up_to_steps: int = Field(ge=1, description="images of so many steps or fewer; the first rule that fits is taken")


class PlanSpec(_Ranges):
    """Which timesteps are visited (DESIGN 4). With a range each position has a plan by its texture (SDS)."""

    family: Literal["uniform", "tds", "trigonometric", "exponential", "late_only", "early_only"] = Field(
        "tds", description="tds (or polynomial), trigonometric, exponential: dense at both ends; the last two: at one"
    )
    a: float = Field(0.5, gt=0, lt=1, description="where the early half ends and the late half begins")
    n: float = Field(2.0, ge=1, le=8, description="how uneven, the same in every family; 1 is uniform")
    eta: float = Field(0.0, ge=0, le=1, description="share of the DDPM noise put back at each step; 0 is deterministic")
    eta_by_texture: bool = Field(False, description="eta times the texture map: noise only where there is texture")
    levels: int = Field(8, ge=1, le=64, description="of texture told apart; 1: one plan, in the middle of the ranges")
    by_steps: tuple[StepRanges, ...] = Field((), description="other ranges for images of few steps, ascending")

    @field_validator("family", mode="before")
    @classmethod
    def _polynomial_is_tds(cls, family: object) -> object:
        """Take the name that tells the curve for the one that hashes and rows of earlier runs carry."""
        return "tds" if family == "polynomial" else family

    @model_validator(mode="after")
    def _rules_ascend(self) -> Self:
        steps = [rule.up_to_steps for rule in self.by_steps]
        if steps != sorted(set(steps)):
            raise ValueError(f"by_steps up to {steps}: need ascending steps; reorder plan.by_steps")
        return self

    def ranges(self, num_steps: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the ends of a and of n for an image of `num_steps`; what is no range has the same value twice."""
        return self._ends(next((rule for rule in self.by_steps if num_steps <= rule.up_to_steps), self))

    @property
    def num_levels(self) -> int:
        """How many levels of texture the engine must tell apart: 1 where nothing in the job varies with texture."""
        ranges = [self._ends(rule) for rule in (*self.by_steps, self)]
        plans_vary = self.family != "uniform" and any(n[0] < n[1] or (a[0] < a[1] and n[1] > 1) for a, n in ranges)
        return self.levels if plans_vary or (self.eta_by_texture and self.eta > 0) else 1

    def _ends(self, rule: _Ranges) -> tuple[tuple[float, float], tuple[float, float]]:
        a_range, n_range = rule.a_range or self.a_range, rule.n_range or self.n_range
        return a_range or (self.a, self.a), n_range or (self.n, self.n)


class TargetBin(_Frozen):
    """Images alike in texture: what a tile of theirs costs and is worth on each rung, as a calibration measured it."""

    weight: float = Field(ge=0, description="tiles of the dataset in this bin, as far as the calibration could tell")
    steps: tuple[Annotated[int, Field(ge=0, le=1000)], ...] = Field(min_length=1)
    cost: tuple[float, ...] = Field(description="per tile, one for each rung, in the target's cost_unit")
    quality: tuple[float, ...] = Field(description="mean score of a tile, one for each rung; higher is better")

    @model_validator(mode="after")
    def _rungs_are_whole(self) -> Self:
        if not len(self.steps) == len(self.cost) == len(self.quality):
            raise ValueError("steps, cost and quality differ in length; make the plan again with tss-ray plan")
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"steps={list(self.steps)}: need ascending rungs; make the plan again with tss-ray plan")
        return self


class MeasuredWith(_Frozen):
    """What a calibration holds for: steps of another model, or on other tiles, are other steps."""

    model_sha256: str
    tile_px: int
    overlap_px: int
    plan: str = Field(description="the settings of PlanSpec as JSON with sorted keys")


class TargetSpec(_Frozen):
    """What `tss-ray plan` chose: where bins begin, their curves, and the point of the trade that the job starts at."""

    edges: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        description="texture score where the next bin begins"
    )
    bins: tuple[TargetBin, ...] = Field(min_length=1)
    cost_unit: Literal["device_s", "steps"] = Field("device_s", description="device-seconds, or denoiser evaluations")
    cap: float | None = Field(None, ge=0, description="cost of the whole job, in cost_unit; None: nothing to keep")
    tiles_per_image: float = Field(gt=0, description="mean over what was scanned; what cannot be read has none")
    multiplier: float = Field(ge=0, description="quality per cost that a climb must gain")
    share: float = Field(ge=0, le=1, description="of the images whose climb gains exactly that, those that take it")
    min_steps: int = Field(0, ge=0, description="nobody gets fewer")
    holdout_share: float = Field(0.01, ge=0, le=0.5, description="images, by key, that run the top rung for comparison")
    controller: bool = Field(True, description="solve again for what is left as rows come in; False: to the bit")
    measured: MeasuredWith = Field(description="the job must have the same")

    @model_validator(mode="after")
    def _bins_follow_edges(self) -> Self:
        if len(self.edges) != len(self.bins) - 1 or list(self.edges) != sorted(self.edges):
            raise ValueError("edges do not part the bins; make the plan again with tss-ray plan")
        return self


class BudgetSpec(_Frozen):
    """How many steps an image gets."""

    policy: Literal["fixed", "texture", "target"] = Field(
        "texture", description="fixed: the same for all; texture: by score; target: as budget.target says"
    )
    num_steps: int = Field(7, ge=0, le=1000, description="policy fixed: steps for every image")
    ladder: tuple[int, ...] = Field(
        (0, 1, 2, 4, 7, 10, 15), description="policy texture: rungs, ascending; 0 = resample"
    )
    thresholds: tuple[float, ...] = Field(
        (0.02, 0.1, 0.2, 0.33, 0.48, 0.62),
        description="policy texture: score at which the next rung begins; one fewer than the ladder",
    )
    target: TargetSpec | None = Field(None, description="policy target: from the plan file that --budget names")

    @model_validator(mode="after")
    def _a_target_has_its_plan(self) -> Self:
        if self.policy == "target" and self.target is None:
            raise ValueError("policy target without a plan; give the file that tss-ray plan wrote to --budget")
        return self

    @model_validator(mode="after")
    def _rungs_ascend(self) -> Self:
        if not self.ladder or list(self.ladder) != sorted(set(self.ladder)) or self.ladder[0] < 0:
            raise ValueError(f"ladder={list(self.ladder)}: need ascending steps from 0 up; reorder budget.ladder")
        if len(self.thresholds) != len(self.ladder) - 1:
            raise ValueError(
                f"{len(self.thresholds)} thresholds for {len(self.ladder)} rungs: need one fewer than rungs; "
                "correct budget.thresholds"
            )
        if list(self.thresholds) != sorted(self.thresholds) or not all(0 <= t <= 1 for t in self.thresholds):
            raise ValueError(f"thresholds={list(self.thresholds)}: need ascending scores in [0,1]")
        return self


class EncodeSpec(_Frozen):
    """What the output files are."""

    format: Literal["same", "png", "webp", "jpeg", "tiff", "avif"] = Field(
        "png", description="same: what the input's extension says, PNG where that cannot be written"
    )
    quality: int = Field(95, ge=1, le=100, description="jpeg, avif, and webp when it is lossy")
    lossless: bool = Field(True, description="webp only")
    metadata: Literal["keep", "strip"] = Field("keep", description="EXIF, XMP and resolution; strip for privacy")
    icc: Literal["keep", "srgb", "strip"] = Field(
        "keep", description="srgb: convert the pixels and embed none; strip: leave the pixels and embed none"
    )


class DecodeSpec(_Frozen):
    """How inputs are read."""

    animation: Literal["first", "quarantine"] = Field("first", description="files of several frames or pages")


class ColourSpec(_Frozen):
    """What is done about colours that drift in denoising."""

    correction: Literal["none", "mean", "wavelet"] = Field(
        "wavelet", description="mean: one shift per channel; wavelet: the input's low frequencies"
    )


class SizeSpec(_Frozen):
    """How large results become at most; what is there already is left alone, and nothing is ever reduced."""

    max_side_px: int | None = Field(None, ge=1, description="longer side of a result")
    target_megapixels: float | None = Field(None, gt=0, description="area of a result, in 10⁶ px")
    skip_larger_than_px: int | None = Field(None, ge=1, description="inputs with a longer side are left alone")
    skip_sharper_than: float | None = Field(
        None, gt=0, le=1, description="inputs with a lower blur_score are left alone; those without edges are not"
    )
    skip_sharper_from_px: int = Field(1, ge=1, description="of inputs with at least this longer side")


class LimitSpec(_Frozen):
    """What is refused as a row instead of being tried."""

    max_input_px: int = Field(4_194_304, ge=64, description="width · height of an input: the decompression-bomb guard")
    max_input_bytes: int = Field(268_435_456, ge=1, description="size of an input object")


class PrefixSpec(_Frozen):
    """How S3 is spoken to below one prefix; what is not told is as everywhere."""

    prefix: Uri = Field(pattern=r"^s3://[^/]+", description="a bucket, or a folder of one: s3://bucket/lr")
    s3_endpoint_url: Uri | None = None
    s3_region: str | None = None
    s3_addressing: Literal["auto", "path", "virtual"] | None = None
    s3_profile: str | None = None
    s3_requester_pays: bool | None = None

    def holds(self, uri: str) -> bool:
        """Whether a URI is the prefix or lies below it; a folder's name never holds that of another."""
        return f"{uri.rstrip('/')}/".startswith(f"{self.prefix.rstrip('/')}/")


class LargeSpec(_Frozen):
    """Which images are streamed by rows of tiles; nothing here changes a pixel."""

    from_px: int = Field(
        4_194_305, ge=1, description="width · height of an input from which its tiles are not held until it is complete"
    )


class StoreSpec(_Frozen):
    """How S3 is spoken to; nothing here changes a pixel."""

    s3_endpoint_url: Uri | None = Field(None, description="any S3-compatible server; None: AWS, or AWS_ENDPOINT_URL")
    s3_region: str | None = None
    s3_addressing: Literal["auto", "path", "virtual"] = "auto"
    s3_profile: str | None = Field(
        None, description="a section of ~/.aws/config on every node, where a role may stand; None: boto3's chain"
    )
    s3_requester_pays: bool = Field(False, description="pay for reading buckets that ask their readers to")
    prefixes: tuple[PrefixSpec, ...] = Field((), description="where it is spoken to otherwise; the longest one holds")
    max_attempts: int = Field(8, ge=1, le=50, description="tries of one request, with back-off")

    def at(self, uri: str) -> "StoreSpec":
        """Return the settings for what lies at a URI, with no prefixes left in them."""
        holding = [prefix for prefix in self.prefixes if prefix.holds(uri)]
        told = (
            max(holding, key=lambda p: len(p.prefix)).model_dump(exclude={"prefix"}, exclude_none=True)
            if holding
            else {}
        )
        return self.model_copy(update={**told, "prefixes": ()}) if self.prefixes else self


class ComputeSpec(_Frozen):
    """What the job runs on. dtype and compile change pixels; max_batch, threads and the device may change last bits."""

    actors: int | None = Field(
        None, ge=1, description="super-resolution actors; None: one per GPU, or one per node without any"
    )
    min_actors: int | None = Field(
        None, ge=1, description="actors then is the most, reached as nodes join and blocks wait; None: always as many"
    )
    gpus_per_actor: float | None = Field(None, ge=0, description="None: 1 where the cluster has GPUs, else 0")
    threads_per_actor: int | None = Field(None, ge=1, description="CPU actors: torch threads; None: cores / actors")
    max_batch: int | None = Field(
        None, ge=1, le=1024, description="tiles per forward at most; None: by device, less where its memory is short"
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the device is fast at it"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="the network through torch.compile, minutes at the start; auto: off, see jobs/benchmarks"
    )
    block_images: int = Field(32, ge=1, le=1024, description="images per Ray block: the unit of retry")
    part_rows: int = Field(256, ge=1, le=100_000, description="rows per Parquet part: the unit of commit")
    wait_nodes_s: int = Field(
        0, ge=0, le=86_400, description="how long an autoscaler may take to bring the first actor"
    )

    @model_validator(mode="after")
    def _gpus_are_a_share_or_whole(self) -> Self:
        gpus = self.gpus_per_actor
        if gpus is not None and gpus > 1 and not gpus.is_integer():
            raise ValueError(f"gpus_per_actor={gpus:g}: need a share of one GPU or a whole number; round it")
        return self

    @model_validator(mode="after")
    def _a_range_has_two_ends(self) -> Self:
        if self.min_actors is not None and (self.actors is None or self.min_actors > self.actors):
            raise ValueError(
                f"min_actors={self.min_actors}, actors={self.actors}: need min_actors <= actors, the most that there "
                "may be; give compute.actors"
            )
        return self

    @model_validator(mode="after")
    def _what_is_waited_for_is_told(self) -> Self:
        if self.wait_nodes_s and (self.actors is None or self.gpus_per_actor is None):
            raise ValueError(
                f"wait_nodes_s={self.wait_nodes_s}: nodes that are not there yet cannot be counted; "
                "give compute.actors and compute.gpus_per_actor"
            )
        return self


OutputLayout = Literal["files", "webdataset", "parquet"]


class CheckpointSpec(_Frozen):
    """How a model from elsewhere is taken, and steered where it can be; see README, "Models"."""

    use: Literal["commercial", "research"] | None = Field(None, description="refuse what its licence does not allow")
    allow_pickles: bool = Field(False, description="read weights that are pickles, which may run code")
    cache: str | None = Field(None, description="folder on each machine for what is fetched; None: in the home")
    prompt: str = Field("", description="what the pictures are of, for all of them")
    negative_prompt: str = Field("", description="what they are not; with guidance_scale above 1")
    guidance_scale: float = Field(1.0, ge=1, le=30, description="above 1: a stronger prompt, by twice the work")
    noise_level: int = Field(20, ge=0, lt=1000, description="timestep whose noise is put on the input")

    @property
    def steering(self) -> dict[str, Any]:
        """What decides pixels and is not the default."""
        return self.model_dump(exclude={"use", "allow_pickles", "cache"}, exclude_defaults=True)


class MetricsSpec(_Frozen):
    """What is measured of results, by pyiqa; it changes no pixel, so it is not in spec_hash."""

    names: tuple[str, ...] = Field((), description="metrics of pyiqa; none: it is not imported")
    share: float = Field(1.0, gt=0, le=1, description="of the images, by key; a holdout is measured whatever it says")
    reference: Uri | None = Field(
        None, description="where originals lie under the inputs' keys: folder or s3:// prefix"
    )
    workers: int | None = Field(None, ge=1, description="processes of one thread; None: one for each actor")
    max_output_px: int = Field(16_777_216, ge=1, description="larger results are not measured, and rows say so")

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> Self:
        if len(set(self.names)) < len(self.names) or not all(self.names):
            raise ValueError(f"names={list(self.names)}: need different names; correct metrics.names (--metrics)")
        return self


class TelemetrySpec(_Frozen):
    """What a run says of itself while it works; nothing here changes a pixel."""

    log_format: Literal["text", "json"] = Field("text", description="json: an object a line, with run and image_key")
    log_level: Literal["debug", "info", "warning"] | None = Field(None, description="None: info with json")
    device_usd_per_hour: float | None = Field(None, gt=0, description="of a device; None: cost is told in seconds only")


class JobSpec(_Frozen):
    """One job. `input` and `output` are a folder, file, glob, list file, s3:// or sample:// (input only)."""

    input: Uri = Field(min_length=1)
    output: Uri = Field(min_length=1)
    model: Uri = "tss-x4-small"
    scale: float = Field(4, gt=1, le=4, description="what is below the model's own factor is made from its result")
    seed: int = Field(0, ge=0, lt=2**63)
    strict: bool = Field(False, description="exit with 3 if anything was quarantined")
    dedupe: bool = Field(True, description="upscale byte-identical inputs once; changes no pixel, only what it takes")
    output_layout: OutputLayout = Field(
        "files", description="a file for each image, or shards: WebDataset tars, Parquet files with the images' bytes"
    )
    tiles: TileSpec = TileSpec()
    plan: PlanSpec = PlanSpec()
    budget: BudgetSpec = BudgetSpec()
    encode: EncodeSpec = EncodeSpec()
    decode: DecodeSpec = DecodeSpec()
    colour: ColourSpec = ColourSpec()
    size: SizeSpec = SizeSpec()
    limits: LimitSpec = LimitSpec()
    large: LargeSpec = LargeSpec()
    store: StoreSpec = StoreSpec()
    compute: ComputeSpec = ComputeSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()
    metrics: MetricsSpec = MetricsSpec()
    telemetry: TelemetrySpec = TelemetrySpec()

    def spec_hash(self, model_sha256: str) -> str:
        """Return 16 hex digits over what decides a pixel or a row's fate; of the model its weights, not its name."""
        decides = self.model_dump(mode="json", include=set(_DECIDES)) | {
            "dtype": self.compute.dtype,
            "model_sha256": model_sha256,
            "noise": "by input_sha256",  # outputs whose noise followed from keys are of another spec
        }
        if self.compute.compile == "on":  # as another dtype: it rounds elsewhere
            decides["compile"] = "on"
        if self.checkpoint.steering:  # the embedded model takes none: its hashes stay
            decides["checkpoint"] = self.checkpoint.steering
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


_DECIDES = ("output_layout", "scale", "seed", "tiles", "plan", "budget", "encode", "decode", "colour", "size", "limits")


def load_spec(path: Path | None, overrides: dict[str, Any]) -> JobSpec:
    """Build a spec from a YAML file and overrides, dotted keys like `plan.n` (flags win over the file).

    Raises SpecError for an unreadable file, an unknown key, or a value out of bounds.
    """
    settings: Any = {}
    if path is not None:
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SpecError(f"cannot read the spec {path}: {error}; correct the file or its name") from error
        if not isinstance(settings, dict):
            raise SpecError(f"{path} holds a {type(settings).__name__}: need a mapping of settings; see jobs/*.yaml")
    for dotted, value in overrides.items():
        *parents, leaf = dotted.split(".")
        node = settings
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise SpecError(f"{dotted}: {parent} is not a group of settings; remove it or correct the key")
        node[leaf] = value
    try:
        return JobSpec.model_validate(settings)
    except ValidationError as error:
        raise SpecError(_explain(error)) from error


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Turn `key=value` into overrides; values are YAML, so numbers, lists and null read as such.

    Raises SpecError for what is neither.
    """
    overrides = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise SpecError(f"--set {setting}: need KEY=VALUE, like --set plan.n=3; correct it")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SpecError(f"--set {setting}: the value is not YAML: {error}; quote it") from error
    return overrides


def load_plan(settings: dict[str, Any]) -> PlanSpec:
    """Build the settings of a plan alone. Raises SpecError for an unknown key or a value out of bounds."""
    try:
        return PlanSpec.model_validate(settings)
    except ValidationError as error:
        raise SpecError(_explain(error)) from error


def load_store(settings: dict[str, Any]) -> StoreSpec:
    """Build the settings of S3 alone. Raises SpecError for an unknown key or a value out of bounds."""
    try:
        return StoreSpec.model_validate(settings)
    except ValidationError as error:
        raise SpecError(_explain(error)) from error


def load_checkpoint(settings: dict[str, Any]) -> CheckpointSpec:
    """Build the settings of a checkpoint alone. Raises SpecError for an unknown key or a value out of bounds."""
    try:
        return CheckpointSpec.model_validate(settings)
    except ValidationError as error:
        raise SpecError(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    """Put pydantic's findings on one line each, ending with the remedy."""
    lines = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"]) or "spec"
        if fault["type"] == "extra_forbidden":
            lines.append(f"{where}: no such setting; remove it or correct its spelling")
        elif fault["type"] == "missing":
            lines.append(f"{where}: missing; give it as an argument or in the spec file")
        elif fault["type"] == _CREDENTIALS:
            lines.append(f"{where}: {fault['msg']}")  # and not what was given
        else:
            message = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message} (got {fault['input']!r}); correct it")
    return "\n".join(lines)
