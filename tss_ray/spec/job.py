"""JobSpec: the groups of settings of one job, and the hash over those that decide its outcome."""

import hashlib
import json
from typing import Literal

from pydantic import Field

from tss_ray.spec.budgets import BudgetSpec
from tss_ray.spec.group import Group, Uri
from tss_ray.spec.images import ColourSpec, DecodeSpec, EncodeSpec, LargeSpec, LimitSpec, SizeSpec, TileSpec
from tss_ray.spec.plans import PlanSpec
from tss_ray.spec.runs import CheckpointSpec, ComputeSpec, MetricsSpec, TelemetrySpec
from tss_ray.spec.stores import StoreSpec

InputLayout = Literal["files", "webdataset", "parquet"]
OutputLayout = Literal["files", "webdataset", "parquet"]


class JobSpec(Group):
    """One job. `input` and `output` are a folder, file, glob, list file, s3:// or sample:// (input only)."""

    input: Uri = Field(min_length=1)
    output: Uri = Field(min_length=1)
    model: Uri = "tss-x4-small"
    one_step_model: Uri | None = Field(
        None, description="what images of one step run instead: a model made for a single step, as `model` is named"
    )
    scale: float = Field(4, gt=1, le=4, description="what is below the model's own factor is made from its result")
    seed: int = Field(0, ge=0, lt=2**63)
    strict: bool = Field(False, description="exit with 3 if anything was quarantined")
    dedupe: bool = Field(True, description="upscale byte-identical inputs once; changes no pixel, only what it takes")
    input_layout: InputLayout = Field(
        "files", description="a file is an image, or holds them: WebDataset tars, Parquet files with the images' bytes"
    )
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

    def spec_hash(self, model_sha256: str, one_step_sha256: str | None = None) -> str:
        """Return 16 hex digits over what decides a pixel or a row's fate; of models their weights, not their names."""
        decides = self.model_dump(mode="json", include=set(_DECIDES)) | {
            "plan": self.plan.decisive(),
            "dtype": self.compute.dtype,
            "model_sha256": model_sha256,
            "noise": "by input_sha256",  # outputs whose noise followed from keys are of another spec
        }
        if self.input_layout != "files":
            decides["input_layout"] = self.input_layout
        if not self.budget.by_tile:  # it came later: the hashes of those who do not ask for it stay
            del decides["budget"]["by_tile"]
        if self.budget.target is not None:
            del decides["budget"]["target"]["measured"]["one_step_sha256"]
            del decides["budget"]["target"]["score_name"]
        if one_step_sha256 is not None:
            decides["one_step_sha256"] = one_step_sha256
        if self.compute.compile == "on":  # as another dtype: it rounds elsewhere
            decides["compile"] = "on"
        if self.checkpoint.steering:  # the embedded model takes none: its hashes stay
            decides["checkpoint"] = self.checkpoint.steering
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


_DECIDES = ("output_layout", "scale", "seed", "tiles", "plan", "budget", "encode", "decode", "colour", "size", "limits")
