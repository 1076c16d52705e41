"""One job from spec to result: everything that can be found out before work starts is found out before."""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import ray

from tss_ray.budget.policy import top_rung
from tss_ray.errors import SpecError
from tss_ray.models.card import ModelCard
from tss_ray.models.registry import EMBEDDED, check_model
from tss_ray.pipeline.commit import Totals
from tss_ray.pipeline.graph import run_graph
from tss_ray.pipeline.monitor import Tally, start_monitor
from tss_ray.pipeline.nodes import await_nodes, check_nodes
from tss_ray.pipeline.resources import plan_resources
from tss_ray.spec import JobSpec
from tss_ray.storage.inputs import list_inputs
from tss_ray.storage.key_list import KeyList, write_key_list
from tss_ray.storage.layout import SPEC_KEY
from tss_ray.storage.ledger import read_done
from tss_ray.storage.overlap import check_output_outside_input
from tss_ray.storage.stores import Store, open_store
from tss_ray.storage.uris import absolute_uri

log = logging.getLogger(__name__)

_POLL_S = 0.5


@dataclass(frozen=True)
class JobResult:
    """How a run ended. Seconds are wall-clock, from the first preflight to the last committed part."""

    totals: Totals
    num_listed: int
    num_done_before: int
    stopped: bool
    wall_s: float
    output: str

    @property
    def complete(self) -> bool:
        """Whether every input has a row."""
        return self.num_done_before + self.totals.done + self.totals.quarantined == self.num_listed


@dataclass(frozen=True)
class Watcher:
    """What the caller wants to be told while the job runs."""

    listed: Callable[[KeyList], None] = lambda key_list: None
    progress: Callable[[Tally], None] = lambda tally: None
    stopping: Callable[[], None] = lambda: None


def run_job(spec: JobSpec, watcher: Watcher | None = None) -> JobResult:
    """Run a job to its end, or to a clean stop at the first SIGINT or SIGTERM.

    Raises SpecError, InputError, StorageError or ModelError before any work starts, each with its remedy.
    """
    watcher = watcher or Watcher()
    began = time.monotonic()
    spec = _absolute(spec)
    output, spec_hash = _preflight(spec)
    done = read_done(output, spec_hash)
    key_list = write_key_list(
        output, spec_hash, spec.encode.format, lambda: list_inputs(spec.input, spec.store), done.__contains__
    )
    watcher.listed(key_list)
    totals, stopped = Totals(), False
    if key_list.num_todo:
        output.write(SPEC_KEY, _spec_record(spec, spec_hash), "application/json")
        with _cluster(), _Attention(watcher) as attention:
            nodes = await_nodes(spec.compute, lambda: attention.stopped)
            if nodes is not None:
                check_nodes(spec, spec_hash)
                resources = plan_resources(spec.compute, *nodes)
                log.info("job %s: %d images, %s", spec_hash, key_list.num_todo, resources)
                for part in run_graph(spec, spec_hash, key_list, resources, attention.monitor):
                    totals += part
            stopped = attention.stopped
    num_before = key_list.num_listed - key_list.num_todo
    return JobResult(totals, key_list.num_listed, num_before, stopped, time.monotonic() - began, spec.output)


def _absolute(spec: JobSpec) -> JobSpec:
    """Resolve local paths here: workers have working folders of their own."""
    model = spec.model if spec.model in EMBEDDED else absolute_uri(spec.model)
    return spec.model_copy(update={"output": absolute_uri(spec.output), "model": model})


def _preflight(spec: JobSpec) -> tuple[Store, str]:
    """Return the output store and the spec's hash, or raise what would have stopped the job later."""
    check_output_outside_input(spec.input, spec.output)
    card = check_model(spec.model)
    _check_model_fits(spec, card)
    output = open_store(spec.output, spec.store)
    output.check_writable()
    return output, spec.spec_hash(card.sha256)


def _check_model_fits(spec: JobSpec, card: ModelCard) -> None:
    if card.scale != spec.scale:
        raise SpecError(f"{card.model_id} enlarges by {card.scale}, scale={spec.scale}; choose another model or scale")
    if top_rung(spec.budget) > card.num_timesteps:
        raise SpecError(
            f"budget of {top_rung(spec.budget)} steps: {card.model_id} has {card.num_timesteps} timesteps; lower it"
        )
    card.check_tile(spec.tiles.tile_px)


def _spec_record(spec: JobSpec, spec_hash: str) -> bytes:
    return json.dumps({"spec_hash": spec_hash, "spec": spec.model_dump(mode="json")}, indent=2).encode()


@contextmanager
def _cluster() -> Iterator[None]:
    """Use the running Ray, or RAY_ADDRESS, or one that lives in this process and ends with the job."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ side writes advice straight to standard error
    ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # all of it still goes to Ray's session folder
    try:
        yield
    finally:
        ray.shutdown()


class _Attention:
    """Watches counts and signals beside the graph: signals are only noted by their handler, a thread acts on them."""

    def __init__(self, watcher: Watcher) -> None:
        self.monitor = start_monitor()
        self._watcher = watcher
        self._asked, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="attention", daemon=True)
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def stopped(self) -> bool:
        """Whether a signal asked for the end."""
        return self._asked.is_set()

    def __enter__(self) -> "_Attention":
        # after ray.init: Ray's own handler would end the driver within seconds
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        ray.kill(self.monitor)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            raise KeyboardInterrupt  # asked twice: now
        self._asked.set()

    def _watch(self) -> None:
        told = False
        while True:
            over = self._over.wait(_POLL_S)
            if self._asked.is_set() and not told:
                ray.get(self.monitor.stop.remote())
                self._watcher.stopping()
                told = True
            self._watcher.progress(ray.get(self.monitor.tally.remote()))
            if over:
                return
