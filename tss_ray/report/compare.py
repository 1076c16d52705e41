"""Two runs over the same inputs, image by image: what changed, and whether it could be chance.

Differences are taken within an image (B − A), so that what images differ by does not blur them; intervals are the 95%
bootstrap of `quality.bootstrap` over images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tss_ray.errors import InputError
from tss_ray.quality.bootstrap import interval_of_groups
from tss_ray.report.manifest import ORIGINS, Manifest, open_manifests
from tss_ray.report.queries import plain
from tss_ray.spec import StoreSpec
from tss_ray.storage.uris import absolute_uri

_COLUMNS = ("num_steps", "nfe", "device_seconds")
_NUM_GROUPS = 2048
"""Up to so many images each is resampled by itself; more are cut at random into so many groups."""
_NUM_VALUES = 5


@dataclass(frozen=True, slots=True)
class Change:
    """One column over the images that have it, finite, in both runs; low and high: 95%, None for fewer than two."""

    column: str
    images: int
    mean_a: float
    mean_b: float
    difference: float
    """Mean of B − A."""
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """`B is higher`, `B is lower`, `the same` for every image, or `cannot be told`."""
        if self.low is None or self.high is None:
            return "cannot be told"
        if self.low == self.high == 0:
            return "the same"
        if self.low > 0:
            return "B is higher"
        return "B is lower" if self.high < 0 else "cannot be told"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two runs have in common and where they part."""

    run_a: str
    run_b: str
    statuses: tuple[tuple[str | None, str | None, int], ...]
    """(status in A, status in B, images), the commonest first; None: the run has no row of the image."""
    origins: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]]
    """Of the columns that tell how a run was made, those whose values differ: a few values of A, of B."""
    changes: tuple[Change, ...]


def compare_runs(run_a: str, run_b: str, store: StoreSpec) -> Comparison:
    """Pair the images of two outputs by image_key and compare what was done with them.

    Raises InputError where no image was upscaled in both, and what `open_manifests` raises.
    """
    run_a, run_b = absolute_uri(run_a), absolute_uri(run_b)
    with open_manifests([run_a, run_b], store) as (a, b):
        columns = (*_COLUMNS, *(name for name in a.metrics if name in b.metrics))
        statuses = _statuses(a)
        if not any((one, other) == ("done", "done") for one, other, _ in statuses):
            raise InputError(
                f"no image was upscaled in both {run_a} and {run_b} (images are paired by image_key); compare runs "
                "over the same input"
            )
        _pair(a, columns)
        changes = tuple(change for name in columns if (change := _change(a, name)) is not None)
        return Comparison(run_a, run_b, statuses, _origins(a), changes)


def _statuses(manifest: Manifest) -> tuple[tuple[str | None, str | None, int], ...]:
    found = manifest.ask("""
        select a.status as one, b.status as other, count(*) as images
        from rows_0 a full join rows_1 b using (image_key) group by 1, 2 order by images desc, 1, 2""")
    return tuple((row["one"], row["other"], row["images"]) for row in found)


def _pair(manifest: Manifest, columns: Sequence[str]) -> None:
    """Make the table `pairs`: every image done in both, its place among them, and both values of every column."""
    both = ", ".join(f'a."{name}"::double as "a_{name}", b."{name}"::double as "b_{name}"' for name in columns)
    manifest.connection.execute(f"""
        create table pairs as select a.image_key, {both}
        from rows_0 a join rows_1 b using (image_key) where a.status = 'done' and b.status = 'done'""")
    few = manifest.ask_one("select count(*) as num from pairs")["num"] <= _NUM_GROUPS
    group = "row_number() over (order by image_key)" if few else f"md5_number_lower(image_key) % {_NUM_GROUPS}"
    manifest.connection.execute(f"create view grouped as select *, {group} as part from pairs")


def _change(manifest: Manifest, name: str) -> Change | None:
    one, other = f'"a_{name}"', f'"b_{name}"'
    found = manifest.ask(f"""
        select part, count(*) as num, sum({one}) as a, sum({other}) as b, sum({other} - {one}) as difference
        from grouped where isfinite({one}) and isfinite({other}) group by 1 order by 1""")
    if not found:
        return None
    sums, counts = np.array([row["difference"] for row in found]), np.array([row["num"] for row in found])
    between = interval_of_groups(sums, counts)
    images = int(counts.sum())
    return Change(
        name,
        images,
        mean_a=sum(row["a"] for row in found) / images,
        mean_b=sum(row["b"] for row in found) / images,
        difference=float(sums.sum() / images),
        low=None if between is None else between.low,
        high=None if between is None else between.high,
    )


def _origins(manifest: Manifest) -> dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]]:
    different = {}
    for name in ORIGINS:
        one, other = (_values(manifest, index, name) for index in (0, 1))
        if one != other:
            different[name] = (one, other)
    return different


def _values(manifest: Manifest, index: int, name: str) -> tuple[Any, ...]:
    found = manifest.ask(
        f"select {name} as value, count(*) as images from rows_{index} where status = 'done' group by 1 "
        "order by images desc, value limit $1",
        [_NUM_VALUES],
    )
    return tuple(plain(row["value"]) for row in found)
