"""Who gets which share of the cluster: pure arithmetic, decided before Ray is asked for anything."""

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
    compute: ComputeSpec, num_cpus: float, num_gpus: float, metrics: MetricsSpec | None = None
) -> ResourcePlan:
    """Divide a cluster of this many CPUs and GPUs.

    Actors take at most half of the CPUs, whatever their number, so that there is always room to feed them. Their
    torch threads divide the cores: actors that fight over cores lose more than they win. Where metrics are asked for,
    their workers take at most an eighth of the CPUs, in one process each.

    Raises SpecError if the cluster cannot hold what the spec asks for.
    """
    gpus = compute.gpus_per_actor if compute.gpus_per_actor is not None else float(num_gpus >= 1)
    if gpus > num_gpus:
        raise SpecError(
            f"gpus_per_actor={gpus}: the cluster has {num_gpus:g} GPUs; lower compute.gpus_per_actor or add GPUs"
        )
    actors = compute.actors or (max(1, int(num_gpus / gpus)) if gpus else 1)
    if gpus * actors > num_gpus:
        raise SpecError(
            f"{actors} actors of {gpus:g} GPUs: the cluster has {num_gpus:g} GPUs; lower compute.actors or "
            "compute.gpus_per_actor"
        )
    share = num_cpus / 2 / actors
    if share < _LEAST_CPUS:
        raise SpecError(f"{actors} actors: the cluster has {num_cpus:g} CPUs; lower compute.actors or add CPUs")
    actor_cpus = min(float(int(share)), 4.0) if share >= 1 else int(share / _LEAST_CPUS) * _LEAST_CPUS
    metric_workers = (metrics.workers or actors) if metrics is not None and metrics.names else 0
    metric_share = num_cpus / 8 / metric_workers if metric_workers else 0.0
    if metric_workers and metric_share < _LEAST_CPUS:
        raise SpecError(f"{metric_workers} metric workers: the cluster has {num_cpus:g} CPUs; lower metrics.workers")
    return ResourcePlan(
        actors=actors,
        actor_cpus=min(actor_cpus, 1.0) if gpus else actor_cpus,
        actor_gpus=gpus,
        threads_per_actor=compute.threads_per_actor or max(1, int(num_cpus // actors)),
        prepare_cpus=0.5 if num_cpus >= 4 else 0.2 * num_cpus / 2,
        commit_cpus=0.25 if num_cpus >= 4 else 0.1 * num_cpus / 2,
        metric_workers=metric_workers,
        metric_cpus=min(1.0, int(metric_share / _LEAST_CPUS) * _LEAST_CPUS),
    )
