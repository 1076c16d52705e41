"""Shards on a real Ray: the same bytes as files, one row for each input, and nothing twice after a crash."""

import hashlib
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tss_ray.pipeline.job import JobResult
from tss_ray.spec import StoreSpec
from tss_ray.storage.inputs import read_uri
from tss_ray.verify.check import verify

pytestmark = pytest.mark.ray


def rows_of(output: Path) -> dict[str, dict[str, object]]:
    rows = pq.read_table(output / "manifest").to_pylist()
    assert len({row["image_key"] for row in rows}) == len(rows)
    return {str(row["image_key"]): row for row in rows}


def test_shards_hold_what_files_would_and_a_resumed_run_nothing_twice(
    upscale: Callable[..., JobResult], photo_folder: Path, photo_set: dict[str, bytes], tmp_path: Path
) -> None:
    (photo_folder / "copy.png").write_bytes(photo_set["a/03.png"])
    settings = {"compute__part_rows": 5, "budget__policy": "fixed", "budget__num_steps": 1}
    upscale(photo_folder, tmp_path / "files", **settings)
    files = rows_of(tmp_path / "files")
    for layout, extension in (("webdataset", "tar"), ("parquet", "parquet")):
        output = tmp_path / layout
        upscale(photo_folder, output, output_layout=layout, **settings)
        parts = sorted(path.stem for path in (output / "manifest").iterdir())
        shards = sorted((output / "images").iterdir())
        assert len(shards) > 2
        assert {path.stem for path in shards} <= set(parts)
        assert {path.suffix for path in shards} == {f".{extension}"}
        if layout == "webdataset":
            (output / "manifest" / f"{shards[0].stem}.parquet").unlink()  # as a crash between the two leaves it
            again = upscale(photo_folder, output, output_layout=layout, **settings)
            assert 0 < again.totals.done <= 5
        rows = rows_of(output)
        assert rows.keys() == files.keys()
        for key, row in rows.items():
            assert (row["status"], row["output_sha256"]) == (files[key]["status"], files[key]["output_sha256"])
            if row["status"] == "done":
                data = read_uri(str(row["output_uri"]), StoreSpec())
                assert hashlib.sha256(data).hexdigest() == row["output_sha256"]
        assert verify(str(output), StoreSpec(), None, deep=True).ok


def test_images_of_shards_come_out_as_they_would_from_files(
    upscale: Callable[..., JobResult], photo_folder: Path, photo_set: dict[str, bytes], tmp_path: Path
) -> None:
    settings = {"budget__policy": "fixed", "budget__num_steps": 1}
    upscale(photo_folder, tmp_path / "files", **settings)
    expected = {key: row for key, row in rows_of(tmp_path / "files").items() if not key.endswith(".txt")}
    shards = tmp_path / "shards"
    shards.mkdir()
    with tarfile.open(shards / "s.tar", "w") as tar:
        tar.add(photo_folder, ".")
    images = [{"bytes": photo_set[key], "path": key} for key in expected]
    pq.write_table(pa.table({"image": images}), shards / "s.parquet", row_group_size=4)
    for layout in ("webdataset", "parquet"):
        upscale(shards, tmp_path / layout, input_layout=layout, **settings)
        rows = rows_of(tmp_path / layout)
        assert rows.keys() == {f"s/{key}" for key in expected}
        for key, row in expected.items():
            found = rows[f"s/{key}"]
            assert (found["status"], found["output_sha256"]) == (row["status"], row["output_sha256"]), key
            assert found["error_kind"] == row["error_kind"]
        assert verify(str(tmp_path / layout), StoreSpec(), None, deep=True).ok
