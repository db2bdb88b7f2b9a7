"""Silent and slow clients are closed, and other clients are answered meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from itertools import groupby
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from server_client import call, filled

from openai_meter.server import connections, start

PATIENCE = 120.0
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
RESET = b"POST /api/stats/reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n"
NEVER = 600.0


@pytest.fixture
def limited(monkeypatch):
    """Starts a server with other limits; what is not given does not limit."""
    with ExitStack() as running:

        def begin(**limits: float) -> str:
            usual = {"idle": NEVER, "head": NEVER, "body": NEVER, "write": NEVER, "connections": 1_000}
            monkeypatch.setattr(connections, "LIMITS", connections.Limits(**usual | limits))
            server = running.enter_context(start(filled(call()), port=0))
            return urlsplit(server.url).netloc

        yield begin


@contextmanager
def connected(place: str, **options: int) -> Iterator[socket.socket]:
    host, _, port = place.partition(":")
    made = socket.socket()
    with made:
        for name, value in options.items():
            made.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        made.settimeout(PATIENCE)
        made.connect((host, int(port)))
        yield made


def received(sock: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    parts = []
    try:
        while part := sock.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def dripped(sock: socket.socket, data: bytes, pause: float) -> None:
    """Sends byte by byte until the server closes the connection."""
    try:
        for place in range(len(data)):
            sock.sendall(data[place : place + 1])
            time.sleep(pause)
    except OSError:
        pass


def status(place: str) -> int:
    connection = HTTPConnection(place, timeout=PATIENCE)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


def test_silent_connection_is_closed(limited) -> None:
    """A connection without input is closed when the limit has passed, and not before."""
    place = limited(idle=0.5)
    began = time.monotonic()
    with connected(place) as sock:
        assert received(sock) == b""
        assert 0.4 < time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(
    ("limit", "sent", "dripping"),
    [("head", b"G", b"ET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5_000), ("body", RESET, b"x" * 5_000)],
)
def test_slow_request_is_closed_while_bytes_come(limited, limit: str, sent: bytes, dripping: bytes) -> None:
    """A head or a body that comes byte by byte has one limit for the whole: a byte does not restart it."""
    place = limited(**{limit: 0.5})
    began = time.monotonic()
    with connected(place) as sock:
        sock.sendall(sent)
        thread = threading.Thread(target=dripped, args=(sock, dripping, 0.02))
        thread.start()
        received(sock)
        took = time.monotonic() - began
        thread.join(PATIENCE)
        assert 0.4 < took < PATIENCE
        assert not thread.is_alive()


def test_slow_second_request_of_a_connection_is_closed(limited) -> None:
    """The limits apply to every request of a connection that is kept open, not only to the first."""
    place = limited(head=0.5)
    with connected(place) as sock:
        sock.sendall(REQUEST + b"\r\n")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200")
        thread = threading.Thread(target=dripped, args=(sock, REQUEST + b"X: " + b"x" * 5_000, 0.02))
        thread.start()
        received(sock)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_client_that_reads_nothing_is_closed(limited, monkeypatch) -> None:
    """A client that asks for a large file and does not read it loses its connection."""
    lost = threading.Semaphore(0)
    connection_lost = connections.LimitedProtocol.connection_lost

    def noted(protocol, exc) -> None:
        connection_lost(protocol, exc)
        lost.release()

    monkeypatch.setattr(connections.LimitedProtocol, "connection_lost", noted)
    place = limited(write=0.5, send_buffer=65_536)
    whole = large_file(place)
    assert lost.acquire(timeout=PATIENCE)
    with connected(place, SO_RCVBUF=4_096) as sock:
        sock.sendall(f"GET {FILE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert lost.acquire(timeout=PATIENCE)
        assert len(received(sock)) < len(whole)


class Loop:
    """An event loop in which a timer runs when the test says so."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, partial[None]]] = []

    def call_later(self, delay: float, callback, *args: int):
        self.timers.append((delay, partial(callback, *args)))
        return SimpleNamespace(cancel=lambda: None)


def test_client_that_reads_slowly_is_not_closed() -> None:
    """A client that has read a part of a response since the last check stays connected."""
    unread, closed = [90, 60, 30, 30], []
    protocol = connections.LimitedProtocol.__new__(connections.LimitedProtocol)
    protocol._write_timer, protocol.limits, protocol.loop = None, connections.Limits(write=7.0), Loop()
    protocol.transport = SimpleNamespace(
        get_write_buffer_size=lambda: unread.pop(0), abort=lambda: closed.append(len(protocol.loop.timers))
    )
    protocol._watch_writing(100)
    for place in range(4):
        delay, look = protocol.loop.timers[place]
        assert (delay, closed) == (7.0, [])
        look()
    assert closed == [4]


FILE = "/static/x/plotly.min.js"


def large_file(place: str) -> bytes:
    connection = HTTPConnection(place, timeout=PATIENCE)
    try:
        connection.request("GET", FILE)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_client_is_answered_while_many_connections_are_silent(limited) -> None:
    """However many connections are open and silent, a new client is answered at once."""
    place = limited(connections=20)
    with ExitStack() as silent:
        for number in range(120):
            sock = silent.enter_context(connected(place))
            sock.sendall((b"", b"G", RESET)[number % 3])
            if number % 10 == 9:
                assert status(place) == 200
        assert status(place) == 200


def test_limit_of_a_phase_ends_with_it(limited, monkeypatch) -> None:
    """Each part of a request has its own limit, and none is active once the request is complete."""
    phases = []
    enter = connections.LimitedProtocol._enter

    def noted(protocol, phase, *, again=False) -> None:
        enter(protocol, phase, again=again)
        assert (protocol._phase_timer is None) is (phase is None)
        phases.append(phase)

    def until(*wanted: str | None) -> None:
        end = time.monotonic() + PATIENCE
        while [phase for phase, _ in groupby(phases)] != [*wanted]:
            assert time.monotonic() < end, phases
            time.sleep(0.005)

    monkeypatch.setattr(connections.LimitedProtocol, "_enter", noted)
    place = limited()
    with connected(place) as sock:
        for number in range(3):
            earlier = ["idle", *["head", None] * number]
            sock.sendall(REQUEST)
            until(*earlier, "head")
            sock.sendall(b"\r\n")
            answer = b""
            while not answer.endswith(b"}"):  # the head and the body may come apart
                piece = sock.recv(65_536)
                assert piece, answer
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200")
            until(*earlier, "head", None)
        sock.sendall(RESET.replace(b"9000", b"4") + b"{")
        until("idle", *["head", None] * 3, "body")
        end = time.monotonic() + PATIENCE
        sock.sendall(b"  }")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200")
        # This route answers without reading the body, so the end of the body may come before its answer or after it.
        while phases[-1] == "body":
            assert time.monotonic() < end
            time.sleep(0.005)
        sock.sendall(REQUEST + b"\r\n" + REQUEST + b"Connection: close\r\n\r\n")
        assert received(sock).count(b"HTTP/1.1 200") == 2
