"""A reverse proxy on loopback that spoils a share of what passes, by chance from a seed."""

import random
import socket
import struct
import threading
from collections import Counter
from contextlib import AbstractContextManager
from typing import Literal
from urllib.parse import unquote

from loopback_proxy import LoopbackProxy, PassingHandler, serving

Fault = Literal["busy", "error", "reset", "truncate", "forget"]
FAULTS: tuple[Fault, ...] = ("busy", "error", "reset", "truncate", "forget")
"""503 SlowDown; 500; the connection reset before an answer; half of an object's bytes; a PUT stored and then denied."""


class ChaosProxy(LoopbackProxy):
    """Of each kind of fault `share`, in [0,1], of the requests that it can befall."""

    def __init__(self, upstream_url: str, seed: int) -> None:
        """Listen; no faults as yet."""
        super().__init__(upstream_url, _Handler)
        self.share = 0.0
        self.num_faults: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()
        """How often each path was stored and said to be."""
        self._chance, self._lock = random.Random(seed), threading.Lock()

    def draw(self, method: str, path: str) -> Fault | None:
        """Return what is to befall a request."""
        possible = {"truncate": method == "GET" and "?" not in path, "forget": method == "PUT"}
        with self._lock:
            for fault in FAULTS:
                if possible.get(fault, True) and self._chance.random() < self.share:
                    self.num_faults[fault] += 1
                    return fault
        return None

    def count(self, path: str) -> None:
        """Note an object that was stored."""
        with self._lock:
            self.stored[unquote(path)] += 1


class _Handler(PassingHandler):
    server: ChaosProxy

    def spoil(self, body: bytes) -> None:
        fault = self.server.draw(self.command, self.path)
        if fault == "busy":
            self.refuse(503, "SlowDown")
        elif fault == "error":
            self.refuse(500, "InternalError")
        elif fault == "reset":
            # closed with zero seconds to linger, a connection is reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        else:
            status, headers, data = self.ask(body)
            if fault == "forget":
                self.refuse(500, "InternalError")
                return
            if self.command == "PUT" and status == 200:
                self.server.count(self.path)
            self.answer(status, headers, data, len(data) // 2 if fault == "truncate" else None)


def chaos_proxy(upstream_url: str, seed: int) -> AbstractContextManager[ChaosProxy]:
    """Serve while a block runs."""
    return serving(ChaosProxy(upstream_url, seed))
