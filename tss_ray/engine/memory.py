"""How many tiles fit: measured before the work, and again when the device says no."""

import contextlib
import ctypes
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch

_CPU_SHARE, _CUDA_SHARE = 0.5, 0.8
"""Of what is free, how much a batch may take: a CPU's memory is shared with decoding, encoding and other actors."""


def fitting_batch(wanted: int, device: torch.device, run_one: Callable[[], object], share: float = 1.0) -> int:
    """Return how many tiles may run at once, at most `wanted`, from a dry run of one tile.

    What one tile takes is counted for every tile, its fixed part too, so this errs on the safe side. share: of the
    device, if several workers use it. Where memory cannot be measured nothing is known, and `wanted` stands.
    """
    free, cost = _cuda_cost(device, run_one) if device.type == "cuda" else _cpu_cost(run_one)
    if not cost or free is None:
        return wanted
    return max(1, min(wanted, int(free * share * (_CUDA_SHARE if device.type == "cuda" else _CPU_SHARE) / cost)))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the device's memory (or the host's, on a CPU) was not enough."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    told = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in told for words in ("not enough memory", "can't allocate memory", "out of memory")
    )


def release_cached(device: torch.device) -> None:
    """Give cached blocks back, so that a smaller batch finds whole ones."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def bytes_in_use(device: torch.device) -> int:
    """Return what this process holds of a GPU's memory, torch's cache included, or of the host's on a CPU."""
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else _resident_bytes()


def _cuda_cost(device: torch.device, run_one: Callable[[], object]) -> tuple[int | None, int]:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run_one()
    torch.cuda.synchronize(device)
    cost = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0], cost


def _cpu_cost(run_one: Callable[[], object]) -> tuple[int | None, int]:
    """Return what is free, and by how much the peak of resident memory rose; 0 where an earlier peak hides it."""
    run_one()  # libraries load and caches fill once
    _trim_heap()
    _forget_peak()
    before = _peak_bytes()
    run_one()
    return _available_bytes(), max(0, _peak_bytes() - before)


def _trim_heap() -> None:
    """Give freed memory back, or the next run would fill it again and seem to take none; glibc alone can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _forget_peak() -> None:
    """Set the process's peak back to what it uses now; Linux alone can, elsewhere the peak of before stays."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak_bytes() -> int:
    return _status_bytes("VmHWM")


def _resident_bytes() -> int:
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int:
    """Return a figure of /proc; elsewhere than on Linux the peak, whatever was asked for."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def _available_bytes() -> int | None:
    """Return what the machine and the container still have, or None where neither says."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")))
    except (OSError, StopIteration):
        pass
    try:
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current"))
        found.append(int(limit) - int(used))
    except (OSError, ValueError):  # no cgroup of version 2, or "max": no limit
        pass
    return min(found, default=None)
