"""What a report says, as plain numbers; `queries` fills it, the page and the terminal show it, report.json is it."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from tss_ray.quality.bootstrap import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums and means over committed rows; means and sums of work are over the done ones. None: nothing to tell."""

    images: int
    done: int
    quarantined: int
    resampled: int
    """Of the done ones, those that got no steps."""
    in_megapixels: float
    out_megapixels: float
    output_bytes: int
    mean_steps: float | None
    nfe: int
    run_px: int
    """Pixels that the denoiser ran, of all tiles and steps."""
    run_px_top_rung: int
    """What the same images would have taken with the top rung of their policy for each."""
    device_seconds: float
    working_s: float | None
    """Wall-clock seconds in which at least one image was under way: pauses between runs are not in it."""
    started: str | None
    """UTC, of the first row."""
    finished: str | None

    @property
    def nfe_saved(self) -> float | None:
        """Share of NFE, tiles by their area, that steps by texture saved against the top rung everywhere."""
        return 1 - self.run_px / self.run_px_top_rung if self.run_px_top_rung else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Device-seconds, and money where a price was given; nothing here is guessed."""

    device_usd_per_hour: float | None
    devices: int | None
    charged_s: float
    """Device-seconds that are charged: devices · (start-up + working time) where `devices` is known, else those
    computed."""
    basis: str
    """`held` (start-up and working time of all devices) or `computed` (forwards alone)."""
    done: int
    out_megapixels: float

    @property
    def usd(self) -> float | None:
        """What `charged_s` costs."""
        return None if self.device_usd_per_hour is None else self.charged_s / 3600 * self.device_usd_per_hour

    @property
    def device_s_per_1000_images(self) -> float | None:
        return self.charged_s / self.done * 1000 if self.done else None

    @property
    def device_s_per_megapixel(self) -> float | None:
        return self.charged_s / self.out_megapixels if self.out_megapixels else None

    @property
    def usd_per_1000_images(self) -> float | None:
        return None if self.usd is None or not self.done else self.usd / self.done * 1000

    @property
    def usd_per_megapixel(self) -> float | None:
        """Of the output."""
        return None if self.usd is None or not self.out_megapixels else self.usd / self.out_megapixels


@dataclass(frozen=True, slots=True)
class TimePart:
    """One part of a whole, in seconds."""

    name: str
    seconds: float
    meaning: str


@dataclass(frozen=True, slots=True)
class TimeWhole:
    """A whole and the parts that add up to it; the last part is what is left. None: the whole is not known."""

    seconds: float | None
    parts: tuple[TimePart, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """One metric over the done images; values are finite."""

    name: str
    num: int
    mean: float | None
    p1: float | None
    p5: float | None
    p50: float | None


@dataclass(frozen=True, slots=True)
class Bin:
    """How many done images lie in [low, high)."""

    low: float
    high: float
    images: int


@dataclass(frozen=True, slots=True)
class StepCount:
    """The done images that got so many steps."""

    num_steps: int
    images: int
    device_seconds: float
    mean_lr_consistency_psnr: float | None


@dataclass(frozen=True, slots=True)
class TextureBin:
    """The done images of scores in [low, high): how many got how many steps, as pairs (steps, images)."""

    low: float
    high: float
    steps: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Gain:
    """One metric before (the bicubic enlargement) and after, over the images that have both; holdouts aside."""

    name: str
    images: int
    before_p1: float | None
    before_p5: float | None
    before_p50: float | None
    after_p1: float | None
    after_p5: float | None
    after_p50: float | None
    gain: Interval | None
    """Mean of after − before; None for fewer than two images."""


@dataclass(frozen=True, slots=True)
class TextureGain:
    """Mean of after − before of one metric over the images whose texture score lies in [low, high); holdouts aside."""

    name: str
    low: float
    high: float
    gain: Interval


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One metric of the holdout, which ran the top rung, beside that of all others; means over images."""

    name: str
    images: int
    """Of the holdout."""
    mean_holdout: float
    mean_others: float
    lost: Interval | None
    """Holdout − others: what the top rung for all would have changed."""

    @property
    def is_equal(self) -> bool | None:
        """Whether the interval holds 0: no difference was seen. None where there is no interval."""
        return None if self.lost is None else self.lost.low <= 0 <= self.lost.high


@dataclass(frozen=True, slots=True)
class Saving:
    """What steps by plan saved against the top rung for every image, and what quality that was at."""

    nfe_saved: Interval | None
    """Share of NFE, the holdout aside."""
    holdout: int
    """Images."""
    quality: tuple[HeldOut, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One figure of the plan and what came of it."""

    name: str
    predicted: float
    actual: float

    @property
    def error(self) -> float | None:
        """Actual over predicted, less 1."""
        return self.actual / self.predicted - 1 if self.predicted else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Everything below one folder of keys; empty is the top, None stands for all folders that are not listed."""

    name: str | None
    images: int
    quarantined: int
    out_megapixels: float
    mean_texture: float | None
    mean_steps: float | None
    device_seconds: float
    lr_consistency_p5: float | None
    lr_consistency_p50: float | None


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of quarantine, with examples as pairs (image_key, message)."""

    kind: str
    images: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One image of a gallery."""

    image_key: str
    input_uri: str
    output_uri: str
    in_width: int
    in_height: int
    out_width: int
    out_height: int
    num_steps: int
    texture_score: float | None
    lr_consistency_psnr: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The whole report."""

    output: str
    totals: Totals
    cost: Cost
    image_time: TimeWhole
    """Seconds that images spent in the run, added up over images: many are under way at once."""
    device_time: TimeWhole
    """Seconds of all devices from the start of runs to their last image, pauses between runs left out."""
    steps: tuple[StepCount, ...]
    textures: tuple[TextureBin, ...]
    quality: tuple[Spread, ...]
    gains: tuple[Gain, ...]
    texture_gains: tuple[TextureGain, ...]
    saving: Saving | None
    predictions: tuple[Prediction, ...]
    consistency: tuple[Bin, ...]
    folders: tuple[Folder, ...]
    faults: tuple[Fault, ...]
    worst: tuple[Example, ...]
    random: tuple[Example, ...]
    provenance: dict[str, Any]
    not_known: tuple[str, ...]
    """What a reader may look for and the manifest cannot say."""


def as_json(value: Any) -> Any:  # noqa: ANN401
    """Return plain data of JSON: dataclasses with their properties, tuples as lists, what is not finite as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        names += [name for name, member in vars(type(value)).items() if isinstance(member, property)]
        return {name: as_json(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {str(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
