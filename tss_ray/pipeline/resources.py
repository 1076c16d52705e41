"""Who gets which share of the cluster: pure arithmetic, decided before Ray is asked for anything."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tss_ray.errors import SpecError
from tss_ray.spec import ComputeSpec, MetricsSpec

_MIB = 2**20
_LEAST_CPUS = 0.001
"""Shares below one CPU are multiples of this, rounded down: rounded up, many actors would leave no room for feeders."""


@dataclass(frozen=True)
class ResourcePlan:
    """Declared resources of every operator; CPUs are Ray's logical ones, threads are real.

    Memory is what a worker was seen to use, most of it libraries: Ray schedules by it and never enforces it.
    """

    actors: int
    actor_cpus: float
    actor_gpus: float
    threads_per_actor: int
    prepare_cpus: float
    commit_cpus: float
    metric_workers: int = 0
    metric_cpus: float = 0.0
    least_actors: int | None = None
    """Of a pool that grows up to `actors`; None: it has that many from the start."""
    actors_at_start: int | None = None

    @property
    def min_actors(self) -> int:
        """How many actors a pool keeps while there is work to hand out."""
        return self.actors if self.least_actors is None else self.least_actors

    @property
    def first_actors(self) -> int:
        """How many actors are started before the first block."""
        return self.actors if self.actors_at_start is None else self.actors_at_start

    def prepare_args(self) -> dict[str, Any]:
        """Return Ray's arguments for reading keys, fetching, decoding and probing: two operators, fused on purpose."""
        return {"num_cpus": self.prepare_cpus, "memory": 512 * _MIB}

    def actor_args(self) -> dict[str, Any]:
        """Return Ray's arguments for the super-resolution actors; unlike prepare's, so that the two never fuse."""
        return {"num_cpus": self.actor_cpus, "num_gpus": self.actor_gpus, "memory": 1280 * _MIB}

    def metric_args(self) -> dict[str, Any]:
        """Return Ray's arguments for measuring: pyiqa and two pictures as floats."""
        return {"num_cpus": self.metric_cpus, "memory": 1536 * _MIB}

    def commit_args(self) -> dict[str, Any]:
        """Return Ray's arguments for writing Parquet parts."""
        return {"num_cpus": self.commit_cpus, "memory": 512 * _MIB}


def plan_resources(
    compute: ComputeSpec, cpus: Sequence[float], num_gpus: float, metrics: MetricsSpec | None = None
) -> ResourcePlan:
    """Divide a cluster of nodes of so many CPUs each, with so many GPUs in all.

    An actor fits the smallest node, so that one that dies finds a place on any that is left, and actors take at most
    half of it, whatever their number, so that there is always room to feed them. Their torch threads divide the cores
    of the largest: actors that fight over cores lose more than they win. With `compute.min_actors` those that find a
    place now are started and counted, at least that many; nodes that join later bring places of their own. Workers of
    metrics take at most an eighth of the smallest node, in one process each.

    Raises SpecError if the cluster cannot hold what the spec asks for.
    """
    nodes = [count for count in cpus if count > 0] or [0.0]
    gpus = compute.gpus_per_actor if compute.gpus_per_actor is not None else float(num_gpus >= 1)
    if gpus > num_gpus:
        raise SpecError(
            f"gpus_per_actor={gpus}: the cluster has {num_gpus:g} GPUs; lower compute.gpus_per_actor or add GPUs"
        )
    actors = compute.actors or (max(1, int(num_gpus / gpus)) if gpus else len(nodes))
    now = actors if compute.min_actors is None else _that_fit(compute.min_actors, actors, gpus, len(nodes), num_gpus)
    if gpus * now > num_gpus:
        raise SpecError(
            f"{now} actors of {gpus:g} GPUs: the cluster has {num_gpus:g} GPUs; lower compute.actors or "
            "compute.gpus_per_actor"
        )
    per_node = math.ceil(now / len(nodes))
    share = min(nodes) / 2 / per_node
    if share < _LEAST_CPUS:
        raise SpecError(f"{now} actors: the cluster has {sum(nodes):g} CPUs; lower compute.actors or add CPUs")
    actor_cpus = min(float(int(share)), 4.0) if share >= 1 else int(share / _LEAST_CPUS) * _LEAST_CPUS
    largest = max(nodes)
    metric_workers = (metrics.workers or actors) if metrics is not None and metrics.names else 0
    metric_share = min(nodes) / 8 / math.ceil(metric_workers / len(nodes)) if metric_workers else 0.0
    if metric_workers and metric_share < _LEAST_CPUS:
        raise SpecError(f"{metric_workers} metric workers: the cluster has {sum(nodes):g} CPUs; lower metrics.workers")
    return ResourcePlan(
        actors=actors,
        actor_cpus=min(actor_cpus, 1.0) if gpus else actor_cpus,
        actor_gpus=gpus,
        threads_per_actor=compute.threads_per_actor or max(1, int(largest // per_node)),
        prepare_cpus=0.5 if largest >= 4 else 0.2 * largest / 2,
        commit_cpus=0.25 if largest >= 4 else 0.1 * largest / 2,
        least_actors=compute.min_actors,
        actors_at_start=now,
        metric_workers=metric_workers,
        metric_cpus=min(1.0, int(metric_share / _LEAST_CPUS) * _LEAST_CPUS),
    )


def _that_fit(least: int, most: int, gpus: float, num_nodes: int, num_gpus: float) -> int:
    """Return how many actors of a range have a place now: on GPUs, or one a node."""
    return max(least, min(most, int(num_gpus / gpus) if gpus else num_nodes))
