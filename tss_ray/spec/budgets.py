"""How many steps an image gets."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tss_ray.spec.group import Group


class TargetBin(Group):
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


class MeasuredWith(Group):
    """What a calibration holds for: steps of another model, or on other tiles, are other steps."""

    model_sha256: str
    one_step_sha256: str | None = Field(None, description="of the model that ran rung 1 in its place")
    tile_px: int
    overlap_px: int
    plan: str = Field(description="the settings of PlanSpec as JSON with sorted keys")


class TargetSpec(Group):
    """What `tss-ray plan` chose: where bins begin, their curves, and the point of the trade that the job starts at."""

    edges: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        description="texture score where the next bin begins"
    )
    bins: tuple[TargetBin, ...] = Field(min_length=1)
    score_name: str = Field("detail", description="what quality is: a metric of this name tells what came of it")
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


class BudgetSpec(Group):
    """How many steps an image gets."""

    policy: Literal["fixed", "texture", "target"] = Field(
        "texture", description="fixed: the same for all; texture: by score; target: as budget.target says"
    )
    num_steps: int = Field(7, ge=0, le=1000, description="policy fixed: steps for every image")
    ladder: tuple[int, ...] = Field(
        (0, 1, 2, 4, 7, 10, 15), description="policy texture: rungs, ascending; 0 = resample"
    )
    thresholds: tuple[float, ...] = Field(
        (0.08, 0.28, 0.46, 0.64, 0.78, 1.0),
        description="policy texture: score at which the next rung begins; one fewer than the ladder",
    )
    by_tile: bool = Field(
        False, description="deal an image's steps out to its tiles by their own texture; never more in all"
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
