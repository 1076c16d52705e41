"""Promises of what is sent to a cluster, and of how its answers are read. No cluster is needed."""

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ray.exceptions import AuthenticationError

from tss_ray import job_entry
from tss_ray.errors import ClusterError, SpecError
from tss_ray.pipeline import submit
from tss_ray.pipeline.submit import Jobs, JobView, Once, check_portable, check_resources, pack
from tss_ray.spec import JobSpec, load_spec


def job(**settings: object) -> JobSpec:
    return load_spec(None, {"input": "s3://b/in", "output": "s3://b/out"} | settings)


@pytest.mark.parametrize("setting", [{"input": "photos"}, {"output": "out/"}, {"model": "runs/x4"}])
def test_a_path_of_this_machine_alone_is_refused(setting: dict[str, str]) -> None:
    with pytest.raises(SpecError, match=r"means nothing on a cluster; give a URL, or the absolute path"):
        check_portable(job(**setting))


def test_urls_embedded_models_and_shared_folders_travel() -> None:
    check_portable(job(input="/data/in", model="/models/x4"))
    check_portable(job())


def test_what_the_cluster_cannot_hold_is_refused_before_it_is_sent() -> None:
    nodes = [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0}]
    check_resources(job(**{"compute.actors": 1, "compute.gpus_per_actor": 1}), nodes)
    with pytest.raises(SpecError, match="2 actors of 1 GPUs: the cluster has 1 GPUs"):
        check_resources(job(**{"compute.actors": 2, "compute.gpus_per_actor": 1}), nodes)


def test_an_empty_cluster_is_taken_only_where_nodes_are_waited_for() -> None:
    with pytest.raises(SpecError, match=r"no workers at present; .* set compute\.actors"):
        check_resources(job(), [{"memory": 1.0}])
    awaited = {"compute.actors": 2, "compute.gpus_per_actor": 1, "compute.wait_nodes_s": 60}
    check_resources(job(**awaited), [])


def test_the_package_holds_every_setting_and_nothing_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    spec = job(**{"plan.n_range": [1, 3], "encode.format": "webp"})
    pack(spec, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"spec.yaml", "job_entry.py", "submitted.json"}
    assert JobSpec.model_validate(yaml.safe_load((tmp_path / "spec.yaml").read_text())) == spec
    assert "planted-secret" not in "".join(path.read_text() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("status", "code", "mirrored"),
    [
        ("RUNNING", None, 0),
        ("PENDING", None, 0),
        ("SUCCEEDED", 0, 0),
        ("FAILED", 3, 3),
        ("FAILED", 2, 2),
        ("FAILED", None, 1),
        ("FAILED", -9, 1),
        ("STOPPED", None, 130),
    ],
)
def test_exit_codes_are_those_of_the_job(status: str, code: int | None, mirrored: int) -> None:
    view = JobView("id", status, code, "", None, None)
    assert view.mirrored_exit == mirrored
    assert view.ended == (status not in {"RUNNING", "PENDING"})


def test_a_log_that_is_sent_again_is_told_once() -> None:
    told: list[str] = []
    once = Once(told.append)
    once("one\ntwo\n")
    once.restart()
    once("one\n")
    once("two\nthree\n")
    once.restart()
    once("one\ntwo\nthree\n")
    assert "".join(told) == "one\ntwo\nthree\n"


def test_what_is_no_dashboard_is_refused_without_being_tried() -> None:
    with pytest.raises(ClusterError, match=r"need the dashboard's address, like http://head:8265; correct --address"):
        Jobs("os://system")


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (AuthenticationError("403"), "refuses the token; set RAY_AUTH_MODE=token"),
        (ConnectionError("nobody"), "does not answer: nobody; see that --address is its dashboard"),
        (RuntimeError("Request failed with status code 404: Job x does not exist."), "knows no job x; `ray job list`"),
        (RuntimeError("Request failed with status code 500: boom\nand more"), "boom; see the head's log"),
    ],
)
def test_what_the_client_raises_ends_with_a_remedy(
    raised: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job_id: str) -> None:
        raise raised

    monkeypatch.setattr(submit, "JobSubmissionClient", lambda address: SimpleNamespace(get_job_info=fail))
    with pytest.raises(ClusterError, match=told):
        Jobs("http://head:8265").view("x")


def test_nobody_at_the_address_is_said_at_once() -> None:
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:9 does not answer"):
        Jobs("http://127.0.0.1:9")


def test_the_entry_script_finds_nothing_wrong_here() -> None:
    assert job_entry.faults(None) == []


def test_the_entry_script_says_what_the_cluster_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"ray": "2.59.1", "tss-ray": "0.0.9"}
    monkeypatch.setattr(job_entry, "_version", versions.get)
    assert job_entry.faults("0.1.0") == [
        "Ray 2.59.1 on the cluster: need 2.60 or later; use the image of cluster/image",
        "tss-ray 0.0.9 on the cluster, 0.1.0 where it was submitted; install the same on both",
    ]
    monkeypatch.setitem(sys.modules, "tss_ray.errors", None)
    assert any("no tss_ray on the cluster" in fault for fault in job_entry.faults(None))


def test_the_entry_script_asks_for_what_the_package_does() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert project["requires-python"].startswith(">={}.{}".format(*job_entry.LEAST_PYTHON))
    ray = next(line for line in project["dependencies"] if line.startswith("ray["))
    assert ">={}.{},".format(*job_entry.LEAST_RAY) in ray


def test_a_job_says_where_it_writes_so_that_its_status_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, dict[str, str]] = {}
    info = {"driver_exit_code": None, "message": None, "start_time": 2000, "end_time": None}
    client = SimpleNamespace(
        get_address=lambda: "http://head:8265",
        submit_job=lambda **told: sent.update(told) or "raysubmit_1",
        get_job_info=lambda job_id: SimpleNamespace(
            status=SimpleNamespace(value="RUNNING"), metadata=sent["metadata"], **info
        ),
    )
    monkeypatch.setattr(submit, "JobSubmissionClient", lambda address: client)
    node = SimpleNamespace(state="ALIVE", resources_total={"CPU": 8.0})
    monkeypatch.setattr(submit, "list_nodes", lambda *_, **__: [node])
    spec = job(**{"store.s3_endpoint_url": "http://minio:9000"})
    jobs = Jobs("http://head:8265")
    view = jobs.view(jobs.submit(spec))
    assert (view.output, view.store) == (spec.output, spec.store)
    assert all(isinstance(value, str) for value in sent["metadata"].values())
    sent["metadata"] = None  # a job that somebody else submitted
    assert jobs.view("raysubmit_1").output is None
