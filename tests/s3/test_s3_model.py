"""A model that lies in a bucket is fetched by the job's own S3 settings."""

from pathlib import Path

import pytest
import torch
from checkpoints import write_ldm

from tss_ray.errors import StorageError
from tss_ray.models.registry import check_model
from tss_ray.pipeline.model import job_card, job_model
from tss_ray.spec import load_spec
from tss_ray.storage.stores import open_store

pytestmark = pytest.mark.s3


def test_a_checkpoint_in_a_bucket_loads_and_is_the_one_of_the_folder(bucket, s3_spec, tmp_path: Path):
    folder = write_ldm(tmp_path / "ldm")
    store = open_store(f"s3://{bucket}/models/ldm", s3_spec)
    for file in folder.rglob("*"):
        if file.is_file():
            store.write(file.relative_to(folder).as_posix(), file.read_bytes())
    store.write("README.md", b"not needed")
    settings = {
        "input": "in",
        "output": "out",
        "model": f"s3://{bucket}/models/ldm",
        "store": s3_spec.model_dump(),
        "checkpoint.cache": str(tmp_path / "cache"),
    }
    spec = load_spec(None, settings)
    assert job_card(spec).sha256 == check_model(str(folder)).sha256
    assert job_model(spec, torch.device("cpu"), torch.float32).card.family == "ldm_sr"
    fetched = [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and file.suffix != ".lock"]
    assert {file.name for file in fetched} >= {"model_index.json", "diffusion_pytorch_model.safetensors"}
    assert "README.md" not in {file.name for file in fetched}
    with pytest.raises(StorageError, match="there is no bucket"):
        job_card(load_spec(None, settings | {"model": f"s3://{bucket}-none/ldm"}))
