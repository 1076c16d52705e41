"""What a row of the manifest is: the one definition, as a dataclass and as an Arrow schema.

Every input gets exactly one row. A column stands here only if something fills it.
"""

import dataclasses
from datetime import datetime
from typing import Any, Literal, TypedDict, get_args, get_type_hints

import pyarrow as pa

Status = Literal["pending", "done", "quarantined"]
"""`pending` lives only inside a running graph and is never committed."""


class MetricValue(TypedDict):
    """One metric of one image."""

    name: str
    before: float | None
    """Of the bicubic enlargement of the input, at the output's size."""
    after: float | None
    """Of the file that was written."""
    fault: str | None
    """Why a value is missing."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """What became of one input. Seconds are wall-clock unless said otherwise; None means "did not happen"."""

    image_key: str
    """Stable identity: the key relative to the input prefix."""
    input_uri: str
    spec_hash: str
    status: Status = "pending"
    error_kind: str | None = None
    error_message: str | None = None
    output_uri: str | None = None

    in_width: int | None = None
    """Pixels, after the EXIF orientation was applied."""
    in_height: int | None = None
    in_mode: str | None = None
    """Pillow's mode of the file as it was."""
    in_format: str | None = None
    out_width: int | None = None
    out_height: int | None = None
    out_mode: str | None = None
    out_format: str | None = None
    input_bytes: int | None = None
    output_bytes: int | None = None
    input_sha256: str | None = None
    output_sha256: str | None = None
    in_bits: int | None = None
    """Per channel, as they were used: 8 or 16."""
    out_bits: int | None = None
    left_alone_by: str | None = None
    """The setting of `size` by which the image was large or sharp enough already; it was written at its own size."""

    texture_score: float | None = None
    """In [0,1]; see `diffusion.texture`."""
    noise_sigma: float | None = None
    """Estimated noise of luma, of a range of 1."""
    blur_score: float | None = None
    """In [0,1], 1 is blurred; see `imaging.blur`. None: an image without any edge."""
    budget_policy: str | None = None
    num_steps: int | None = None
    """Denoising iterations; 0 = the bicubic enlargement was left alone. With budget.by_tile a tile's mean at most."""
    num_tiles: int | None = None
    nfe: int | None = None
    """Denoiser evaluations of a tile of tile_px: num_tiles · num_steps, or with budget.by_tile at most that."""
    num_steps_top_rung: int | None = None
    """The most steps that the policy ever spends: what savings are counted against."""
    plan_family: str | None = None
    plan_a_min: float | None = None
    """a where there is no texture; `plan_a_max` where there is most. The same for both: one plan for all positions."""
    plan_a_max: float | None = None
    plan_n_min: float | None = None
    plan_n_max: float | None = None
    plan_levels: int | None = None
    """Levels of texture that were told apart."""
    eta: float | None = None
    eta_by_texture: bool | None = None
    """Whether `eta` was reached only where texture is strongest."""
    seed: int | None = None
    model_id: str | None = None
    model_sha256: str | None = None
    tile_px: int | None = None
    """Side of its tiles, chosen from the image's size."""
    padding_ratio: float | None = None
    """Pixels run / pixels wanted, at least 1; see `imaging.tiles.TileGrid.padding_ratio`."""
    budget_lambda: float | None = None
    """Policy `target`: the quality per cost that a further rung had to gain when the image's steps were promised."""
    holdout: bool | None = None
    """Policy `target`: whether the image ran the top rung whatever it cost, so that savings can be measured."""

    fetch_s: float | None = None
    decode_s: float | None = None
    probe_s: float | None = None
    queue_s: float | None = None
    """From the engine's door to the first forward."""
    denoise_s: float | None = None
    """From the first forward to the last, shared with whatever else was in the batch."""
    encode_s: float | None = None
    upload_s: float | None = None
    device: str | None = None
    device_seconds: float | None = None
    """This image's share of the forwards it took part in."""
    lr_consistency_psnr: float | None = None
    """dB between the output reduced again and the input; see `quality.lr_consistency`."""
    colour_delta_e: float | None = None
    """Mean CIEDE2000 between the output reduced again and the input; see `quality.colour_delta`."""
    colour_correction: str | None = None
    node: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int | None = None
    """Of the model at this image: 2 where a gate refused its first output; see `quality.gates`."""
    refused_for: str | None = None
    """What the first output was refused for; `num_steps` and all else are the second's."""
    duplicate_of: str | None = None
    """image_key of the byte-identical input whose result this one got; then `nfe` and `device_seconds` are 0."""
    output_shard: str | None = None
    """Key in the output of the tar or Parquet file that holds the result; see `storage.shards`. None: a file."""
    refused_device_s: float | None = None
    """What the refused output had taken; `device_seconds` is the second's."""
    metrics: list[MetricValue] | None = None
    """One for each metric that was asked for, of images that were drawn; see `pipeline.measure`."""
    metrics_s: float | None = None
    """Reading the images again and measuring them; in no other stage's seconds."""

    @property
    def run_px(self) -> int:
        """Pixels that the denoiser ran: of every tile and step, so that tiles of any size count by their area."""
        return (self.nfe or 0) * (self.tile_px or 0) ** 2

    @property
    def run_px_top_rung(self) -> int:
        """What `run_px` would have been with the top rung."""
        return (self.num_tiles or 0) * (self.num_steps_top_rung or 0) * (self.tile_px or 0) ** 2

    def quarantined(self, kind: str, message: str) -> "ManifestRow":
        """Return this row as a data fault."""
        return dataclasses.replace(self, status="quarantined", error_kind=kind, error_message=message)


_ARROW: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", tz="UTC"),
    Status: pa.string(),
    list[MetricValue]: pa.list_(
        pa.struct([("name", pa.string()), ("before", pa.float64()), ("after", pa.float64()), ("fault", pa.string())])
    ),
}


def _schema() -> pa.Schema:
    fields = []
    for name, hint in get_type_hints(ManifestRow).items():
        optional = type(None) in get_args(hint)
        base = next(a for a in get_args(hint) if a is not type(None)) if optional else hint
        fields.append(pa.field(name, _ARROW[base], nullable=optional))
    return pa.schema(fields)


MANIFEST_SCHEMA: pa.Schema = _schema()


def rows_to_table(rows: list[ManifestRow]) -> pa.Table:
    """Return the rows as a table of MANIFEST_SCHEMA."""
    names = MANIFEST_SCHEMA.names
    return pa.Table.from_pydict({n: [getattr(r, n) for r in rows] for n in names}, schema=MANIFEST_SCHEMA)


def table_to_rows(table: pa.Table) -> list[ManifestRow]:
    """Invert `rows_to_table`; other columns are ignored."""
    return [ManifestRow(**row) for row in table.select(MANIFEST_SCHEMA.names).to_pylist()]
