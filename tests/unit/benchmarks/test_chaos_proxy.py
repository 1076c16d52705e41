"""Promises of the proxy that spoils requests: what it lets through is whole, and each fault is what it says."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from chaos_proxy import FAULTS, ChaosProxy, Fault, chaos_proxy

BODY = b"0123456789" * 10


class Store(BaseHTTPRequestHandler):
    """Answers every GET with BODY and remembers what was put."""

    put: list[bytes]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_PUT(self) -> None:
        self.put.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def spoilt(monkeypatch: pytest.MonkeyPatch, fault: Fault | None) -> Iterator[tuple[ChaosProxy, list[bytes]]]:
    Store.put = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        with chaos_proxy(f"http://127.0.0.1:{upstream.server_address[1]}", seed=0) as proxy:
            monkeypatch.setattr(proxy, "draw", lambda method, path: fault)
            yield proxy, Store.put
        upstream.shutdown()


def ask(proxy: ChaosProxy, method: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.server_address[1], timeout=30)
    connection.request(method, "/bucket/a%20b", body)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def test_without_a_fault_everything_passes_and_what_is_stored_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with spoilt(monkeypatch, None) as (proxy, put):
        assert ask(proxy, "GET") == (200, BODY)
        assert ask(proxy, "PUT", b"x")[0] == 200
        assert put == [b"x"]
        assert proxy.stored == {"/bucket/a b": 1}


@pytest.mark.parametrize(("fault", "status"), [("busy", 503), ("error", 500)])
def test_a_refusal_stores_nothing(monkeypatch: pytest.MonkeyPatch, fault: Fault, status: int) -> None:
    with spoilt(monkeypatch, fault) as (proxy, put):
        assert ask(proxy, "PUT", b"x")[0] == status
        assert not put


def test_what_is_denied_was_stored_and_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with spoilt(monkeypatch, "forget") as (proxy, put):
        assert ask(proxy, "PUT", b"x")[0] == 500
        assert put == [b"x"]
        assert not proxy.stored


def test_half_a_body_and_a_reset_are_seen_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    with spoilt(monkeypatch, "truncate") as (proxy, _), pytest.raises(http.client.IncompleteRead):
        ask(proxy, "GET")
    with spoilt(monkeypatch, "reset") as (proxy, _), pytest.raises(ConnectionResetError):
        ask(proxy, "GET")


def test_each_kind_gets_its_share_where_it_can() -> None:
    with ChaosProxy("http://127.0.0.1:1", seed=0) as proxy:
        proxy.share = 0.05
        for _ in range(2000):
            proxy.draw("GET", "/bucket/a")
            proxy.draw("PUT", "/bucket/a")
        drawn = dict(proxy.num_faults)
        assert drawn.keys() == set(FAULTS)
        for fault in ("busy", "error", "reset"):
            assert 0.035 < drawn[fault] / 4000 < 0.065
        assert proxy.draw("GET", "/bucket?list-type=2") != "truncate"
