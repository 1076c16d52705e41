"""The streaming graph: keys → prepare → super-resolve (→ measure) → commit. Nothing loops back.

The driver never holds pixels.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext

from tss_ray.pipeline.blocks import SHARES, block_sizes
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
_QUEUE_PER_ACTOR = 5
"""With those: a device has three other blocks while the next one comes, and nobody else can have what waits here."""
_GROWS_AT = 1.0
"""Blocks for each call at which a pool grows; Ray's own 1.75 is more than the queue ever holds."""
_INIT_DEATHS = 8
_SHARES_CONTROLLED = 64
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
    shares = SHARES if promiser is None else _SHARES_CONTROLLED
    sizes = block_sizes(key_list.num_todo, spec.compute.block_images, resources.actors, shares)
    source = KeyListSource(key_list, spec.output, spec.store, sizes, monitor)
    _configure()
    dataset = ray.data.read_datasource(source, override_num_blocks=source.num_blocks, **resources.prepare_args())
    dataset = dataset.map_batches(
        prepare or Prepare(spec, spec_hash, monitor),
        batch_size=None,
        batch_format="pyarrow",
        **resources.prepare_args(),
    )
    # Not map_batches: where GPUs are asked for it refuses whole blocks, and here one block in is one block out.
    dataset = dataset.map_batches_internal(
        upscaler if promiser is None else BudgetedUpscaler,
        fn_constructor_args=(spec, resources.actor_gpus > 0, resources.threads_per_actor, monitor)
        + (() if promiser is None else (promiser,)),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(
            min_size=resources.min_actors,
            max_size=resources.actors,
            initial_size=resources.first_actors,
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
        Commit(spec.output, spec.store, run_id, spec.output_layout),
        batch_size=spec.compute.part_rows,
        batch_format="pyarrow",
        **resources.commit_args(),
    )
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for part in batch.to_pylist():
            yield Totals(**part)


def _configure() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # a worker that dies is replaced and its blocks are run again, without end: a job of days outlives its machines
    context.max_errored_blocks = 0
    context.actor_init_retry_on_errors = True
    context.max_consecutive_actor_init_deaths = _INIT_DEATHS
    context.autoscaling_config.actor_pool_util_upscaling_threshold = _GROWS_AT
