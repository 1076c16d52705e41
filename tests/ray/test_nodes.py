"""What is asked of a real cluster before work starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from tss_ray.errors import SpecError
from tss_ray.models.registry import check_model
from tss_ray.pipeline.nodes import await_nodes, check_nodes
from tss_ray.spec import ComputeSpec, JobSpec, load_spec

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # ray.cluster_utils leaves a socket
]

_STORE_BYTES = 80 * 2**20


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    """A head without CPUs and one worker with a logical GPU: two raylets on this machine."""
    head = {"num_cpus": 0, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=_STORE_BYTES)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def compute(**settings: object) -> ComputeSpec:
    return ComputeSpec.model_validate(settings)


def job(output: Path, model: Path) -> JobSpec:
    return load_spec(None, {"input": "in", "output": str(output), "model": str(model)})


def test_without_waiting_what_is_there_counts(two_nodes: Cluster) -> None:
    assert await_nodes(compute(), lambda: False) == ([0, 2], 1)


def test_once_the_first_is_there_the_others_count_as_coming(two_nodes: Cluster) -> None:
    assert await_nodes(compute(actors=4, gpus_per_actor=1, wait_nodes_s=60), lambda: False) == ([0, 2], 4)


def test_nodes_that_never_come_end_the_wait_with_the_remedy(two_nodes: Cluster) -> None:
    with pytest.raises(SpecError, match=r"no node with 8 GPUs came within 2 s; .* raise compute\.wait_nodes_s"):
        await_nodes(compute(actors=1, gpus_per_actor=8, wait_nodes_s=2), lambda: False)


def test_a_stop_ends_the_wait(two_nodes: Cluster) -> None:
    assert await_nodes(compute(actors=1, gpus_per_actor=8, wait_nodes_s=600), lambda: True) is None


def test_a_node_that_can_do_the_job_is_silent(two_nodes: Cluster, tmp_path: Path, tiny_model_folder: Path) -> None:
    spec = job(tmp_path, tiny_model_folder)
    check_nodes(spec, spec.spec_hash(check_model(spec.model).sha256))


def test_a_node_that_cannot_is_named_with_its_reason(
    two_nodes: Cluster, tmp_path: Path, tiny_model_folder: Path
) -> None:
    spec = job(tmp_path, tiny_model_folder)
    with pytest.raises(SpecError, match="other weights here"):
        check_nodes(spec, "0" * 16)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SpecError, match=r"some nodes cannot do this job:\n- .*file"):
        check_nodes(job(tmp_path / "file", tiny_model_folder), spec.spec_hash(check_model(spec.model).sha256))
