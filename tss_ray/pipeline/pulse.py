"""What an engine does between two looks at it, recorded every few seconds beside the work."""

import threading
import time
from dataclasses import fields

import ray

from tss_ray.engine.memory import bytes_in_use
from tss_ray.engine.stats import EngineStats
from tss_ray.engine.thread import EngineThread
from tss_ray.pipeline.meters import Meters
from tss_ray.telemetry import names

_EVERY_S = 5.0


class Pulse:
    """Records an engine's counts as they grow, and its queue and memory as they are."""

    def __init__(self, engine: EngineThread, told: Meters, actor: str) -> None:
        """Begin; `actor` tells gauges of several actors apart. A thread looks every few seconds."""
        self._engine, self._told, self._actor = engine, told, actor
        self._before, self._idle_before, self._lock = EngineStats(), 0.0, threading.Lock()
        threading.Thread(target=self._go_on, name="pulse", daemon=True).start()

    def beat(self) -> None:
        """Record what happened since the last time."""
        with self._lock:
            now, idle_s = self._engine.stats, self._engine.idle_s
            since = {f.name: getattr(now, f.name) - getattr(self._before, f.name) for f in fields(EngineStats)}
            idle_since, self._before, self._idle_before = idle_s - self._idle_before, now, idle_s
        told = self._told
        told.count(names.FORWARDS, since["forwards"])
        told.count(names.SLOTS, since["slots_useful"], use="useful")
        told.count(names.SLOTS, since["slots_run"] - since["slots_useful"], use="empty")
        told.count(names.ENGINE_PIXELS, since["px_wanted"], use="wanted")
        told.count(names.ENGINE_PIXELS, since["px_run"] - since["px_wanted"], use="padding")
        told.count(names.DEVICE_SECONDS, since["device_s"])
        told.count(names.WARM_UP_SECONDS, since["warm_up_s"])
        told.count(names.OUT_OF_MEMORY, since["out_of_memory"])
        told.count(names.IDLE_SECONDS, idle_since)
        told.set(names.MAX_BATCH, self._engine.max_batch, actor=self._actor)
        told.set(names.QUEUE, self._engine.num_open, actor=self._actor)
        told.set(names.DEVICE_MEMORY, bytes_in_use(self._engine.device), actor=self._actor)

    def _go_on(self) -> None:
        while True:
            time.sleep(_EVERY_S)
            self.beat()


def actor_name() -> str:
    """Return eight hex digits that tell this actor from others."""
    return str(ray.get_runtime_context().get_actor_id() or "")[:8] or "driver"
