"""The main job from one bucket into another, on a real Ray and a real S3 server."""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import ray
from photos import photo_bytes
from PIL import Image
from s3.conftest import S3Server

from tss_ray.pipeline.job import run_job
from tss_ray.records import table_to_rows
from tss_ray.spec import JobSpec, load_spec

pytestmark = [pytest.mark.s3, pytest.mark.ray]

_NUM_PHOTOS = 240


@pytest.fixture
def cluster(s3_environment: None) -> Iterator[None]:
    """Started after the credentials are in the environment, so that workers have them too."""
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def data_set() -> dict[str, bytes]:
    """A few hundred small photographs of mixed sizes and formats, odd keys and rotten files among them."""
    formats = (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"))
    files = {}
    for i in range(_NUM_PHOTOS):
        extension, image_format = formats[i % 3]
        key = f"set {i % 7}/ü+{i:04d}%20.{extension}"
        files[key] = photo_bytes(i, 8 + i % 23, 8 + i % 31, image_format=image_format)
    files["rotten/zero.png"] = b""
    files["rotten/cut.jpg"] = files["set 1/ü+0001%20.jpg"][:-200]
    return files


def test_a_bucket_is_upscaled_into_another(
    cluster: None, s3_server: S3Server, make_bucket: Callable[[], str], tiny_model_folder: Path
) -> None:
    source, target, admin, files = make_bucket(), make_bucket(), s3_server.admin(), data_set()
    for key, data in files.items():
        admin.put_object(Bucket=source, Key=f"in/{key}", Body=data)
    admin.put_object(Bucket=source, Key="in-other/not-ours.png", Body=b"")
    spec = job_spec(f"s3://{source}/in", f"s3://{target}/out", s3_server, tiny_model_folder)

    result = run_job(spec)

    assert result.complete
    assert (result.totals.done, result.totals.quarantined) == (_NUM_PHOTOS, 2)
    objects = {key: read(admin, target, key) for key in keys_of(admin, target, "out/images/")}
    parts = {key: read(admin, target, key) for key in keys_of(admin, target, "out/manifest/")}
    assert len(parts) > 1
    rows = [row for data in parts.values() for row in table_to_rows(pq.read_table(io.BytesIO(data)))]
    assert sorted(row.image_key for row in rows) == sorted(files)
    for row in rows:
        if row.status == "quarantined":
            assert row.image_key.startswith("rotten/")
            continue
        data = objects.pop(str(row.output_uri).removeprefix(f"s3://{target}/"))
        assert hashlib.sha256(data).hexdigest() == row.output_sha256
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (4 * (row.in_width or 0), 4 * (row.in_height or 0))
    assert not objects, "an image lies there that no row knows of"
    assert run_job(spec).num_done_before == len(files), "a second run found something to do"


def test_the_manifest_on_s3_is_read_by_duckdb_and_ray(
    cluster: None, s3_server: S3Server, make_bucket: Callable[[], str], tiny_model_folder: Path, tmp_path: Path
) -> None:
    target = make_bucket()
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(photo_bytes(i, 12, 12))
    run_job(job_spec(str(tmp_path), f"s3://{target}/out", s3_server, tiny_model_folder))
    from pyarrow.fs import S3FileSystem

    filesystem = S3FileSystem(
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        endpoint_override=s3_server.endpoint_url,
        region="us-east-1",
    )
    assert ray.data.read_parquet(f"{target}/out/manifest", filesystem=filesystem).count() == 5
    manifest = pq.read_table(f"{target}/out/manifest", filesystem=filesystem)  # noqa: F841 - duckdb finds it by name
    assert duckdb.sql("select count(*) from manifest where status = 'done'").fetchall() == [(5,)]


def job_spec(source: str, target: str, server: S3Server, model: Path) -> JobSpec:
    settings = {
        "input": source,
        "output": target,
        "model": str(model),
        "store.s3_endpoint_url": server.endpoint_url,
        "store.s3_addressing": "path",
        "tiles.tile_px": 16,
        "tiles.overlap_px": 4,
        "compute.part_rows": 100,
        "compute.threads_per_actor": 1,
    }
    return load_spec(None, dict(settings))


def keys_of(admin: object, bucket: str, prefix: str) -> list[str]:
    pages = admin.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def read(admin: object, bucket: str, key: str) -> bytes:
    return admin.get_object(Bucket=bucket, Key=key)["Body"].read()
