"""A reverse proxy on loopback that spoils the first requests for objects, then passes everything on."""

import threading
from contextlib import AbstractContextManager
from typing import Literal

from loopback_proxy import LoopbackProxy, PassingHandler, serving

Fault = Literal[
    "truncate",  # half of the body, then the connection ends
    "flip",  # one wrong byte in the body
    "etag",  # an ETag that is no MD5, but looks like one
    "busy",  # 503 SlowDown
    "error",  # 500 without anything done
    "forbidden",  # 403
    "reset",  # the connection ends before an answer
    "stall",  # no answer for a while
    "drop_answer",  # done, then 500
    "refuse_conditions",  # 501 for If-Match and If-None-Match
]

_STALL_S = 3.0
_ANSWERS: dict[Fault, tuple[int, str]] = {
    "busy": (503, "SlowDown"),
    "error": (500, "InternalError"),
    "forbidden": (403, "AccessDenied"),
    "drop_answer": (500, "InternalError"),
    "refuse_conditions": (501, "NotImplemented"),
}
_CONDITIONS = ("if-match", "if-none-match")


class FaultProxy(LoopbackProxy):
    """`faults_left` requests to go; `num_faults` spoilt so far, of `num_requests`."""

    def __init__(self, upstream_url: str, fault: Fault, num_faults: int, method: str, only: str) -> None:
        super().__init__(upstream_url, _Handler)
        self.fault = fault
        self.faults_left = num_faults
        self.num_faults = self.num_requests = 0
        self._method, self._only = method, only
        self._lock = threading.Lock()

    def take_fault(self, method: str, path: str, conditional: bool) -> Fault | None:
        with self._lock:
            # A listing is a GET too, but has a query; faults are for objects, unless `only` names one.
            if method != self._method or ("?" in path and "?" not in self._only) or self._only not in path:
                return None
            self.num_requests += 1
            if not self.faults_left or (self.fault == "refuse_conditions" and not conditional):
                return None
            self.faults_left -= 1
            self.num_faults += 1
            return self.fault


class _Handler(PassingHandler):
    server: FaultProxy

    def spoil(self, body: bytes) -> None:
        conditional = any(name in self.headers for name in _CONDITIONS)
        fault = self.server.take_fault(self.command, self.path, conditional)
        if fault == "stall":
            threading.Event().wait(_STALL_S)
        if fault in ("stall", "reset"):
            self.close_connection = True
            return
        if fault not in _ANSWERS or fault == "drop_answer":
            status, kept, data = self.ask(body)
        if fault in _ANSWERS:
            self.refuse(*_ANSWERS[fault])
            return
        if fault == "etag":
            kept = [(name, f'"{"0" * 32}"' if name.lower() == "etag" else value) for name, value in kept]
        if fault == "flip":
            at = len(data) // 2 + self.server.num_faults  # another one every time, as noise on a line is
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        self.answer(status, kept, data, len(data) // 2 if fault == "truncate" else None)


def fault_proxy(
    upstream_url: str, fault: Fault, num_faults: int, method: str = "GET", only: str = ""
) -> AbstractContextManager[FaultProxy]:
    """Serve while a block runs; only requests of this method, whose path holds `only`, are spoilt."""
    return serving(FaultProxy(upstream_url, fault, num_faults, method, only))
