"""A reverse proxy on loopback that spoils a share of what passes, by chance from a seed.

Method, path and headers go through as they came, so signatures made for the proxy's own address hold.
"""

import contextlib
import http.client
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

Fault = Literal["busy", "error", "reset", "truncate", "forget"]
FAULTS: tuple[Fault, ...] = ("busy", "error", "reset", "truncate", "forget")
"""503 SlowDown; 500; the connection reset before an answer; half of an object's bytes; a PUT stored and then denied."""


class ChaosProxy(ThreadingHTTPServer):
    """Of each kind of fault `share`, in [0,1], of the requests that it can befall."""

    daemon_threads = True

    def __init__(self, upstream_url: str, seed: int) -> None:
        """Listen on a free port of loopback; no faults as yet."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream_url).netloc
        self.share = 0.0
        self.num_faults: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()
        """How often each path was stored and said to be."""
        self._chance, self._lock = random.Random(seed), threading.Lock()

    @property
    def url(self) -> str:
        """Return the endpoint to give to a client."""
        return f"http://127.0.0.1:{self.server_address[1]}"

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

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that were killed leave broken pipes."""


class _Handler(BaseHTTPRequestHandler):
    server: ChaosProxy
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.draw(self.command, self.path)
        if fault == "busy":
            self._answer(503, [], b"<Error><Code>SlowDown</Code><Message>reduce your rate</Message></Error>")
        elif fault == "error":
            self._answer(500, [], b"<Error><Code>InternalError</Code><Message>try again</Message></Error>")
        elif fault == "reset":
            # closed with zero seconds to linger, a connection is reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        else:
            status, headers, data = self._ask(body)
            if fault == "forget":
                self._answer(500, [], b"<Error><Code>InternalError</Code><Message>stored, and denied</Message></Error>")
                return
            if self.command == "PUT" and status == 200:
                self.server.count(self.path)
            self._answer(status, headers, data, len(data) // 2 if fault == "truncate" else len(data))

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on  # noqa: N815 - the names that http.server calls

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                # The body was read already; nobody is waiting to be told to send it.
                if name.lower() not in ("connection", "expect"):
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            data = answer.read()
            kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in ("connection", "transfer-encoding")]
        return answer.status, kept, data

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, num_sent: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:num_sent])
        self.close_connection = num_sent is not None and num_sent < len(data)

    def log_message(self, *args: object) -> None:
        """Say nothing: counts are looked at."""


@contextlib.contextmanager
def chaos_proxy(upstream_url: str, seed: int) -> Iterator[ChaosProxy]:
    """Serve until the block ends."""
    with ChaosProxy(upstream_url, seed) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
