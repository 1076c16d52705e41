"""One Ray for all tests of a file: starting it costs more than most of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from tss_ray.pipeline.job import JobResult, Start, Watcher, run_job
from tss_ray.spec import load_spec


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Four logical CPUs on this machine, whatever it has, so that two actors always fit."""
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def upscale(cluster: None, tiny_model_folder: Path) -> Callable[..., JobResult]:
    """Run a job on the tiny model with small tiles; settings are dotted, like `{"plan.n": 3}`."""

    def run(
        source: object,
        output: object,
        watcher: Watcher | None = None,
        start: Start | None = None,
        **settings: object,
    ) -> JobResult:
        base = {
            "input": str(source),
            "output": str(output),
            "model": str(tiny_model_folder),
            "tiles.tile_px": 16,
            "tiles.overlap_px": 4,
            "budget.ladder": [0, 1, 2, 4],
            "budget.thresholds": [0.05, 0.2, 0.4],
            "compute.threads_per_actor": 1,
            "compute.block_images": 4,
        }
        spec = load_spec(None, base | {key.replace("__", "."): value for key, value in settings.items()})
        return run_job(spec, watcher, start)

    return run
