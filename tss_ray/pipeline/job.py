"""One job from spec to result: everything that can be found out before work starts is found out before."""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from typing import Any

import ray
from ray.exceptions import RayError

from tss_ray.models.fetch import is_remote
from tss_ray.models.registry import EMBEDDED
from tss_ray.pipeline.commit import Totals
from tss_ray.pipeline.graph import run_graph
from tss_ray.pipeline.measure import binding_licence, check_measuring
from tss_ray.pipeline.meters import meters
from tss_ray.pipeline.model import check_models_fit, job_cards
from tss_ray.pipeline.monitor import Tally, start_monitor
from tss_ray.pipeline.nodes import await_nodes, check_nodes
from tss_ray.pipeline.placement import watched_placement
from tss_ray.pipeline.promiser import promises
from tss_ray.pipeline.resources import ResourcePlan, plan_resources
from tss_ray.pipeline.teller import Teller
from tss_ray.quality.pyiqa_metrics import MetricFacts
from tss_ray.spec import JobSpec
from tss_ray.storage.inputs import list_inputs
from tss_ray.storage.key_list import KeyList, write_key_list
from tss_ray.storage.layout import SPEC_KEY
from tss_ray.storage.lease import Lease, hold_lease
from tss_ray.storage.ledger import Ledger, read_ledger
from tss_ray.storage.overlap import check_output_outside_input
from tss_ray.storage.overwrite import finish_overwrite, overwrite
from tss_ray.storage.rewrite import drop_doubled, take_back_quarantined
from tss_ray.storage.runs import Run, add_run
from tss_ray.storage.shards import delete_orphans
from tss_ray.storage.stores import Store, open_store
from tss_ray.storage.summary import clear_summary, write_summary
from tss_ray.storage.uris import absolute_uri
from tss_ray.telemetry.log import configure

log = logging.getLogger(__name__)

_POLL_S = 0.5
_PATIENCE_S = 5.0
"""With a cluster that has no time to say how far it is."""
_LONGEST_STOP_S = 24.0
"""What was asked to stop is left where it is after so long: half a minute is what schedulers give a process."""


@dataclass(frozen=True)
class JobResult:
    """How a run ended. Seconds are wall-clock, from the first preflight to the last committed part."""

    totals: Totals
    num_listed: int
    num_done_before: int
    stopped: bool
    wall_s: float
    output: str
    num_taken_back: int = 0
    """Quarantined rows that were removed at the start, to be tried again."""

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
    waiting: Callable[[str], None] = lambda told: None
    """Told who else may hold the output, while that is found out."""


@dataclass(frozen=True)
class Start:
    """What a run does to what it finds in its output: acts of one command, so no spec holds them."""

    take_over: bool = False
    """Take the output from a run that holds it."""
    overwrite: bool = False
    """Delete what is there first."""
    retry_quarantined: frozenset[str] | None = None
    """Try quarantined images of these kinds again; empty: of all kinds."""


def run_job(spec: JobSpec, watcher: Watcher | None = None, start: Start | None = None) -> JobResult:
    """Run a job to its end, or to a clean stop at the first SIGINT or SIGTERM.

    Raises SpecError, InputError, StorageError, ModelError or LeaseError before any work starts, each with its remedy,
    LeaseLostError if another run takes the output over, and PlacementError if the nodes that are left cannot hold it.
    """
    watcher, start = watcher or Watcher(), start or Start()
    spec, started_at = _absolute(spec), datetime.now(UTC)
    output, spec_hash, metrics = _preflight(spec)
    with hold_lease(output, start.take_over, watcher.waiting) as lease:
        configure(spec.telemetry.log_format, spec.telemetry.log_level, run_id=lease.run_id)
        return _run(spec, spec_hash, output, lease, watcher, start, _Begun(started_at, metrics))


@dataclass(frozen=True, slots=True)
class _Begun:
    """What is known of a run before it has a cluster."""

    started_at: datetime
    metrics: tuple[MetricFacts, ...]

    def with_cluster(self, resources: ResourcePlan) -> Run:
        """Return what the output is to remember."""
        gpus = resources.actor_gpus
        devices = None if 0 < gpus < 1 else resources.actors * max(1, int(gpus))
        facts = {
            each.name: {"needs_reference": each.needs_reference, "lower_is_better": each.lower_is_better}
            for each in self.metrics
        }
        packages = ("tss-ray", "torch", "ray")
        bound = binding_licence(self.metrics)
        made_with = {name: _version(name) for name in packages} | ({"metrics": bound} if bound else {})
        return Run(self.started_at.isoformat(timespec="milliseconds"), devices, facts, made_with)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that was never installed
        return "not installed as a package"


def _run(
    spec: JobSpec, spec_hash: str, output: Store, lease: Lease, watcher: Watcher, start: Start, begun: _Begun
) -> JobResult:
    began = time.monotonic()
    ledger, num_taken_back = _begin(spec, spec_hash, output, start)
    key_list = write_key_list(
        output,
        spec_hash,
        spec.encode.format,
        lambda: list_inputs(spec.input, spec.store, spec.input_layout),
        ledger.names.__contains__,
        together=spec.dedupe,
        layout=spec.output_layout,
    )
    watcher.listed(key_list)
    totals, stopped = Totals(), False
    if key_list.num_todo:
        clear_summary(output)
        output.write(SPEC_KEY, _spec_record(spec, spec_hash), "application/json")
        with (
            _cluster(),
            Teller(spec, output, lease, key_list, meters()) as teller,
            _Attention(watcher, lease, teller) as attention,
        ):
            nodes = await_nodes(spec.compute, lambda: attention.stopped)
            if nodes is not None:
                check_nodes(spec, spec_hash)
                resources = plan_resources(spec.compute, *nodes, spec.metrics)
                teller.hold(resources)
                log.info("job %s: %d images, %s", spec_hash, key_list.num_todo, resources)
                add_run(output, begun.with_cluster(resources))
                with (
                    _told_by(lease),
                    watched_placement(resources, nodes_may_come=spec.compute.wait_nodes_s > 0),
                    promises(spec, spec_hash, key_list, ledger.names.__contains__) as promiser,
                ):
                    del ledger  # 16 bytes an image, for the days that the graph may take
                    for part in run_graph(
                        spec, spec_hash, key_list, resources, attention.monitor, lease.run_id, promiser
                    ):
                        totals += part
            stopped = attention.stopped
        lease.check()
        ledger = _whole_ledger(output, spec_hash)
    num_before = key_list.num_listed - key_list.num_todo
    wall_s = time.monotonic() - began
    result = JobResult(totals, key_list.num_listed, num_before, stopped, wall_s, spec.output, num_taken_back)
    if key_list.num_todo:
        teller.end(asdict(result))
    if result.complete and len(ledger.names) >= key_list.num_listed:
        write_summary(output, spec_hash, key_list.num_listed, ledger)
    return result


@contextmanager
def _told_by(lease: Lease) -> Iterator[None]:
    """Let a lost lease say in its own words why the graph failed."""
    try:
        yield
    except RayError:
        lease.check()
        raise


def _begin(spec: JobSpec, spec_hash: str, output: Store, start: Start) -> tuple[Ledger, int]:
    """Do to the output what the command asks; return what then is committed, and how many rows were taken back."""
    if start.overwrite:
        next(
            list_inputs(spec.input, spec.store, spec.input_layout)
        )  # a wrong input must not cost the results of the right one
        overwrite(output)
    finish_overwrite(output)
    if spec.output_layout != "files":
        delete_orphans(output)
    ledger = _whole_ledger(output, spec_hash)
    wanted = start.retry_quarantined
    if wanted is None or not (wanted & ledger.quarantined.keys() if wanted else ledger.quarantined):
        return ledger, 0
    clear_summary(output)
    num_taken_back = take_back_quarantined(output, wanted)
    return read_ledger(output, spec_hash), num_taken_back


def _whole_ledger(output: Store, spec_hash: str) -> Ledger:
    """Read the ledger; rows that a run left doubled as it lost its lease are put right first."""
    ledger = read_ledger(output, spec_hash)
    if ledger.names.repeated:
        clear_summary(output)
        num_dropped = drop_doubled(output, ledger.names.repeated)
        log.warning("%d rows of images that have several were removed; tss-ray verify tells the rest", num_dropped)
        ledger = read_ledger(output, spec_hash)
    return ledger


def _absolute(spec: JobSpec) -> JobSpec:
    """Resolve local paths here: workers have working folders of their own."""
    models = {"model": _absolute_model(spec.model)}
    if spec.one_step_model is not None:
        models["one_step_model"] = _absolute_model(spec.one_step_model)
    reference = spec.metrics.reference and absolute_uri(spec.metrics.reference)
    metrics = spec.metrics.model_copy(update={"reference": reference})
    return spec.model_copy(update={"output": absolute_uri(spec.output), "metrics": metrics, **models})


def _absolute_model(name: str) -> str:
    return name if name in EMBEDDED or is_remote(name) else absolute_uri(name)


def _preflight(spec: JobSpec) -> tuple[Store, str, tuple[MetricFacts, ...]]:
    """Return the output store, the spec's hash and its metrics, or raise what would have stopped the job later."""
    check_output_outside_input(spec.input, spec.output)
    cards = job_cards(spec)
    check_models_fit(spec, cards)
    output = open_store(spec.output, spec.store)
    output.check_writable()
    metrics = check_measuring(spec)
    if bound := binding_licence(metrics):
        log.warning("metrics are measured with %s: its licence binds their use", bound)
    return output, spec.spec_hash(*cards.sha256s), metrics


def _spec_record(spec: JobSpec, spec_hash: str) -> bytes:
    # The input too as any process understands it: whoever verifies may stand in another folder.
    told = spec.model_copy(update={"input": absolute_uri(spec.input)}).model_dump(mode="json")
    return json.dumps({"spec_hash": spec_hash, "spec": told}, indent=2).encode()


@contextmanager
def _cluster() -> Iterator[None]:
    """Use the running Ray, or RAY_ADDRESS, or one that lives in this process and ends with the job."""
    if ray.is_initialized():
        yield
        return
    if threading.current_thread() is threading.main_thread():
        # Ray brings a handler of its own; a SIGTERM before that would leave the processes behind that it starts
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ side writes advice straight to standard error
    ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # all of it still goes to Ray's session folder
    try:
        yield
    finally:
        ray.shutdown()


class _Attention:
    """Watches counts and signals beside the graph: signals are only noted by their handler, a thread acts on them."""

    def __init__(self, watcher: Watcher, lease: Lease, teller: Teller) -> None:
        self.monitor = start_monitor(lease.run_id)
        self._watcher, self._lease, self._teller = watcher, lease, teller
        self._asked, self._over = threading.Event(), threading.Event()
        self._asked_at = 0.0
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
            raise KeyboardInterrupt  # asked twice, or too long ago: now
        self._asked_at = time.monotonic()
        self._asked.set()

    def _watch(self) -> None:
        told = ended = False
        while True:
            over = self._over.wait(_POLL_S)
            if self._asked.is_set() or self._lease.lost:
                self.monitor.stop.remote()  # every time: a monitor that died has forgotten
                if not told:
                    self._watcher.stopping()
                    told = True
                overdue = self._asked.is_set() and time.monotonic() - self._asked_at > _LONGEST_STOP_S
                if overdue and self._previous and not over and not ended:
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # it may be waiting
                    ended = True
            with suppress(RayError):  # too slow, or the monitor is being restarted: signals are heeded all the same
                tally = ray.get(self.monitor.tally.remote(), timeout=_PATIENCE_S)
                self._watcher.progress(tally)
                self._teller.see(tally, stopping=told)
            if over:
                return
