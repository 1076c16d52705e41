"""What a job runs on, with which checkpoint, and what it tells of itself."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tss_ray.spec.group import Group, Uri


class ComputeSpec(Group):
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

    @field_validator("compile", mode="before")
    @classmethod
    def _yaml_reads_on_as_true(cls, value: object) -> object:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

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


class CheckpointSpec(Group):
    """How a model from elsewhere is taken, and steered where it can be; see README, "Models"."""

    use: Literal["commercial", "research"] | None = Field(None, description="refuse what its licence does not allow")
    allow_pickles: bool = Field(False, description="read weights that are pickles, which may run code")
    cache: str | None = Field(None, description="folder on each machine for what is fetched; None: in the home")
    prompt: str = Field("", description="what the pictures are of, for all of them")
    negative_prompt: str = Field("", description="what they are not; with guidance_scale above 1")
    guidance_scale: float = Field(1.0, ge=1, le=30, description="above 1: a stronger prompt, by twice the work")
    noise_level: int = Field(20, ge=0, lt=1000, description="timestep whose noise is put on the input")
    controlnet_conditioning_scale: float = Field(1.0, ge=0, le=2, description="how much a ControlNet adds")

    @property
    def steering(self) -> dict[str, Any]:
        """What decides pixels and is not the default."""
        return self.model_dump(exclude={"use", "allow_pickles", "cache"}, exclude_defaults=True)


class MetricsSpec(Group):
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


class TelemetrySpec(Group):
    """What a run says of itself while it works; nothing here changes a pixel."""

    log_format: Literal["text", "json"] = Field("text", description="json: an object a line, with run and image_key")
    log_level: Literal["debug", "info", "warning"] | None = Field(None, description="None: info with json")
    device_usd_per_hour: float | None = Field(None, gt=0, description="of a device; None: cost is told in seconds only")
