"""The last line of the quality benchmark: one rule for which setting of ours is compared, and its figures."""

from collections.abc import Sequence
from itertools import pairwise

from quality_values import TEXTURED_SCORE, Value, differences, headline_values, mean, numbers

REALESRGAN, ONE_STEP_MODEL = "realesrgan", "one-step model"
MAX_STEPS = 15
MONOTONE = ("1 step", "2 tds", "4 tds", "7 tds", "15 tds")
PSNRY_MARGIN_DB = 1.0
"""What a setting of ours must have over Real-ESRGAN, at no worse NIQE, to be named as better."""

Figure = float | str | bool | None


def headline(values: Sequence[Value], same_device: bool) -> dict[str, Figure]:
    """Return the figures of the last line; `same_device` says whether both networks' seconds compare."""
    clean, degraded = headline_values(values, "clean"), headline_values(values, "degraded")
    textured = [value for value in clean if value.texture >= TEXTURED_SCORE]
    best = best_setting(clean)
    return {
        "setting_best": best,
        "niqe_ours_best": _level(clean, best, "niqe"),
        "niqe_realesrgan": _level(clean, REALESRGAN, "niqe"),
        "psnry_ours_best": _level(clean, best, "psnry"),
        "psnry_realesrgan": _level(clean, REALESRGAN, "psnry"),
        "edges_ours_best": _level(clean, best, "edges"),
        "edges_realesrgan": _level(clean, REALESRGAN, "edges"),
        "psnry_gain_1step": _change(textured, "1 step", "bicubic", "psnry"),
        "psnry_gain_one_step_model": _change(textured, ONE_STEP_MODEL, "bicubic", "psnry"),
        "seconds_ratio": _seconds_ratio(clean, best) if same_device else None,
        "niqe_drop_7step": _change(clean, "bicubic", "7 tds", "niqe"),
        "niqe_drop_15step": _change(clean, "bicubic", "15 tds", "niqe"),
        "psnry_loss_15step": _change(clean, "bicubic", "15 tds", "psnry"),
        "niqe_ours_degraded": _level(degraded, best, "niqe"),
        "niqe_realesrgan_degraded": _level(degraded, REALESRGAN, "niqe"),
        "psnry_ours_degraded": _level(degraded, best, "psnry"),
        "psnry_realesrgan_degraded": _level(degraded, REALESRGAN, "psnry"),
        "lr_psnr_1step": _level(clean, "1 step", "lr_psnr"),
        "lr_psnr_one_step_model": _level(clean, ONE_STEP_MODEL, "lr_psnr"),
        "lr_psnr_15step": _level(clean, "15 tds", "lr_psnr"),
        "niqe_monotone": niqe_monotone(clean),
    }


def settings(values: Sequence[Value]) -> list[str]:
    """Return the methods that are settings of ours with at most MAX_STEPS steps, in the order measured."""
    return list(dict.fromkeys(value.method for value in values if 1 <= value.num_steps <= MAX_STEPS))


def best_setting(values: Sequence[Value]) -> str | None:
    """Return the setting with the lowest mean NIQE, of equals the first measured; None where NIQE was not measured."""
    means = {name: niqe for name in settings(values) if (niqe := mean(numbers(values, name, "niqe"))) is not None}
    return min(means, key=means.__getitem__, default=None)


def better_settings(values: Sequence[Value]) -> list[str]:
    """Return every setting with at most Real-ESRGAN's mean NIQE and at least PSNRY_MARGIN_DB more PSNR-Y."""
    niqe, psnry = (mean(numbers(values, REALESRGAN, metric)) for metric in ("niqe", "psnry"))
    if niqe is None or psnry is None:
        return []
    return [
        name
        for name in settings(values)
        if (own_niqe := mean(numbers(values, name, "niqe"))) is not None
        and (own_psnry := mean(numbers(values, name, "psnry"))) is not None
        and own_niqe <= niqe
        and own_psnry >= psnry + PSNRY_MARGIN_DB
    ]


def crisp_settings(values: Sequence[Value]) -> list[str]:
    """Return every setting whose edges are at least as steep as Real-ESRGAN's, on average."""
    theirs = mean(numbers(values, REALESRGAN, "edges"))
    edges = {name: mean(numbers(values, name, "edges")) for name in settings(values)}
    return [name for name, ours in edges.items() if ours is not None and theirs is not None and ours >= theirs]


def niqe_monotone(values: Sequence[Value]) -> bool | None:
    """Return whether the mean NIQE falls from each of MONOTONE to the next; None unless all were measured."""
    means = [mean(numbers(values, name, "niqe")) for name in MONOTONE]
    found = [niqe for niqe in means if niqe is not None]
    if len(found) < len(MONOTONE):
        return None
    return all(later < earlier for earlier, later in pairwise(found))


def _level(values: Sequence[Value], method: str | None, metric: str) -> float | None:
    level = None if method is None else mean(numbers(values, method, metric))
    return None if level is None else round(level, 4)


def _change(values: Sequence[Value], first: str, second: str, metric: str) -> float | None:
    change = mean(differences(values, first, second, metric))
    return None if change is None else round(change, 4)


def _seconds_ratio(values: Sequence[Value], best: str | None) -> float | None:
    theirs = mean(numbers(values, REALESRGAN, "seconds"))
    ours = None if best is None else mean(numbers(values, best, "seconds"))
    return round(theirs / ours, 4) if theirs and ours else None
