"""The cluster's nodes before work starts: waited for where an autoscaler brings them, and asked whether they can.

A node is waited for by a task that needs what an actor needs. Ray's own `request_resources` would outlive a killed
driver and keep GPUs running for nobody; a task's demand ends with the driver.
"""

import logging
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tss_ray.errors import SpecError, TssRayError
from tss_ray.pipeline.measure import check_measuring
from tss_ray.pipeline.model import job_cards
from tss_ray.spec import ComputeSpec, JobSpec
from tss_ray.storage.stores import open_store

log = logging.getLogger(__name__)

_POLL_S = 1.0
_ACTOR_CPUS = 0.5
"""Of the waiting task: more than none, or a head that takes no work would do."""
_CHECK_LIMIT_S = 300.0
"""For all nodes together; they answer in parallel, and most of it is importing torch from a cold disk."""


def await_nodes(compute: ComputeSpec, stopped: Callable[[], bool]) -> tuple[list[float], float] | None:
    """Return (the CPUs of each node, all GPUs) to plan with, or None if the job was stopped meanwhile.

    With `compute.wait_nodes_s` the first actor's node is waited for; the GPUs of all actors then count as there, since
    the pool's own demand brings them while the first already works. Raises SpecError if none came in time.
    """
    gpus_per_actor = compute.gpus_per_actor or 0.0
    if compute.wait_nodes_s and not _first_node(compute.wait_nodes_s, gpus_per_actor, stopped):
        return None
    there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    coming = (compute.actors or 0) * gpus_per_actor if compute.wait_nodes_s else 0.0
    return sorted(node.get("CPU", 0.0) for node in there), max(sum(node.get("GPU", 0.0) for node in there), coming)


def _first_node(wait_s: int, gpus: float, stopped: Callable[[], bool]) -> bool:
    task = ray.remote(_arrived).options(num_cpus=_ACTOR_CPUS, num_gpus=gpus, max_retries=-1).remote()
    waited = 0.0
    while not stopped():
        if ray.wait([task], timeout=_POLL_S)[0]:
            return True
        waited += _POLL_S
        if waited >= wait_s:
            ray.cancel(task, force=True)
            raise SpecError(
                f"no node with {gpus:g} GPUs came within {wait_s} s; see `ray status` on the head for why, raise "
                "compute.wait_nodes_s, or lower compute.gpus_per_actor"
            )
    ray.cancel(task, force=True)
    return False


def _arrived() -> bool:
    return True


def check_nodes(spec: JobSpec, spec_hash: str) -> None:
    """Ask every node but this one for Ray, the package, the model's weights and the output, before any work.

    One node needs no asking: the driver has just done all of it there. Nodes that come later are not asked. Raises
    SpecError with the answer of every node that cannot do the job.
    """
    here = ray.get_runtime_context().get_node_id()
    nodes = [n for n in ray.nodes() if n["Alive"] and n["NodeID"] != here and n["Resources"].get("CPU", 0) > 0]
    task = ray.remote(examine)
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        options = task.options(num_cpus=0, max_retries=1, scheduling_strategy=there)
        asked[node["NodeID"]] = options.remote(spec, spec_hash)
    if asked:
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=_CHECK_LIMIT_S)
    faults = [fault for node in nodes if (fault := _fault(node, asked[node["NodeID"]]))]
    if faults:
        raise SpecError(
            "\n".join(
                ["some nodes cannot do this job:", *faults, "give them the image and the credentials of the head"]
            )
        )


def examine(spec: JobSpec, spec_hash: str) -> str:
    """Try here what the job will do: read the weights, write to the output, make the metrics.

    Return what is wrong, or nothing.
    """
    try:
        if spec.spec_hash(*job_cards(spec).sha256s) != spec_hash:
            told = spec.model if spec.one_step_model is None else f"{spec.model} or {spec.one_step_model}"
            return f"the model {told} has other weights here"
        open_store(spec.output, spec.store).check_writable()
        check_measuring(spec)
    except TssRayError as error:
        return str(error)
    return ""


def _fault(node: dict[str, Any], answer: Any) -> str:  # noqa: ANN401
    try:
        problem = str(ray.get(answer, timeout=0))
    except ray.exceptions.GetTimeoutError:
        problem = f"no answer within {_CHECK_LIMIT_S:g} s"
    except RayError as error:  # among them: a worker that cannot import this package
        if node["NodeID"] not in {n["NodeID"] for n in ray.nodes() if n["Alive"]}:
            log.warning("%s went away while it was asked", _name(node))
            return ""
        problem = str(error).strip().splitlines()[-1]
    return f"- {_name(node)}: {problem}" if problem else ""


def _name(node: dict[str, Any]) -> str:
    return str(node.get("NodeManagerHostname") or node["NodeID"])
