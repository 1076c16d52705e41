"""A reverse proxy on loopback that passes everything on; what it spoils on the way, its children decide.

Method, path and headers go through as they came, so signatures made for the proxy's own address hold.
"""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import urlsplit

Answer = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers, body."""


class LoopbackProxy(ThreadingHTTPServer):
    """Listens on a free port."""

    daemon_threads = True

    def __init__(self, upstream_url: str, handler: type["PassingHandler"]) -> None:
        """Bind; `serving` runs it."""
        super().__init__(("127.0.0.1", 0), handler)
        self.upstream = urlsplit(upstream_url).netloc

    @property
    def url(self) -> str:
        """Return the endpoint to give to a client."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that gave up or were killed leave broken pipes."""


class PassingHandler(BaseHTTPRequestHandler):
    """One connection."""

    server: Any
    protocol_version = "HTTP/1.1"

    def spoil(self, body: bytes) -> None:
        """Answer a request whose body was read."""
        raise NotImplementedError

    def _pass_on(self) -> None:
        self.spoil(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on  # noqa: N815 - the names that http.server calls

    def ask(self, body: bytes) -> Answer:
        """Return what the server behind answers."""
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

    def answer(self, status: int, headers: list[tuple[str, str]], data: bytes, num_sent: int | None = None) -> None:
        """Send an answer; with fewer bytes than it announces the connection ends there."""
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:num_sent])
        self.close_connection = num_sent is not None and num_sent < len(data)

    def refuse(self, status: int, code: str) -> None:
        """Send an S3 error."""
        self.answer(status, [], f"<Error><Code>{code}</Code><Message>as asked for</Message></Error>".encode())

    def log_message(self, *_: object) -> None:
        """Say nothing: counts are looked at."""


P = TypeVar("P", bound=LoopbackProxy)


@contextlib.contextmanager
def serving(proxy: P) -> Iterator[P]:
    """Serve until the block ends."""
    with proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
