"""Promises of the KubeRay files: they fit the operator, the package, and each other.

The operator's own schemas are no part of this repository. With TSS_RAY_CRDS naming a folder of its CRDs (in its
repository: helm-chart/kuberay-operator/crds, Apache-2.0) every field is checked against them, unknown ones refused.
"""

import os
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cluster_files import KUBERAY, ROOT, documents, of_kind, pins, ray_clusters, strings

from tss_ray.pipeline.resources import plan_resources
from tss_ray.spec import JobSpec

CLUSTERS = ray_clusters()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Turn a structural OpenAPI schema into JSON schema that refuses unknown fields, as `kubectl` does."""
    kept = {k: v for k, v in schema.items() if k in ("type", "enum", "pattern", "minimum", "maximum", "required")}
    if schema.get("x-kubernetes-int-or-string"):
        kept["type"] = ["integer", "string"]
    if "items" in schema:
        kept["items"] = strict(schema["items"])
    if "properties" in schema:
        kept["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        kept["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    elif isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = strict(schema["additionalProperties"])
    return kept


def crd_schema(folder: Path, kind: str) -> dict[str, Any]:
    crd = yaml.load((folder / f"ray.io_{kind.lower()}s.yaml").read_bytes(), yaml.CSafeLoader)
    version = next(v for v in crd["spec"]["versions"] if v["name"] == "v1")
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,45}[a-z0-9])?$"}},
        "additionalProperties": False,
    }
    return schema


@pytest.mark.parametrize(("file", "found"), of_kind("RayCluster") + of_kind("RayJob"))
def test_every_field_is_one_that_the_operator_knows(file: str, found: dict[str, Any]) -> None:
    folder = os.environ.get("TSS_RAY_CRDS")
    if folder is None:
        pytest.skip("TSS_RAY_CRDS names no folder of KubeRay's CRDs; the fields are not checked against them")
    schema = crd_schema(Path(folder), found["kind"])
    jsonschema.validate(found, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found | {"spec": found["spec"] | {"rayVersoin": "2.60.0"}}, schema)


def test_strict_refuses_what_it_was_not_told_of() -> None:
    schema = strict(
        {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}}
    )
    jsonschema.validate({"a": {"b": "x"}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"a": {"c": "x"}}, schema)


def test_the_files_hold_what_they_are_for() -> None:
    kinds = {path.name: [d["kind"] for d in documents(path)] for path in KUBERAY}
    assert kinds == {
        "model-cache.yaml": ["PersistentVolumeClaim"],
        "raycluster.yaml": ["RayCluster", "ServiceAccount"],
        "rayjob.yaml": ["RayJob", "ConfigMap", "ServiceAccount"],
    }


def pods(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def gpus(group: dict[str, Any]) -> int:
    """Return the whole GPUs of a pod; requests and limits must agree, as Kubernetes demands of GPUs."""
    asked = group["template"]["spec"]["containers"][0]["resources"]
    assert asked["requests"] == asked["limits"], "Ray counts limits, Kubernetes places by requests"
    return int(asked["limits"].get("nvidia.com/gpu", "0"))


@pytest.mark.parametrize(("file", "cluster"), CLUSTERS)
def test_ray_and_the_image_are_the_pinned_ones(file: str, cluster: dict[str, Any]) -> None:
    assert cluster["rayVersion"] == pins()["ray"]
    images = [
        value for path, value in strings(dict(of_kind("RayJob") + of_kind("RayCluster"))[file]) if ".image" in path
    ]
    assert len(images) >= 3
    assert {image.rpartition(":")[2] for image in images} == {VERSION}


@pytest.mark.parametrize(("file", "cluster"), CLUSTERS)
def test_groups_scale_to_zero_and_the_head_computes_nothing(file: str, cluster: dict[str, Any]) -> None:
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert {name: gpus(group) for name, group in groups.items()} == {"gpu": 1, "cpu": 0}
    for group in groups.values():
        assert group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"]
    spec = groups["gpu"]["template"]["spec"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    for group in groups.values():
        affinity = group["template"]["spec"]["affinity"]["nodeAffinity"]
        assert affinity.keys() == {"preferredDuringSchedulingIgnoredDuringExecution"}, "required: no fallback from spot"


@pytest.mark.parametrize(("file", "cluster"), CLUSTERS)
def test_a_worker_of_each_group_holds_what_the_graph_asks_for(file: str, cluster: dict[str, Any]) -> None:
    for group in cluster["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        cpus, memory = float(limits["cpu"]), int(limits["memory"].removesuffix("Gi")) * 2**30
        job = JobSpec.model_validate({"input": "s3://b/in", "output": "s3://b/out"})
        plan = plan_resources(job.compute, [cpus], gpus(group))
        on_heap = 0.7 * memory  # Ray gives 30% to its object store
        feeders = (cpus - plan.actors * plan.actor_cpus) / plan.prepare_cpus
        used = plan.actors * plan.actor_args()["memory"] + feeders * plan.prepare_args()["memory"]
        assert used <= on_heap, f"{file}, {group['groupName']}: {used / 2**30:.1f} GiB of {on_heap / 2**30:.1f}"


@pytest.mark.parametrize(("file", "cluster"), CLUSTERS)
def test_pods_are_probed_scraped_and_know_the_model_folder(file: str, cluster: dict[str, Any]) -> None:
    for pod in pods(cluster):
        notes = pod["metadata"]["annotations"]
        container = pod["spec"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert notes["prometheus.io/scrape"] == "true"
        assert int(notes["prometheus.io/port"]) == ports["metrics"]
        assert container["readinessProbe"]["httpGet"] == container["livenessProbe"]["httpGet"]
        assert {"name": "models", "mountPath": "/models"} in container["volumeMounts"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in pod["spec"]["volumes"]}
        claim = next(v["persistentVolumeClaim"]["claimName"] for v in pod["spec"]["volumes"] if v["name"] == "models")
        assert claim == of_kind("PersistentVolumeClaim")[0][1]["metadata"]["name"]
        assert pod["spec"]["serviceAccountName"] in {d["metadata"]["name"] for _, d in of_kind("ServiceAccount")}


@pytest.mark.parametrize(("file", "cluster"), CLUSTERS)
def test_secrets_come_by_reference_only(file: str, cluster: dict[str, Any]) -> None:
    assert cluster["authOptions"]["mode"] == "token"
    for pod in pods(cluster):
        for container in pod["spec"]["containers"]:
            assert "env" not in container
            assert [list(source) for source in container["envFrom"]] == [["secretRef"]]
    assert not of_kind("Secret")


def test_both_files_describe_the_same_cluster() -> None:
    job_only = {"name": "job"}

    def shared(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: shared(value) for key, value in node.items()}
        if isinstance(node, list):
            return [
                shared(value) for value in node if not (isinstance(value, dict) and job_only.items() <= value.items())
            ]
        return node

    (_, first), (_, second) = CLUSTERS
    assert shared(first) == shared(second)


def test_the_job_of_the_rayjob_is_valid_and_its_actors_fit_the_group() -> None:
    (_, job), (_, config) = of_kind("RayJob")[0], of_kind("ConfigMap")[0]
    spec = JobSpec.model_validate(yaml.safe_load(config["data"]["spec.yaml"]))
    assert job["spec"]["entrypoint"] == "tss-ray upscale --spec /job/spec.yaml"
    for pod in pods(job["spec"]["rayClusterSpec"]):
        assert {"name": "job", "mountPath": "/job"} in pod["spec"]["containers"][0]["volumeMounts"]
        assert {"name": "job", "configMap": {"name": config["metadata"]["name"]}} in pod["spec"]["volumes"]
    group = next(g for g in job["spec"]["rayClusterSpec"]["workerGroupSpecs"] if g["groupName"] == "gpu")
    assert spec.compute.actors is not None
    assert spec.compute.gpus_per_actor is not None
    assert spec.compute.actors * spec.compute.gpus_per_actor <= group["maxReplicas"] * gpus(group)
    assert spec.compute.wait_nodes_s > 0, "the GPUs start with the job"
    assert int(yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]) > 30
