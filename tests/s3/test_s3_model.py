"""A model that lies in a bucket is fetched by the job's own S3 settings."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from checkpoints import write_ldm
from typer.testing import CliRunner

from tss_ray.cli import app
from tss_ray.errors import SpecError, StorageError
from tss_ray.models.registry import check_model
from tss_ray.pipeline.model import job_cards, job_models
from tss_ray.quality.pyiqa_metrics import check_metrics
from tss_ray.spec import load_spec
from tss_ray.storage.stores import open_store

pytestmark = pytest.mark.s3


def test_a_checkpoint_in_a_bucket_loads_and_is_the_one_of_the_folder(bucket, s3_spec, tmp_path: Path):
    folder = write_ldm(tmp_path / "ldm")
    store = open_store(f"s3://{bucket}/models/ldm", s3_spec)
    for file in folder.rglob("*"):
        if file.is_file():
            store.write(file.relative_to(folder).as_posix(), file.read_bytes())
    store.write("README.md", b"---\nlicense: apache-2.0\n---\n")
    store.write("notes.md", b"not needed")
    settings = {
        "input": "in",
        "output": "out",
        "model": f"s3://{bucket}/models/ldm",
        "store": s3_spec.model_dump(),
        "checkpoint.cache": str(tmp_path / "cache"),
    }
    spec = load_spec(None, settings)
    assert job_cards(spec).main.sha256 == check_model(str(folder)).sha256
    assert job_models(spec, torch.device("cpu"), torch.float32)[0].card.family == "ldm_sr"
    fetched = [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and file.suffix != ".lock"]
    assert {file.name for file in fetched} >= {"model_index.json", "diffusion_pytorch_model.safetensors"}
    assert "notes.md" not in {file.name for file in fetched}
    assert job_cards(spec).main.licence == "apache-2.0"
    with pytest.raises(StorageError, match="there is no bucket"):
        job_cards(load_spec(None, settings | {"model": f"s3://{bucket}-none/ldm"}))


def test_a_metric_s_weights_are_staged_from_a_bucket_and_then_it_can_be_measured(
    bucket, s3_spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("pyiqa")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    scipy.io.savemat(tmp_path / "niqe.mat", {"mu_prisparam": np.zeros((1, 36)), "cov_prisparam": np.eye(36)})
    mirror = f"s3://{bucket}/mirror"
    with pytest.raises(SpecError, match="models fetch --metrics niqe"):
        check_metrics(["niqe"], has_reference=False)
    fetch = ["models", "fetch", "--metrics", "niqe", "--from", mirror, "--s3-endpoint-url", s3_spec.s3_endpoint_url]
    with pytest.raises(SpecError, match="which the mirror has not"):
        CliRunner().invoke(app, fetch, catch_exceptions=False)
    open_store(mirror, s3_spec).write("pyiqa/niqe_modelparameters.mat", (tmp_path / "niqe.mat").read_bytes())
    result = CliRunner().invoke(app, fetch, catch_exceptions=False)
    assert (result.exit_code, result.stdout.strip()) == (0, str(tmp_path / "torch/hub"))
    assert [facts.name for facts in check_metrics(["niqe"], has_reference=False)] == ["niqe"]
