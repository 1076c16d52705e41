"""A reverse proxy on loopback that spoils the first GETs of objects, then passes everything on.

Method, path and headers go through as they came, so signatures made for the proxy's own address hold.
"""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["truncate", "busy"]


class FaultProxy(ThreadingHTTPServer):
    """`faults_left` GETs to go; `num_faults` spoilt so far."""

    daemon_threads = True

    def __init__(self, upstream_url: str, fault: Fault, num_faults: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream_url).netloc
        self.fault = fault
        self.faults_left = num_faults
        self.num_faults = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            # A listing is a GET too, but has a query; faults are for objects.
            if method != "GET" or "?" in path or not self.faults_left:
                return None
            self.faults_left -= 1
            self.num_faults += 1
            return self.fault


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.take_fault(self.command, self.path)
        if fault == "busy":
            self._answer(503, [], b"<Error><Code>SlowDown</Code><Message>reduce your rate</Message></Error>")
            return
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
        self._answer(answer.status, kept, data, len(data) // 2 if fault == "truncate" else len(data))

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on  # noqa: N815 - the names that http.server calls

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
        """Say nothing: the tests look at counts."""


@contextmanager
def fault_proxy(upstream_url: str, fault: Fault, num_faults: int) -> Iterator[FaultProxy]:
    """Serve until the block ends."""
    with FaultProxy(upstream_url, fault, num_faults) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
