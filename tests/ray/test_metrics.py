"""Metrics of a real run are what pyiqa says of the files that it wrote."""

import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from photos import photo_bytes
from PIL import Image

from tss_ray.budget.allocation import unit_hash
from tss_ray.imaging.planes import to_pixels, to_planes
from tss_ray.imaging.resample import upsample
from tss_ray.pipeline.job import JobResult
from tss_ray.records import ManifestRow, table_to_rows
from tss_ray.spec import StoreSpec
from tss_ray.storage.runs import read_runs
from tss_ray.storage.stores import open_store

pytest.importorskip("pyiqa")
pytestmark = pytest.mark.ray


def rows_of(output: Path) -> dict[str, ManifestRow]:
    return {row.image_key: row for row in table_to_rows(pq.read_table(output / "manifest"))}


def test_metrics_of_rows_are_those_of_pyiqa_on_the_files(
    upscale: Callable[..., JobResult], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("in", "originals"):
        (tmp_path / folder).mkdir()
    for index in range(6):
        data = photo_bytes(index, 160, 144)
        (tmp_path / f"originals/{index}.png").write_bytes(data)
        with Image.open(io.BytesIO(data)) as original:
            original.resize((40, 36), Image.Resampling.BICUBIC).save(tmp_path / f"in/{index}.png")
    plain = {"encode__format": "jpeg", "encode__quality": 40}
    measured = {"metrics__names": ["piqe", "psnry"], "metrics__reference": str(tmp_path / "originals")}
    with caplog.at_level(logging.WARNING):
        result = upscale(tmp_path / "in", tmp_path / "out", metrics__share=0.7, **plain, **measured)
    assert result.complete
    assert caplog.text.count("Noncommercial") == 1
    rows = rows_of(tmp_path / "out")
    drawn = {key for key, row in rows.items() if row.metrics is not None}
    assert drawn == {key for key in rows if unit_hash(key, "metrics") < 0.7}
    assert 0 < len(drawn) < len(rows)

    from pyiqa import create_metric

    for key in drawn:
        row = rows[key]
        with Image.open(tmp_path / "in" / key) as lr:
            enlarged = upsample(to_planes(np.asarray(lr))[None], 4)[0]
            Image.fromarray(to_pixels(enlarged)).save(tmp_path / "bicubic.png")
        files = {"before": tmp_path / "bicubic.png", "after": tmp_path / "out/images" / f"{key[0]}.jpg"}
        for value in row.metrics or ():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                metric = create_metric(value["name"], device=torch.device("cpu"))
            original = [str(tmp_path / "originals" / key)] if value["name"] == "psnry" else []
            assert value["fault"] is None
            assert value["after"] == pytest.approx(float(metric(str(files["after"]), *original)), abs=1e-4)
            assert value["before"] == pytest.approx(float(metric(str(files["before"]), *original)), abs=1e-4)
        assert (row.metrics_s or 0) > 0

    (run,) = read_runs(open_store(str(tmp_path / "out"), StoreSpec()))
    assert run.devices == 1
    assert run.metrics["piqe"] == {"needs_reference": False, "lower_is_better": True}
    assert run.started_at < str(min(row.started_at.isoformat() for row in rows.values() if row.started_at))

    upscale(tmp_path / "in", tmp_path / "plain", **plain)
    assert {key: row.output_sha256 for key, row in rows_of(tmp_path / "plain").items()} == {
        key: row.output_sha256 for key, row in rows.items()
    }
