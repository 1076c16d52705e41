"""Actors on nodes that come, and devices that go back: the real graph, with models that sleep."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import heterogeneous
import pytest
import ray
from heterogeneous import free_gpus, run_uneven, seconds_free
from ray.cluster_utils import Cluster
from ray.data import DataContext

from tss_ray.pipeline.resources import plan_resources
from tss_ray.spec import ComputeSpec

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # ray.cluster_utils leaves a socket
]

_STORE_BYTES = 80 * 2**20
NODE = {"num_cpus": 4, "num_gpus": 1, "object_store_memory": _STORE_BYTES}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without CPUs and one node with a logical GPU, whose workers find the sleeping models."""
    head = {"num_cpus": 0, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    paths = [str(Path(heterogeneous.__file__).parent), os.environ.get("PYTHONPATH", "")]
    waited = DataContext.get_current().wait_for_min_actors_s
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(**NODE)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
        DataContext.get_current().wait_for_min_actors_s = waited
        ray.shutdown()
        cluster.shutdown()


def test_a_pool_grows_onto_a_node_that_joins_and_gives_back_what_has_nothing_to_do(cluster: Cluster) -> None:
    compute = ComputeSpec(actors=2, min_actors=1, gpus_per_actor=1)
    plan = plan_resources(compute, [4.0], 1)
    assert (plan.first_actors, plan.actors) == (1, 2)
    with free_gpus() as seen, ThreadPoolExecutor(1) as aside:
        running = aside.submit(run_uneven, plan, 150, [0.4, 0.1])  # the second is the faster one, and done first
        time.sleep(5)
        cluster.add_node(**NODE)  # in the main thread, where Ray wants to be
        rows = running.result()
    assert sorted(rows["image_key"].to_pylist()) == [f"{number:07d}.png" for number in range(150)]
    done = rows["device"].value_counts().to_pylist()
    assert len(done) == 2, f"the pool stayed at one actor: {done}"
    ended = max(rows["finished_at"].to_pylist())
    assert seconds_free(seen, ended) > 0, "both devices were held to the very end"
