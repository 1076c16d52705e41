"""The driver's voice: how far the run is and what it costs, as gauges, log lines and `run/progress.json`."""

import dataclasses
import logging
import math
import threading
import time
from collections import deque
from typing import Any, Self

from tss_ray.budget.target import planned_choice, target_problem
from tss_ray.errors import TssRayError
from tss_ray.pipeline.meters import Meters
from tss_ray.pipeline.monitor import Tally
from tss_ray.pipeline.resources import ResourcePlan
from tss_ray.spec import JobSpec
from tss_ray.storage.key_list import KeyList
from tss_ray.storage.lease import Lease
from tss_ray.storage.progress import Progress, State, now_told, write_progress
from tss_ray.storage.protocol import Store
from tss_ray.telemetry import names

log = logging.getLogger(__name__)

_EVERY_S = 2.0
_WRITE_EVERY_S = 10.0
_LINE_EVERY_S = 60.0
_PACE_S = 60.0
_PATIENCE_S = 5.0
"""At the end, with a store that hangs."""


class Pace:
    """Images per second over the last minute, or since the first image."""

    def __init__(self, window_s: float = _PACE_S) -> None:
        """Begin without any."""
        self._window_s, self._seen = window_s, deque[tuple[float, int]]()

    def see(self, finished: int, now_s: float) -> None:
        """Note how many are finished; `now_s` by any clock that never goes back."""
        if not finished:
            return
        self._seen.append((now_s, finished))
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= self._window_s:
            self._seen.popleft()

    @property
    def images_per_s(self) -> float | None:
        """The pace; None while nothing can be said."""
        if len(self._seen) < 2:
            return None
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_s - first_s) if last > first and last_s > first_s else None


class Every:
    """Says now and then that it is time, and at once the first time."""

    def __init__(self, every_s: float) -> None:
        """Wait so long between two times."""
        self._every_s, self._next_s = every_s, -math.inf

    def due(self, now_s: float) -> bool:
        """Return whether it is time."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._every_s
        return True


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What a run costs so far and is expected to cost, in device-seconds and, where a price is known, USD."""

    num_devices: float
    usd_per_s: float | None
    """Of one device."""
    planned_device_s: float | None

    def usd(self, tally: Tally, elapsed_s: float) -> dict[str, float]:
        """Return USD so far: `rented`, all devices for as long as they are held, and `computing`."""
        if self.usd_per_s is None:
            return {}
        return {
            "rented": self.usd_per_s * self.num_devices * elapsed_s,
            "computing": self.usd_per_s * tally.device_seconds,
        }


def predicted(so_far: float, tally: Tally, num_todo: int) -> float | None:
    """Return what `so_far` comes to at the end if the rest is like the images that are finished."""
    return so_far * num_todo / tally.finished if tally.finished else None


def planned_device_s(spec: JobSpec, num_listed: int, num_todo: int) -> float | None:
    """Return the run's share of the plan's device-seconds: its cap, else what its choice is expected to take.

    None without a plan, or for one that counts steps and not seconds.
    """
    target = spec.budget.target
    if spec.budget.policy != "target" or target is None or target.cost_unit != "device_s" or not num_listed:
        return None
    whole = target.cap if target.cap is not None else target_problem(target).expect(planned_choice(target)).cost
    return whole * num_todo / num_listed


def held_devices(resources: ResourcePlan) -> float:
    """Return how many devices a run holds: GPUs, or actors where there are none."""
    return resources.actors * (resources.actor_gpus or 1.0)


class Teller:
    """Tells of one run from the driver, in a thread of its own: a store that hangs must hold nothing else up.

    Nothing that it says ends the run: what fails is logged and left out.
    """

    def __init__(
        self, spec: JobSpec, output: Store, lease: Lease, key_list: KeyList, told: Meters, every_s: float = _EVERY_S
    ) -> None:
        """Take what is known before the run begins."""
        self._output, self._lease, self._told, self._every_s = output, lease, told, every_s
        self._spec, self._pace, self._tally, self._began_s = spec, Pace(), Tally(), time.monotonic()
        now = now_told()
        self._record = Progress(lease.run_id, "running", now, now, key_list.num_listed, key_list.num_todo)
        price, planned = spec.telemetry.device_usd_per_hour, planned_device_s(spec, self._listed, self._todo)
        self._cost = Cost(0.0, None if price is None else price / 3600, planned)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="teller", daemon=True)

    def __enter__(self) -> Self:
        about = {"num_listed": self._listed, "num_todo": self._todo}
        log.info("the run begins", extra=about)
        self._told.set(names.RUN_INFO, 1, run_id=self._lease.run_id, model=self._spec.model, output=self._spec.output)
        self._told.set(names.RUNNING, 1)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._thread.join(_PATIENCE_S)
        self._set_gauges()
        self._told.set(names.RUNNING, 0)
        if kind is not None:
            self._look("failed")
            self._write()

    def hold(self, resources: ResourcePlan) -> None:
        """Hear what the run holds; its devices are paid from here."""
        self._cost = dataclasses.replace(self._cost, num_devices=held_devices(resources))
        self._began_s = time.monotonic()

    def see(self, tally: Tally, stopping: bool) -> None:
        """Hear how far the run is."""
        self._tally = tally
        self._pace.see(tally.finished, time.monotonic())
        if stopping and self._record.state == "running":
            self._record = dataclasses.replace(self._record, state="stopping")

    def end(self, result: dict[str, Any]) -> None:
        """Say how it ended; `result` is what the closing table is made of."""
        self._look("ended")
        self._record = dataclasses.replace(self._record, result=result)
        self._write()
        log.info("the run has ended", extra=self._counted())

    @property
    def _listed(self) -> int:
        return self._record.num_listed

    @property
    def _todo(self) -> int:
        return self._record.num_todo

    def _go_on(self) -> None:
        writes, lines = Every(_WRITE_EVERY_S), Every(_LINE_EVERY_S)
        while not self._over.wait(self._every_s):
            self._set_gauges()
            if writes.due(time.monotonic()):
                self._look(self._record.state)
                self._write()
            if lines.due(time.monotonic()):
                log.info("%d of %d images", self._tally.finished, self._todo, extra=self._counted())

    def _look(self, state: State) -> None:
        tally = self._tally
        usd = self._cost.usd(tally, time.monotonic() - self._began_s).get("rented")
        self._record = dataclasses.replace(
            self._record,
            state=state,
            told_at=now_told(),
            done=tally.done,
            quarantined=tally.quarantined,
            steps=tally.steps,
            device_seconds=tally.device_seconds,
            images_per_s=self._pace.images_per_s,
            usd=usd,
            predicted_usd=None if usd is None else predicted(usd, tally, self._todo),
        )

    def _set_gauges(self) -> None:
        told, cost, tally, elapsed_s = self._told, self._cost, self._tally, time.monotonic() - self._began_s
        told.set(names.LISTED, self._listed)
        told.set(names.TODO, self._todo)
        told.set(names.FINISHED, tally.finished)
        told.set(names.ELAPSED, elapsed_s)
        told.set(names.DEVICES, cost.num_devices)
        told.set(names.PLANNED_DEVICE_SECONDS, cost.planned_device_s)
        told.set(names.PREDICTED_DEVICE_SECONDS, predicted(tally.device_seconds, tally, self._todo))
        for kind, usd in cost.usd(tally, elapsed_s).items():
            told.set(names.COST_USD, usd, kind=kind)
            told.set(names.PREDICTED_USD, predicted(usd, tally, self._todo), kind=kind)

    def _write(self) -> None:
        if self._lease.lost:  # the output, and this object in it, is another run's
            return
        try:
            write_progress(self._output, self._record)
        except TssRayError as error:
            log.warning("how far the run is could not be written: %s", error)

    def _counted(self) -> dict[str, float]:
        seconds = round(time.monotonic() - self._began_s, 3)
        return {"num_done": self._tally.done, "num_quarantined": self._tally.quarantined, "seconds": seconds}
