"""The curves of the study: metrics against steps, and frequency bands against time, as charts."""

from collections.abc import Iterable, Sequence

from band_snr import BANDS
from bootstrap import Interval, interval
from quality_report import METRICS
from tss_compare import compare
from tss_measure import StudyValue
from tss_trajectory import PatchCurve, by_texture

from tss_ray.report.chart import Axis, Point, Series, chart

LABELS = METRICS | {"musiq": "MUSIQ ↑", "clipiqa": "CLIPIQA ↑", "lpips": "LPIPS ↓"}
BASELINE = "uniform"
_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def metric_charts(values: Sequence[StudyValue], metrics: Iterable[str]) -> list[str]:
    """Return two charts for each metric: its mean, and how far each variant is from uniform, both against steps.

    Bands are 95% intervals of the paired differences. Those of the means, as wide as photographs differ, are left out.
    """
    steps = sorted({value.num_steps for value in values if value.num_steps})
    variants = list(dict.fromkeys(value.variant for value in values if value.num_steps))
    axis = Axis("steps", tuple(map(float, steps)), log_scale=True)
    drawn = []
    for metric in metrics:
        levels = [
            Series(name, _points(steps, [_level(values, f"{n} {name}", metric) for n in steps], has_band=False))
            for name in variants
        ]
        drawn.append(chart(LABELS[metric], axis, levels))
        gaps = [
            Series(name, _points(steps, [compare(values, f"{n} {name}", f"{n} {BASELINE}", metric) for n in steps]))
            if name != BASELINE
            else Series(name, ())
            for name in variants
        ]
        if any(line.points for line in gaps):
            drawn.append(chart(f"{LABELS[metric]}: less that of {BASELINE}", axis, gaps))
    return drawn


def band_charts(curves: Sequence[PatchCurve]) -> list[str]:
    """Return a chart for all patches and one for each class of texture: SNR against time, a line for each band."""
    axis = Axis("share of the timesteps: noise at the left, clean at the right", _SHARES, is_reversed=True)
    groups: dict[str, Sequence[PatchCurve]] = {"all": curves} | by_texture(curves)
    return [
        chart(f"SNR in dB against the output: {name} patches ({len(group)})", axis, _bands(group))
        for name, group in groups.items()
        if group
    ]


def _bands(curves: Sequence[PatchCurve]) -> list[Series]:
    """Return the mean of patches that were watched at the same times."""
    times, photos = [float(t) for t in curves[0].time], [curve.photo for curve in curves]
    return [
        Series(band, _points(times, [interval([c.snr[k, index] for c in curves], photos) for k in range(len(times))]))
        for index, band in enumerate(BANDS)
    ]


def _level(values: Sequence[StudyValue], method: str, metric: str) -> Interval | None:
    found = [value for value in values if value.method == method and getattr(value, metric) is not None]
    return interval([getattr(value, metric) for value in found], [value.photo for value in found])


def _points(xs: Sequence[float], found: Sequence[Interval | None], has_band: bool = True) -> tuple[Point, ...]:
    return tuple(
        Point(x, f.mean, f.low, f.high) if has_band else Point(x, f.mean)
        for x, f in zip(xs, found, strict=True)
        if f is not None
    )
