"""Promises of the job specifications that people copy."""

import re
from pathlib import Path

import pytest

from tss_ray.pipeline.resources import plan_resources
from tss_ray.spec import load_spec

JOBS = Path(__file__).parents[2] / "jobs"
SPECS = sorted(path for path in JOBS.glob("*.yaml") if not path.name.startswith("train_x4"))


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_job_is_valid_and_says_how_it_is_run(path: Path) -> None:
    spec = load_spec(path, {})
    assert spec.input != spec.output
    text = path.read_text(encoding="utf-8")
    assert re.search(rf"^#   tss-ray (upscale --spec|submit) jobs/{path.name}", text, re.MULTILINE)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_job_fits_a_machine_or_the_cluster_it_names(path: Path) -> None:
    compute = load_spec(path, {}).compute
    gpus = (compute.actors or 1) * (compute.gpus_per_actor or 1)
    assert plan_resources(compute, [8 * gpus], gpus).actors == gpus
    if compute.wait_nodes_s:
        assert plan_resources(compute, [7], gpus).actors == gpus, "planned when the first worker has come"


def test_the_table_names_every_file_and_no_other() -> None:
    table = (JOBS / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w-]+\.(?:yaml|py)\b", "".join(re.findall(r"^\|([^|]*)\|", table, re.MULTILINE))))
    assert named == {path.name for path in JOBS.iterdir() if path.suffix in {".yaml", ".py"}}
