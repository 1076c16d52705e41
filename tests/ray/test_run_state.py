"""What a run does to an output that holds something already: summary, another try, another start."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tss_ray.errors import InputError
from tss_ray.pipeline.job import JobResult, Start

pytestmark = pytest.mark.ray

Upscale = Callable[..., JobResult]


def summary_of(output: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((output / "run" / "summary.json").read_text())
    return found


def statuses(output: Path) -> dict[str, str]:
    rows = pq.read_table(output / "manifest", columns=["image_key", "status"]).to_pylist()
    assert len({row["image_key"] for row in rows}) == len(rows)
    return {row["image_key"]: row["status"] for row in rows}


def test_quarantined_images_are_tried_again_and_an_output_is_started_anew(
    upscale: Upscale, photo_set: dict[str, bytes], tmp_path: Path
) -> None:
    photos, output = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        (photos / name).write_bytes(photo_set["a/00.png"])
    (photos / "cut.png").write_bytes(photo_set["a/01.png"][:-200])
    (photos / "empty.png").write_bytes(b"")
    upscale(photos, output)
    told = summary_of(output)
    assert told["quarantined_by_kind"] == {"corrupt": 1, "empty": 1}
    assert (told["inputs"], told["rows"], told["done"]) == (4, 4, 2)

    (photos / "cut.png").write_bytes(photo_set["a/01.png"])
    again = upscale(photos, output, start=Start(retry_quarantined=frozenset({"corrupt"})))
    assert (again.num_taken_back, again.totals.done, again.totals.quarantined) == (1, 1, 0)
    assert statuses(output) == {"a.png": "done", "b.png": "done", "cut.png": "done", "empty.png": "quarantined"}
    assert summary_of(output)["quarantined_by_kind"] == {"empty": 1}

    with pytest.raises(InputError):
        upscale(tmp_path / "wrong", output, start=Start(overwrite=True))
    assert len(statuses(output)) == 4, "a wrong input cost the results"

    (photos / "b.png").unlink()
    anew = upscale(photos, output, start=Start(overwrite=True), encode__format="webp", seed=1)
    assert anew.num_done_before == 0
    assert set(statuses(output)) == {"a.png", "cut.png", "empty.png"}
    assert {p.name for p in (output / "images").iterdir()} == {"a.webp", "cut.webp"}
    assert summary_of(output)["inputs"] == 3
