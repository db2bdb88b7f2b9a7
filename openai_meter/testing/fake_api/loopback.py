"""A small HTTP server on 127.0.0.1 that answers with whatever one function returns."""

import contextlib
import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self, cast

KEPT_REQUESTS = 1000
"""The number of requests that `LoopbackServer.requests` keeps; older ones are dropped."""

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_CLOSE_PATIENCE_S = 1.0
_POLL_S = 0.01
_BODILESS = frozenset({204, 304})


class Hangup(Exception):  # noqa: N818 - it is an order to the server, not an error of it
    """Closes the connection: raised by the answer function, or by a body in the middle."""


class Request(NamedTuple):
    """One request as it arrived: header names are lower case, the body is complete and undecoded."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Returns the body parsed as JSON; raises ValueError when it is not JSON."""
        return json.loads(self.body)


class Answer(NamedTuple):
    """One answer: `bytes` go out with a length, an iterable goes out chunk by chunk, each flushed when it is made."""

    status: int = 200
    headers: Mapping[str, str] = _NO_HEADERS
    body: bytes | Iterable[bytes] = b""


class LoopbackServer:
    """Serves HTTP/1.1 with keep-alive on a free port of 127.0.0.1, one daemon thread per connection.

    `answer` is called in the connection's thread, so it must be safe to call from many threads. What it raises
    (other than `Hangup`) is answered with status 500 and kept in `faults`. The server works in the process that
    started it; in a forked child only `close()` does something, and it does not disturb the parent.
    """

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self._answer = answer
        self._requests: deque[Request] = deque(maxlen=KEPT_REQUESTS)
        self.faults: deque[Exception] = deque(maxlen=KEPT_REQUESTS)
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """The address without a trailing slash, such as `http://127.0.0.1:40123`; the port is taken at creation."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def requests(self) -> list[Request]:
        """A copy of the last `KEPT_REQUESTS` requests, oldest first."""
        return list(self._requests)

    def start(self) -> Self:
        """Begins to answer; a second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._server.serve_forever, args=(_POLL_S,), name="loopback-server", daemon=True
            )
            self._thread.start()
        return self

    def close(self) -> None:
        """Stops, closes the open connections and waits about a second at most for their threads; safe to repeat."""
        thread, self._thread = self._thread, None
        if os.getpid() != self._pid:  # the serving thread did not survive the fork: shutdown() would wait forever
            self._server.server_close()
            return
        if thread is not None:
            self._server.shutdown()
            thread.join()
        self._server.server_close()
        self._server.cut_connections()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _handle(self, request: Request) -> Answer:
        self._requests.append(request)
        try:
            return self._answer(request)
        except Hangup:
            raise
        except Exception as fault:
            self.faults.append(fault)
            body = json.dumps({"error": {"message": repr(fault), "type": "server_error", "param": None, "code": None}})
            return Answer(500, {"content-type": "application/json"}, body.encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # threads are joined in cut_connections, with a limit
    request_queue_size = 512
    allow_reuse_address = False

    def __init__(self, owner: LoopbackServer) -> None:
        self.owner = owner
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._closing = False
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer.server_bind: it looks the host name up, which can block on a machine without DNS.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open[request] = threading.current_thread()
            closing = self._closing
        try:
            if closing:
                self.shutdown_request(request)
            else:
                super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Writes nothing: a client that goes away is normal here, and faults of the answer are kept elsewhere."""

    def cut_connections(self) -> None:
        with self._lock:
            self._closing = True
            connections = dict(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _CLOSE_PATIENCE_S
        for thread in connections.values():
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Writes nothing: the requests are in `LoopbackServer.requests`."""

    def _serve(self) -> None:
        owner = cast("_Server", self.server).owner
        try:
            body = self._read_body()
        except ValueError:
            self._send(Answer(400, {"content-type": "text/plain"}, b"the request body is not framed correctly"))
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        headers = MappingProxyType({name.lower(): value for name, value in self.headers.items()})
        try:
            self._send(owner._handle(Request(self.command, path, query, headers, body)))  # noqa: SLF001 - one module
        except Hangup:
            self.close_connection = True
        except OSError:  # the client is gone, as it may
            self.close_connection = True
        except Exception as fault:
            owner.faults.append(fault)
            self.close_connection = True

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = _serve  # noqa: N815 - the base class looks them up

    def _read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", "0")))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers carry nothing that an answer could depend on
        return b"".join(parts)

    def _send(self, answer: Answer) -> None:
        body = answer.body
        head = [f"HTTP/1.1 {answer.status} {_reason(answer.status)}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        without_body = self.command == "HEAD" or answer.status in _BODILESS
        if isinstance(body, bytes):
            if answer.status not in _BODILESS:
                head.append(f"content-length: {len(body)}")
            # One write for head and body: two would be two packets, and the client would wake twice.
            self.wfile.write(_joined(head) + (b"" if without_body else body))
            return
        head.append("transfer-encoding: chunked")
        try:
            self.wfile.write(_joined(head))
            if not without_body:
                for piece in body:
                    if piece:  # an empty chunk would end the body
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()


def _joined(head: list[str]) -> bytes:
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
