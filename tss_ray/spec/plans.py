"""Which timesteps an image visits, and how much of what they bring is added."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tss_ray.spec.group import Group

ARange = tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=0, lt=1)]]
NRange = tuple[Annotated[float, Field(ge=1, le=8)], Annotated[float, Field(ge=1, le=8)]]


class _Ranges(Group):
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
    """Which timesteps are visited (DESIGN 4), and a gain on what comes of them.

    With a range each position has a plan by its texture (SDS).
    """

    family: Literal["uniform", "tds", "trigonometric", "exponential", "late_only", "early_only"] = Field(
        "tds", description="tds (or polynomial), trigonometric, exponential: dense at both ends; the last two: at one"
    )
    a: float = Field(0.5, gt=0, lt=1, description="where the early half ends and the late half begins")
    n: float = Field(1.5, ge=1, le=8, description="how uneven, the same in every family; 1 is uniform")
    eta: float = Field(0.0, ge=0, le=1, description="share of the DDPM noise put back at each step; 0 is deterministic")
    eta_by_texture: bool = Field(False, description="eta times the texture map: noise only where there is texture")
    levels: int = Field(8, ge=1, le=64, description="of texture told apart; 1: one plan, in the middle of the ranges")
    by_steps: tuple[StepRanges, ...] = Field((), description="other ranges for images of few steps, ascending")
    detail_gain: float = Field(
        1.0, ge=0, le=3, description="times the detail that the input has not; above 1: crisper, less faithful"
    )

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

    def decisive(self) -> dict[str, Any]:
        """Return what hashes and calibrations hold: what came later is left out where nobody asks for it."""
        return self.model_dump(mode="json", exclude={"detail_gain"} if self.detail_gain == 1 else None)

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
