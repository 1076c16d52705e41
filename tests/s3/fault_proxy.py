"""A reverse proxy on loopback that spoils the first requests for objects, then passes everything on.

Method, path and headers go through as they came, so signatures made for the proxy's own address hold.
"""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

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


class FaultProxy(ThreadingHTTPServer):
    """`faults_left` requests to go; `num_faults` spoilt so far, of `num_requests`."""

    daemon_threads = True

    def __init__(self, upstream_url: str, fault: Fault, num_faults: int, method: str, only: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream_url).netloc
        self.fault = fault
        self.faults_left = num_faults
        self.num_faults = self.num_requests = 0
        self._method, self._only = method, only
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

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

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that gave up is what some faults are for."""


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        conditional = any(name in self.headers for name in _CONDITIONS)
        fault = self.server.take_fault(self.command, self.path, conditional)
        if fault == "stall":
            threading.Event().wait(_STALL_S)
        if fault in ("stall", "reset"):
            self.close_connection = True
            return
        if fault not in _ANSWERS or fault == "drop_answer":
            status, kept, data = self._ask_upstream(body)
        if fault in _ANSWERS:
            status, code = _ANSWERS[fault]
            kept, data = [], f"<Error><Code>{code}</Code><Message>as asked for</Message></Error>".encode()
        if fault == "etag":
            kept = [(name, f'"{"0" * 32}"' if name.lower() == "etag" else value) for name, value in kept]
        if fault == "flip":
            at = len(data) // 2 + self.server.num_faults  # another one every time, as noise on a line is
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        self._answer(status, kept, data, len(data) // 2 if fault == "truncate" else len(data))

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on  # noqa: N815 - the names that http.server calls

    def _ask_upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                # The body was read already; nobody is waiting to be told to send it.
                if name.lower() not in ("connection", "expect"):
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            data = answer.read()
            kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in ("connection", "transfer-encoding")]
        finally:
            upstream.close()
        return answer.status, kept, data

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, num_sent: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:num_sent])
        self.close_connection = num_sent < len(data)

    def log_message(self, *args: object) -> None:
        """Say nothing: the tests look at counts."""


@contextmanager
def fault_proxy(
    upstream_url: str, fault: Fault, num_faults: int, method: str = "GET", only: str = ""
) -> Iterator[FaultProxy]:
    """Serve until the block ends; only requests of this method, whose path holds `only`, are spoilt."""
    with FaultProxy(upstream_url, fault, num_faults, method, only) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
