"""Whether a process of this machine still runs, told by Linux's /proc; elsewhere nothing is claimed."""

import os
from pathlib import Path

_ENDED = ("Z", "X", "x")
"""States of proc(5): a killed process stays a zombie until its parent asks for it."""


def machine_id() -> str | None:
    """Return what two processes share exactly if they see each other's pids: this boot and this pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def process_start(pid: int) -> int | None:
    """Return when the process began, in clock ticks since boot; None if there is none."""
    found = _stat(pid)
    return None if found is None else int(found[19])


def is_alive(pid: int, started: int | None) -> bool:
    """Say whether the process runs, and is the one that began then: pids are used again."""
    found = _stat(pid)
    return found is not None and found[0] not in _ENDED and started in (None, int(found[19]))


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the state on; before them stands a name that may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
