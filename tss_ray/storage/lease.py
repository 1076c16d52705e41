"""One writer per output: a lease object that its holder keeps changing, and when another run may take it over.

Clocks of two machines are never compared. A holder raises `beat` every `BEAT_S`; a newcomer on another machine watches
the object by its own clock, refuses when it changes, and takes it over when it has not for `EXPIRES_S`. On the
holder's own machine the process itself is looked at, so that a killed run is followed at once. `take_over` asks nobody.

Every change of the lease is a `Store.swap`, so that of two newcomers one wins. A lease that was let go of stays behind,
marked, because stores can replace an object on a condition but not delete one.

The protocol is the usual one of lease files (Gray and Cheriton, "Leases", SOSP 1989), without their trust in clocks.
"""

import contextlib
import dataclasses
import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Self

from tss_ray.errors import LeaseError, LeaseLostError, TssRayError
from tss_ray.storage.layout import LEASE_KEY
from tss_ray.storage.processes import is_alive, machine_id, process_start
from tss_ray.storage.protocol import Store, Versioned

log = logging.getLogger(__name__)

BEAT_S = 10.0
EXPIRES_S = 60.0
_LOOK_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """What the lease says of the run that holds it."""

    run_id: str
    host: str
    pid: int
    since: str
    """UTC, ISO 8601, by the holder's clock: to be read by people only."""
    machine: str | None = None
    """See `processes.machine_id`."""
    process_started: int | None = None
    """See `processes.process_start`."""
    beat: int = 0
    released: bool = False

    @classmethod
    def this_process(cls) -> Self:
        """Return a new run of this process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        pid = os.getpid()
        return cls(uuid.uuid4().hex, platform.node(), pid, now, machine_id(), process_start(pid))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a lease; what is none belongs to nobody known and may expire like any other."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return cls("", "unknown", 0, "unknown")

    def to_bytes(self) -> bytes:
        """Return the object's bytes."""
        return json.dumps(dataclasses.asdict(self), indent=2).encode()

    def __str__(self) -> str:
        return f"host {self.host}, pid {self.pid}, since {self.since}"

    def lives(self) -> bool | None:
        """Say whether the process runs; None where it cannot be seen from here."""
        if self.machine is None or self.machine != machine_id():
            return None
        return is_alive(self.pid, self.process_started)


class Lease:
    """A lease that is held, and renewed by a thread until it is let go of."""

    def __init__(self, store: Store, me: Holder, version: str, took_over: bool, beat_s: float) -> None:
        """Take over what `_acquire` won; the thread starts here."""
        self.run_id = me.run_id
        self.took_over = took_over
        """Whether another run held it and never let go of it: something of that one may still have been under way."""
        self._store, self._me, self._version, self._beat_s = store, me, version, beat_s
        self._over, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew_until_over, name="lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether another run has it now."""
        return self._lost.is_set()

    def check(self) -> None:
        """Raise LeaseLostError if another run has it now."""
        check_lease(self._store, self.run_id)

    def release(self) -> None:
        """Stop renewing and mark the lease as free, if it is still ours."""
        self._over.set()
        self._thread.join()
        if not self.lost:
            self._change(released=True)

    def _renew_until_over(self) -> None:
        while not self._over.wait(self._beat_s) and not self.lost:
            try:
                self._change(beat=self._me.beat + 1)
            except TssRayError as error:
                # Nobody can take over what nobody reaches; the next beat tries again.
                log.warning("the lease could not be renewed: %s", error)

    def _change(self, **changes: int) -> None:
        wanted = dataclasses.replace(self._me, **changes)  # type: ignore[arg-type]  # one field, of its own type
        version = self._store.swap(LEASE_KEY, wanted.to_bytes(), self._version)
        if version is None:
            # Perhaps our own write, whose answer was lost.
            now = self._store.read_version(LEASE_KEY)
            if now is None or Holder.parse(now.data).run_id != self.run_id:
                self._lost.set()
                return
            version, wanted = now.version, Holder.parse(now.data)
        self._me, self._version = wanted, version


@contextlib.contextmanager
def hold_lease(
    store: Store,
    take_over: bool = False,
    waiting: Callable[[str], None] = lambda told: None,
    beat_s: float = BEAT_S,
    expires_s: float = EXPIRES_S,
) -> Iterator[Lease]:
    """Hold the output's lease while the block runs.

    `waiting` is told once if it has to be found out whether another run lives. Raises LeaseError if one does.
    """
    me = Holder.this_process()
    lease = Lease(store, me, *_acquire(store, me, take_over, waiting, expires_s), beat_s)
    try:
        yield lease
    finally:
        try:
            lease.release()
        except TssRayError as error:
            log.warning("the lease could not be released and will expire: %s", error)


def check_lease(store: Store, run_id: str) -> None:
    """Raise LeaseLostError unless this run holds the lease: asked before every commit, wherever that happens."""
    now = store.read_version(LEASE_KEY)
    holder = Holder.parse(now.data) if now else None
    if holder is None or holder.run_id != run_id or holder.released:
        who = "it was removed" if holder is None else "it was let go of" if holder.released else f"now {holder}"
        raise LeaseLostError(
            f"{store.uri(LEASE_KEY)}: this run lost the output ({who}) and commits nothing more; what it committed "
            "stays: let the other run end, or start this one again"
        )


def _acquire(
    store: Store, me: Holder, take_over: bool, waiting: Callable[[str], None], expires_s: float
) -> tuple[str, bool]:
    """Return the version of the lease that is now ours and whether somebody had not let go of it."""
    seen = store.read_version(LEASE_KEY)
    if seen is not None and not take_over:
        seen = _until_free(store, seen, waiting, expires_s)
    version = store.swap(LEASE_KEY, me.to_bytes(), seen.version if seen else None)
    if version is None:
        now = store.read_version(LEASE_KEY)
        holder = Holder.parse(now.data) if now else me
        if now is None or holder.run_id != me.run_id:
            raise _held(store, holder)
        version = now.version
    return version, seen is not None and not Holder.parse(seen.data).released


def _until_free(store: Store, seen: Versioned, waiting: Callable[[str], None], expires_s: float) -> Versioned | None:
    """Return the lease as it is once nobody holds it. Raises LeaseError as soon as its holder shows life."""
    holder = Holder.parse(seen.data)
    lives = False if holder.released else holder.lives()
    if lives is False:
        return seen
    if lives:
        raise _held(store, holder)
    waiting(f"another run ({holder}) did not let go of the output: looking up to {expires_s:.0f} s whether it lives")
    end = time.monotonic() + expires_s
    while time.monotonic() < end:
        time.sleep(min(_LOOK_S, expires_s / 10))
        now = store.read_version(LEASE_KEY)
        if now is None or now.version != seen.version:
            if now is None or Holder.parse(now.data).released:
                return now
            raise _held(store, Holder.parse(now.data))
    return seen


def _held(store: Store, holder: Holder) -> LeaseError:
    return LeaseError(
        f"{store.uri(LEASE_KEY)}: another run is writing this output ({holder}); wait for its end or stop it, choose "
        "another output, or take this one over with --take-over"
    )
