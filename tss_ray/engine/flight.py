"""A batch between its start and its end: on a device that works on its own the two lie apart."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from tss_ray.engine.state import TileState


class Stopwatch:
    """How long the device works on what is asked of it between construction and `stop`.

    On CUDA by events in its stream: the clock would only tell how long asking took.
    """

    def __init__(self, device: torch.device) -> None:
        """Start."""
        self._ends: list[torch.cuda.Event] | None = None
        self._began, self._taken = time.perf_counter(), 0.0
        if device.type == "cuda":
            self._ends = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
            self._ends[0].record()

    def stop(self) -> None:
        """Mark the end; does not wait for the device."""
        self._taken = time.perf_counter() - self._began
        if self._ends:
            self._ends[1].record()

    def seconds(self) -> float:
        """Return the seconds between the marks, once the device has passed both."""
        if not self._ends:
            return self._taken
        self._ends[1].synchronize()
        return float(self._ends[0].elapsed_time(self._ends[1])) / 1000


@dataclass(frozen=True, eq=False)
class Flight:
    """One batch: who was in it, and the pixels (3,tile·scale,tile·scale) on the CPU of those that it finished.

    The pixels are there once `watch.seconds()` has returned.
    """

    tiles: list[TileState]
    finished: dict[TileState, Tensor]
    watch: Stopwatch
