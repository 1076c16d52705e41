"""Promises of the `ray up` files, by Ray's own reading of them."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cluster_files import RAY_UP, ROOT, documents, strings
from ray.autoscaler._private import util as ray_util
from ray.autoscaler.v2 import scheduler
from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.utils import ResourceRequestUtil


def config(path: Path) -> dict[str, Any]:
    (found,) = documents(path)
    return found


@pytest.mark.parametrize("path", RAY_UP, ids=lambda p: p.stem)
def test_ray_takes_the_file(path: Path) -> None:
    prepared = ray_util.prepare_config(config(path))
    ray_util.validate_config(prepared)
    with pytest.raises(jsonschema.ValidationError):
        ray_util.validate_config(prepared | {"max_worker": 2})


def test_there_is_a_file_for_aws_and_one_for_one_machine() -> None:
    assert {path.stem: config(path)["provider"]["type"] for path in RAY_UP} == {"aws": "aws", "one-machine": "local"}


def test_gpu_machines_come_from_the_spot_market_first_and_only_for_a_job() -> None:
    aws = config(ROOT / "cluster" / "ray-up" / "aws.yaml")
    types = aws["available_node_types"]
    gpu = {name: t for name, t in types.items() if t["resources"].get("GPU")}
    assert all(isinstance(t["resources"]["GPU"], int) for t in gpu.values())
    assert all(t["min_workers"] == 0 for name, t in types.items() if name != "head")
    spot = {name for name, t in types.items() if t["node_config"].get("InstanceMarketOptions")}
    assert spot == {"gpu_spot", "cpu_spot"}
    assert gpu["gpu_spot"]["priority"] > gpu["gpu_on_demand"].get("priority", 0)
    assert any("RAY_enable_autoscaler_v2=1" in c for c in aws["head_start_ray_commands"]), "v1 ignores priority"
    assert sum(t.get("max_workers", 0) for t in types.values()) <= aws["max_workers"]
    assert types["head"]["resources"] == {"CPU": 0}


def chosen(demand: dict[str, float], unavailable: str | None = None) -> dict[str, int]:
    """Ask Ray's own autoscaler which machines it would start for a demand, with one type not to be had of late."""
    types = config(ROOT / "cluster" / "ray-up" / "aws.yaml")["available_node_types"]
    nodes = {
        name: NodeTypeConfig(name, 0, t["max_workers"], priority=t.get("priority", 0), resources=t["resources"])
        for name, t in types.items()
        if name != "head"
    }
    scores = {} if unavailable is None else {unavailable: 0.0}
    asked = scheduler.SchedulingRequest(
        True,
        nodes,
        max_num_nodes=24,
        resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(demand)]),
        recoverable_resource_availabilities=scores,
    )
    answer = scheduler.ResourceDemandScheduler(None).schedule(asked)
    assert not answer.infeasible_resource_requests
    return {launch.instance_type: launch.count for launch in answer.to_launch}


def test_ray_itself_starts_spot_machines_first_and_others_when_those_cannot_be_had() -> None:
    actor = {"GPU": 1.0, "CPU": 1.0}
    assert chosen(actor) == {"gpu_spot": 1}
    assert chosen(actor, unavailable="gpu_spot") == {"gpu_on_demand": 1}
    assert chosen({"CPU": 0.5}) == {"cpu_spot": 1}


@pytest.mark.parametrize("path", RAY_UP, ids=lambda p: p.stem)
def test_files_that_are_copied_exist_and_no_key_stands_in_the_file(path: Path) -> None:
    found = config(path)
    for source in found.get("file_mounts", {}).values():
        assert (ROOT / source).exists(), source
    told = {p.rpartition(".")[2].lower() for p, _ in strings(found)}
    assert not told & {"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "password", "token"}
    assert "redis-password" not in path.read_text(encoding="utf-8")


def test_the_dashboard_listens_on_loopback_only() -> None:
    for path in RAY_UP:
        started = " ".join(config(path)["head_start_ray_commands"])
        assert "--dashboard-host=127.0.0.1" in started, yaml.safe_dump(started)
