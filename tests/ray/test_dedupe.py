"""Duplicates on a real Ray: all are found where the listing can tell, and no byte differs from a run without."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from photos import photo_bytes

from tss_ray.pipeline.job import JobResult
from tss_ray.spec import StoreSpec
from tss_ray.verify.check import verify

pytestmark = pytest.mark.ray


def test_every_duplicate_is_upscaled_once_and_no_byte_differs(
    upscale: Callable[..., JobResult], tmp_path: Path
) -> None:
    photos = [photo_bytes(n, 20 + n, 24) for n in range(6)]
    for folder in range(4):  # copies lie far apart in the listing
        (tmp_path / "in" / f"{folder}").mkdir(parents=True)
        for n, data in enumerate(photos):
            (tmp_path / "in" / f"{folder}" / f"{n}.png").write_bytes(data)
    (tmp_path / "in" / "rotten.png").write_bytes(b"rotten")
    (tmp_path / "in" / "rotten too.png").write_bytes(b"rotten")
    found = {}
    for dedupe in (True, False):
        output = tmp_path / f"{dedupe}"
        fixed = {"budget__policy": "fixed", "budget__num_steps": 2}
        assert upscale(
            tmp_path / "in", output, dedupe=dedupe, compute__actors=1 + dedupe, compute__block_images=3, **fixed
        )
        rows = pq.read_table(output / "manifest").to_pylist()
        found[dedupe] = {row["image_key"]: row for row in rows}
        assert len(found[dedupe]) == len(rows) == 26
        assert verify(str(output), StoreSpec(), None, deep=True).ok
    once, each = found[True], found[False]
    assert {key: row["output_sha256"] for key, row in once.items()} == {
        key: row["output_sha256"] for key, row in each.items()
    }
    assert len({row["output_sha256"] for row in each.values() if row["status"] == "done"}) == 6
    copies = [row for row in once.values() if row["duplicate_of"]]
    assert len(copies) == 18
    for row in copies:
        original = once[row["duplicate_of"]]
        assert original["duplicate_of"] is None
        assert original["input_sha256"] == row["input_sha256"]
        assert (row["nfe"], row["device_seconds"]) == (0, 0)
    assert not [row for row in each.values() if row["duplicate_of"]]
    again = upscale(tmp_path / "in", tmp_path / "True", dedupe=False, **fixed)
    assert (again.totals.done, again.num_done_before) == (0, 26), "the option is no other spec"
