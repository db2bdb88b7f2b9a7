"""Silent and slow clients are closed, and other clients are answered meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
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
    """A connection on which nothing comes is closed when the limit has passed, and not before."""
    place = limited(idle=0.5)
    with connected(place) as sock:
        began = time.monotonic()
        assert received(sock) == b""
        assert 0.4 < time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(
    ("limit", "sent", "dripping"),
    [("head", b"G", b"ET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5_000), ("body", RESET, b"x" * 5_000)],
)
def test_slow_request_is_closed_while_bytes_come(limited, limit: str, sent: bytes, dripping: bytes) -> None:
    """A head or a body that comes byte by byte has one limit for the whole: each byte does not start it anew."""
    place = limited(**{limit: 0.5})
    with connected(place) as sock:
        sock.sendall(sent)
        thread = threading.Thread(target=dripped, args=(sock, dripping, 0.02))
        began = time.monotonic()
        thread.start()
        received(sock)
        took = time.monotonic() - began
        thread.join(PATIENCE)
        assert 0.4 < took < PATIENCE
        assert not thread.is_alive()


def test_slow_second_request_of_a_connection_is_closed(limited) -> None:
    """The limits hold for every request of a connection that is kept open, not only for the first."""
    place = limited(head=0.5)
    with connected(place) as sock:
        sock.sendall(REQUEST + b"\r\n")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200")
        thread = threading.Thread(target=dripped, args=(sock, REQUEST + b"X: " + b"x" * 5_000, 0.02))
        thread.start()
        received(sock)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_client_that_reads_nothing_is_closed(limited) -> None:
    """A client that asks for a large file and does not read it loses its connection."""
    place = limited(write=0.5, send_buffer=65_536)
    whole = large_file(place)
    with connected(place, SO_RCVBUF=4_096) as sock:
        sock.sendall(f"GET {FILE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(2.5)
        assert len(received(sock)) < len(whole)


def test_client_that_reads_slowly_gets_everything(limited) -> None:
    """A client that goes on reading has no limit for the whole response."""
    place = limited(write=2.0, send_buffer=65_536)
    whole = large_file(place)
    with connected(place, SO_RCVBUF=65_536) as sock:
        sock.sendall(f"GET {FILE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        parts, began = [], time.monotonic()
        while part := sock.recv(65_536):
            parts.append(part)
            if time.monotonic() - began < 3:
                time.sleep(0.1)
        assert b"".join(parts).endswith(whole)


FILE = "/static/x/plotly.min.js"


def large_file(place: str) -> bytes:
    connection = HTTPConnection(place, timeout=PATIENCE)
    try:
        connection.request("GET", FILE)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_honest_clients_are_answered_beside_many_silent_ones(limited) -> None:
    """However many connections stand open and silent, a new client is answered at once."""
    place = limited(connections=20)
    with ExitStack() as silent:
        for number in range(120):
            sock = silent.enter_context(connected(place))
            sock.sendall((b"", b"G", RESET)[number % 3])
            if number % 10 == 9:
                assert status(place) == 200
        assert status(place) == 200


def test_honest_client_keeps_its_connection(limited) -> None:
    """Requests on one connection, with pauses and with a body in two parts, are all answered."""
    place = limited(idle=4.0, head=1.0, body=1.0)
    with connected(place) as sock:
        for _ in range(3):
            sock.sendall(REQUEST)
            time.sleep(0.2)
            sock.sendall(b"\r\n")
            answer = b""
            while not answer.endswith(b"}"):  # the head and the body may come apart
                piece = sock.recv(65_536)
                assert piece, answer
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(1.3)
        sock.sendall(RESET.replace(b"9000", b"4") + b"{")
        time.sleep(0.2)
        sock.sendall(b"  }")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200")
        time.sleep(1.3)
        sock.sendall(REQUEST + b"\r\n" + REQUEST + b"\r\n")
        time.sleep(0.5)
        assert sock.recv(65_536).count(b"HTTP/1.1 200") == 2
