"""Runs the application on uvicorn, in a thread beside whatever the process does."""

from __future__ import annotations

import errno
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Self

from openai_meter.core import fork_safety
from openai_meter.errors import ConfigurationError, MissingExtraError
from openai_meter.server.app import create_app
from openai_meter.server.security import TOKEN, checked_token, is_loopback

if TYPE_CHECKING:
    import uvicorn

    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter

__all__ = ["PORT", "Server", "start"]

PORT = 3000
_START = 10.0
"""Seconds in which it has to come up."""


def start(
    meter: Meter | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    *,
    ledger: Ledger | str | None = None,
    token: str | None = None,
    allowed_hosts: Iterable[str] | None = None,
    max_age: float = 1.0,
) -> Server:
    """Starts the API and the dashboard in a thread, and returns when they can be reached. It ends with the process.

    Args:
        meter: as for :func:`create_app`.
        host: the address to listen on. Others than those of this machine alone need a token.
        port: the port; 0 is any that is free.
        ledger: as for :func:`create_app`.
        token: as for :func:`create_app`.
        allowed_hosts: as for :func:`create_app`.
        max_age: as for :func:`create_app`.

    Raises:
        ConfigurationError: a setting cannot be used, the port is taken, or there is no token where it is needed.
        MissingExtraError: a package is missing.
    """
    if find_spec("uvicorn") is None:
        raise MissingExtraError('the server needs uvicorn; install it with: pip install "openai-meter[server]"')
    if not isinstance(host, str) or not host:
        raise ConfigurationError(f"host={host!r} is no address; use 127.0.0.1, or 0.0.0.0 for all")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
        raise ConfigurationError(f"port={port!r} is no port; use a number from 0 to 65535")
    if not is_loopback(host) and checked_token(token) is None:
        raise ConfigurationError(
            f"host={host!r} can be reached from other machines, and anybody could read what this program spends: "
            f"set a token ({TOKEN}, or --token), or use 127.0.0.1"
        )
    app = create_app(meter, ledger, token, allowed_hosts, max_age=max_age)
    import uvicorn  # noqa: PLC0415 - takes time to load

    listening = _bind(host, port)
    config = uvicorn.Config(
        app, loop="asyncio", ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=3, limit_concurrency=200,
    )  # fmt: skip
    return Server(uvicorn.Server(config), listening, host, app.state.hub.close)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} of {host} is taken; use another, or 0 for any that is free"
            ) from None
        raise ConfigurationError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None
    # asyncio does it only for sockets that name their protocol. Without it, an answer in two parts takes 40 ms more.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class Server:
    """The API and the dashboard at work; made by :func:`start`. A context manager that stops it at its end.

    Safe to use from any thread. A forked child has no server; it lets go of the port.
    """

    def __init__(self, server: uvicorn.Server, listening: socket.socket, host: str, close: Callable[[], None]) -> None:
        self._server = server
        self._listening = listening
        self._close = close
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{listening.getsockname()[1]}"
        """Where it is, without a slash at the end; the dashboard is below it at ``/dashboard``."""
        self._thread = threading.Thread(target=server.run, args=([listening],), name="openai_meter server", daemon=True)
        _running.add(self)
        self._thread.start()
        deadline = time.monotonic() + _START
        while not server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        if not server.started:
            self.stop()
            raise ConfigurationError("the server did not start; the log (uvicorn.error) says why")

    @property
    def running(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Waits until it has stopped."""
        self._thread.join()

    def stop(self, timeout: float = 5.0) -> None:
        """Stops it: lets go of the port, ends the streams of events, and lets requests end that have begun.

        Args:
            timeout: seconds after which what has not ended is left to itself. Harmless if it has stopped already.
        """
        self._close()
        self._server.should_exit = True
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._server.force_exit = True
        self._listening.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Server {self.url}{'' if self.running else ', stopped'}>"

    def leave_to_parent(self) -> None:
        """Lets go of the port in a forked child, or it would stay taken for as long as the child lives."""
        self._listening.close()


_running: weakref.WeakSet[Server] = weakref.WeakSet()


def _in_child(_: object) -> None:
    for server in list(_running):
        server.leave_to_parent()


fork_safety.on_fork("server", after_in_child=_in_child)
