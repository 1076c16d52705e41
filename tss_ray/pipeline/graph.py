"""The streaming graph: keys → prepare → super-resolve (→ measure) → commit. Nothing loops back.

The driver never holds pixels.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext

from tss_ray.pipeline.commit import Commit, Totals
from tss_ray.pipeline.measure import Measure
from tss_ray.pipeline.prepare import Prepare
from tss_ray.pipeline.promiser import BudgetedUpscaler
from tss_ray.pipeline.resources import ResourcePlan
from tss_ray.pipeline.source import KeyListSource
from tss_ray.pipeline.upscaler import Upscaler
from tss_ray.spec import JobSpec
from tss_ray.storage.key_list import KeyList

_CALLS_PER_ACTOR = 4
"""Blocks an actor works on at once: while one is encoded and uploaded, the engine runs tiles of the next."""
_QUEUE_PER_ACTOR = 8
_INIT_DEATHS = 8
_BLOCKS_PER_CALL = 16
"""Under a controller: what begins before the first rows are back is then a small part of even a small job."""


def run_graph(
    spec: JobSpec,
    spec_hash: str,
    key_list: KeyList,
    resources: ResourcePlan,
    monitor: Any,  # noqa: ANN401
    run_id: str,
    promiser: Any = None,  # noqa: ANN401
    prepare: Callable[[pa.Table], pa.Table] | None = None,
    upscaler: type[Any] = Upscaler,
) -> Iterator[Totals]:
    """Run the job under the lease `run_id` and yield the totals of each committed part.

    prepare, upscaler: what stands in the place of `Prepare` and `Upscaler`, with their signatures, where the graph is
    what is measured. Program faults propagate as Ray raises them.
    """
    shares = resources.actors if promiser is None else resources.actors * _BLOCKS_PER_CALL
    block_images = images_per_block(spec.compute.block_images, key_list.num_todo, shares)
    source = KeyListSource(key_list, spec.output, spec.store, block_images, monitor)
    _configure()
    dataset = ray.data.read_datasource(source, override_num_blocks=source.num_blocks, **resources.prepare_args())
    dataset = dataset.map_batches(
        prepare or Prepare(spec, spec_hash, monitor),
        batch_size=None,
        batch_format="pyarrow",
        **resources.prepare_args(),
    )
    dataset = dataset.map_batches(
        upscaler if promiser is None else BudgetedUpscaler,
        fn_constructor_args=(spec, resources.actor_gpus > 0, resources.threads_per_actor, monitor)
        + (() if promiser is None else (promiser,)),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(
            size=resources.actors,
            max_concurrent_calls_per_actor=_CALLS_PER_ACTOR,
            max_tasks_in_flight_per_actor=_QUEUE_PER_ACTOR,
            enable_true_multi_threading=True,
        ),
        **resources.actor_args(),
    )
    if resources.metric_workers:
        dataset = dataset.map_batches(
            Measure,
            fn_constructor_args=(spec, monitor),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=resources.metric_workers),
            **resources.metric_args(),
        )
    dataset = dataset.map_batches(
        Commit(spec.output, spec.store, run_id),
        batch_size=spec.compute.part_rows,
        batch_format="pyarrow",
        **resources.commit_args(),
    )
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for part in batch.to_pylist():
            yield Totals(**part)


def images_per_block(largest: int, num_images: int, actors: int) -> int:
    """Return how many images a block holds: a small job still gives every actor several blocks."""
    return max(1, min(largest, -(-num_images // (actors * _CALLS_PER_ACTOR))))


def _configure() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # a worker that dies is replaced and its blocks are run again, without end: a job of days outlives its machines
    context.max_errored_blocks = 0
    context.actor_init_retry_on_errors = True
    context.max_consecutive_actor_init_deaths = _INIT_DEATHS
