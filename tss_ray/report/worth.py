"""What a run was worth: gains over resampling, savings against the top rung, what was predicted against what came.

Millions of rows cannot be resampled one by one: they are cut by the hash of their key into groups, which vary as the
groups do; see `quality.bootstrap.interval_of_groups`.
"""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tss_ray.budget.target import planned_choice, target_problem
from tss_ray.quality.bootstrap import interval_of_group_difference, interval_of_groups
from tss_ray.report.figures import Gain, HeldOut, Prediction, Saving, TextureGain
from tss_ray.report.manifest import Manifest, before, quoted
from tss_ray.spec import TargetSpec

_NUM_GROUPS = 2048
_GROUP = f"md5_number_lower(image_key) % {_NUM_GROUPS}"
_FREE = "status = 'done' and not coalesce(holdout, false)"

_ENDS = ("before_p1", "before_p5", "before_p50", "after_p1", "after_p5", "after_p50")

Groups = tuple[NDArray[np.float64], NDArray[np.float64]]


def ask_gains(manifest: Manifest) -> tuple[Gain, ...]:
    """Ask for every metric that was measured before and after."""
    return tuple(gain for name in manifest.paired if (gain := _gain(manifest, name)) is not None)


def _gain(manifest: Manifest, name: str) -> Gain | None:
    one, other = quoted(before(name)), quoted(name)
    where = f"{_FREE} and isfinite({one}) and isfinite({other})"
    found = manifest.ask_one(f"""
        select count(*) as images, quantile_cont({one}, [0.01, 0.05, 0.5]) as one,
          quantile_cont({other}, [0.01, 0.05, 0.5]) as other from rows where {where}""")
    if not found["images"]:
        return None
    gain = interval_of_groups(*_groups(manifest, f"{other} - {one}", "1", where))
    ends = dict(zip(_ENDS, (*found["one"], *found["other"]), strict=True))
    return Gain(name, found["images"], **ends, gain=gain)


def ask_texture_gains(manifest: Manifest, num_bins: int) -> tuple[TextureGain, ...]:
    """Ask what every metric gained by texture score, in `num_bins` of equal width; those of one image are left out."""
    return tuple(gain for name in manifest.paired for gain in _texture_gains(manifest, name, num_bins))


def _texture_gains(manifest: Manifest, name: str, num_bins: int) -> Iterator[TextureGain]:
    gained = f"{quoted(name)} - {quoted(before(name))}"
    where = f"{_FREE} and isfinite({gained}) and texture_score between 0 and 1"
    texture_bin = f"least(floor(texture_score * {num_bins}), {num_bins - 1})::int"
    found = manifest.ask(f"""
        select {texture_bin} as bin, sum({gained})::double as sums, count(*)::double as counts
        from rows where {where} group by 1, {_groups_of(manifest, where)} order by 1, min(image_key)""")
    for number, rows in groupby(found, itemgetter("bin")):
        sums, counts = np.array([(row["sums"], row["counts"]) for row in rows], float).T
        if gain := interval_of_groups(sums, counts):
            yield TextureGain(name, number / num_bins, (number + 1) / num_bins, gain)


def ask_saving(manifest: Manifest) -> Saving | None:
    """Ask what the holdout tells; None for a run without one."""
    held = "status = 'done' and holdout"
    num = manifest.ask_one(f"select count(*) as num from rows where {held}")["num"]
    if not num:
        return None
    top = "run_px_top_rung"
    saved = interval_of_groups(*_groups(manifest, f"{top} - run_px", top, f"{_FREE} and {top} > 0"))
    quality = []
    for name in manifest.metrics:
        column = quoted(name)
        sides = [_groups(manifest, column, "1", f"{side} and isfinite({column})") for side in (held, _FREE)]
        sums = [float(counts.sum()) for _, counts in sides]
        if all(sums):
            means = [float(values.sum()) / of for (values, _), of in zip(sides, sums, strict=True)]
            lost = interval_of_group_difference(sides[0], sides[1])
            quality.append(HeldOut(name, int(sums[0]), means[0], means[1], lost))
    return Saving(saved, num, tuple(quality))


def ask_predictions(manifest: Manifest, record: dict[str, Any] | None) -> tuple[Prediction, ...]:
    """Compare the plan that the settings of the last run hold with the rows; nothing for a run without one.

    The plan's figures follow from its bins alone, at the choice that the run began with. Tiles are full ones, as the
    plan's are; what could not be read has none, and counts as an image there and here.
    """
    target = _target(record)
    if target is None:
        return ()
    expected = target_problem(target).expect(planned_choice(target))
    full = f"power(coalesce(tile_px, {target.measured.tile_px}) / {target.measured.tile_px}, 2)"
    found = manifest.ask_one(f"""
        select coalesce(sum(device_seconds), 0.0) as device_s, coalesce(sum(nfe * {full}), 0)::double as steps,
          coalesce(sum(nfe * {full}) / nullif(sum(num_tiles * {full}), 0), 0.0)::double as mean_steps,
          coalesce(sum(num_tiles * {full}) / (select count(*) from rows), 0.0)::double as tiles
        from rows where status = 'done' and budget_policy = 'target'""")
    name = {"device_s": "device-seconds", "steps": "NFE"}[target.cost_unit]
    rows = [
        Prediction(name, expected.cost, found[target.cost_unit]),
        Prediction("mean steps of a tile", expected.steps, found["mean_steps"]),
        Prediction("tiles of an image", target.tiles_per_image, found["tiles"]),
    ]
    if (quality := _quality(manifest, target)) is not None:
        rows.append(Prediction(f"quality ({target.score_name})", expected.quality, quality))
    if target.cap is not None:
        rows.insert(1, Prediction(f"{name}, against the cap", target.cap, found[target.cost_unit]))
    return tuple(rows)


def _quality(manifest: Manifest, target: TargetSpec) -> float | None:
    """Return the mean of the plan's score over the tiles of what was measured; None where it was not.

    Of the holdout everything is measured and of the others a share, so each counts by its share of the images.
    """
    if target.score_name not in manifest.metrics:
        return None
    score = quoted(target.score_name)
    weight = f"num_tiles * power(coalesce(tile_px, {target.measured.tile_px}), 2)"
    found = manifest.ask(f"""
        select coalesce(holdout, false) as held, sum({score} * {weight}) / sum({weight}) as mean
        from rows where status = 'done' and budget_policy = 'target' and isfinite({score}) group by 1""")
    means = {row["held"]: row["mean"] for row in found}
    if False not in means:
        return None
    held = target.holdout_share if True in means else 0.0
    return float((1 - held) * means[False] + held * means.get(True, 0.0))


def _target(record: dict[str, Any] | None) -> TargetSpec | None:
    try:
        found = (record or {})["spec"]["budget"]["target"]
        return None if found is None else TargetSpec.model_validate(found)
    except (KeyError, TypeError, ValidationError):
        return None


def _groups(manifest: Manifest, value: str, weight: str, where: str) -> Groups:
    """Return the sums of a value and of a weight, group by group: images themselves where they are few."""
    found = manifest.ask(
        f"select sum({value})::double as sums, sum({weight})::double as counts from rows where {where} "
        f"group by {_groups_of(manifest, where)} order by min(image_key)"
    )
    return np.array([row["sums"] for row in found], float), np.array([row["counts"] for row in found], float)


def _groups_of(manifest: Manifest, where: str) -> str:
    few = manifest.ask_one(f"select count(*) as num from rows where {where}")["num"] <= _NUM_GROUPS
    return "image_key" if few else _GROUP
