"""The one thread that owns the device: callers hand in images and wait on futures."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from types import TracebackType
from typing import Self

import torch

from tss_ray.engine.engine import Engine
from tss_ray.engine.pair import EnginePair
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.engine.stats import EngineStats
from tss_ray.engine.stream import TileStream
from tss_ray.errors import EngineError
from tss_ray.imaging.tiles import TileGrid


class EngineThread:
    """Runs an Engine, or a pair; `submit` may be called from any thread.

    Threads rather than coroutines, and one owner: several threads on one CUDA device crash, and an event loop stalls
    under backpressure.
    """

    def __init__(self, engine: Engine | EnginePair, num_threads: int | None = None) -> None:
        """Start the thread, with so many torch threads at its command; None: as many as torch takes by default.

        torch keeps the number for each thread, so callers may set their own to 1 and leave the cores to the engine.
        """
        self._engine, self._num_threads = engine, num_threads
        self._idle_s = 0.0
        self._waits_since: float | None = None
        self._ready = threading.Event()
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._open: set[Future[DenoisedImage]] = set()
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()
        self._ready.wait()

    def submit(self, request: ImageRequest) -> "Future[DenoisedImage]":
        """Queue an image. Raises EngineError if the engine has died or was closed."""
        future = self._opened()
        self._inbox.put(lambda: self._engine.submit(request, future))
        return future

    def grid(self, height: int, width: int) -> TileGrid:
        """Return how an image is cut."""
        return self._engine.grid(height, width)

    def stream(self, request: ImageRequest) -> TileStream:
        """Begin an image too large to be held; its tiles enter the engine as they are asked for.

        Raises EngineError if the engine has died or was closed.
        """

        def ask(stream: TileStream, row: int) -> None:
            if stream.cancelled:
                self._forget(stream.future)
            self._inbox.put(lambda: self._engine.extend(stream, row))

        return TileStream(request, self.grid(*request.lr.shape[:2]), self._opened(), ask)

    def _opened(self) -> "Future[DenoisedImage]":
        future: Future[DenoisedImage] = Future()
        with self._lock:
            if self._failure is not None:
                raise EngineError(
                    f"the engine has stopped: {self._failure!r}; start the worker again"
                ) from self._failure
            self._open.add(future)
        future.add_done_callback(self._forget)
        return future

    @property
    def occupancy(self) -> float:
        """Useful slots / slots run so far, in [0,1]."""
        return self._engine.occupancy

    @property
    def stats(self) -> EngineStats:
        """What the engine has done so far."""
        return self._engine.stats

    @property
    def max_batch(self) -> int:
        """Tiles per forward at most, at present."""
        return self._engine.max_batch

    @property
    def device(self) -> torch.device:
        """What the engine runs on."""
        return self._engine.device

    @property
    def num_open(self) -> int:
        """Images that were submitted and are not finished."""
        return len(self._open)

    @property
    def idle_s(self) -> float:
        """Seconds without any image, since the first one came: how long the device waited for its callers."""
        with self._lock:
            waiting_s = 0.0 if self._waits_since is None else time.perf_counter() - self._waits_since
            return self._idle_s + waiting_s

    def close(self) -> None:
        """Finish what was submitted and end the thread."""
        self._inbox.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _forget(self, future: "Future[DenoisedImage]") -> None:
        with self._lock:
            self._open.discard(future)

    def _run(self) -> None:
        try:
            if self._num_threads is not None:
                torch.set_num_threads(self._num_threads)
            torch.get_num_threads()  # fixed for this thread from here on, whatever others set
            self._ready.set()
            closing = False
            while not (closing and self._engine.idle):
                closing |= self._take(wait=self._engine.idle and not closing)
                if not self._engine.idle:
                    self._engine.step()
            self._fail(EngineError("the engine was closed; make a new one"))
        except BaseException as error:  # noqa: BLE001 - a dead engine must not leave callers waiting for ever
            self._fail(error)
        finally:
            self._ready.set()

    def _take(self, wait: bool) -> bool:
        """Move the inbox into the engine; return whether closing was asked for."""
        if wait and self._engine.stats.forwards:
            self._waits_since = time.perf_counter()
        try:
            while True:
                item = self._inbox.get(block=wait)
                self._end_wait()
                if item is None:
                    return True
                item()
                wait = False
        except queue.Empty:
            return False

    def _end_wait(self) -> None:
        if self._waits_since is not None:
            with self._lock:
                self._idle_s, self._waits_since = self._idle_s + time.perf_counter() - self._waits_since, None

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure = error
            left = list(self._open)
        for future in left:
            with suppress(InvalidStateError):  # its caller cancelled it since; the others must still hear of it
                future.set_exception(error)
