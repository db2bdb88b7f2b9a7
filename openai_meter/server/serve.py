"""Runs the application on uvicorn in a background thread."""

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
from openai_meter.core.version import install_command
from openai_meter.errors import ConfigurationError, MissingExtraError
from openai_meter.server.app import create_app
from openai_meter.server.security import TOKEN, checked_token, is_loopback

if TYPE_CHECKING:
    import uvicorn

    from openai_meter.alerts import Threshold
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter

__all__ = ["PORT", "Server", "bind", "start"]

PORT = 3000
_START_TIMEOUT = 10.0
"""Seconds in which the server has to start."""


def start(
    meter: Meter | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    *,
    ledger: Ledger | str | None = None,
    token: str | None = None,
    allowed_hosts: Iterable[str] | None = None,
    limits: Iterable[Threshold | str] = (),
    max_age: float = 1.0,
) -> Server:
    """Starts the API and the dashboard in a background thread, and returns when they answer. Ends with the process.

    Args:
        meter: as for :func:`create_app`.
        host: the address to listen on. An address that other machines can reach needs a token.
        port: the port; 0 takes any free port.
        ledger: as for :func:`create_app`.
        token: as for :func:`create_app`.
        allowed_hosts: as for :func:`create_app`.
        limits: as for :func:`create_app`.
        max_age: as for :func:`create_app`.

    Raises:
        ConfigurationError: a setting is not valid, the port is taken, or a token is needed and missing.
        MissingExtraError: a package is not installed.
    """
    if find_spec("uvicorn") is None:
        raise MissingExtraError(f"the server needs uvicorn; install it with: {install_command('server')}")
    if not isinstance(host, str) or not host:
        raise ConfigurationError(
            f"host={host!r} is not an address; use 127.0.0.1, or 0.0.0.0 for all addresses of this machine"
        )
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
        raise ConfigurationError(f"port={port!r} is not a port; use a number from 0 to 65535")
    if not is_loopback(host) and checked_token(token) is None:
        raise ConfigurationError(
            f"host={host!r} can be reached from other machines, which could read the figures without a token: "
            f"set a token ({TOKEN}, or --token), or use 127.0.0.1"
        )
    app = create_app(meter, ledger, token, allowed_hosts, limits=limits, max_age=max_age)
    import uvicorn  # noqa: PLC0415 - slow to import

    from openai_meter.server import connections  # noqa: PLC0415 - needs uvicorn

    bounds = connections.LIMITS
    listening = bind(host, port)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bounds.send_buffer)  # accepted sockets inherit it
    config = uvicorn.Config(
        app, loop="asyncio", http=connections.limited_protocol(bounds), ws="none", lifespan="on", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=3,
        limit_concurrency=2 * bounds.connections,
    )  # fmt: skip
    return Server(uvicorn.Server(config), listening, host, app.state.event_streams.close)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigurationError: the port is taken, or the address is not one of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(f"port {port} of {host} is taken; use another, or 0 for any free port") from None
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    # asyncio sets this only on sockets made with IPPROTO_TCP. Without it, an answer in two parts takes 40 ms more.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class Server:
    """The running API and dashboard; made by :func:`start`. As a context manager it stops at the end of the block.

    Thread-safe. A forked child has no server: it closes its copy of the listening socket.
    """

    def __init__(self, server: uvicorn.Server, listening: socket.socket, host: str, close: Callable[[], None]) -> None:
        self._server = server
        self._listening = listening
        self._close = close
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{listening.getsockname()[1]}"
        """The address of the server, without a slash at the end. The dashboard is at ``/dashboard`` below it."""
        self._thread = threading.Thread(target=server.run, args=([listening],), name="openai_meter server", daemon=True)
        _running.add(self)
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT
        while not server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        if not server.started:
            self.stop()
            raise ConfigurationError(
                f"the server did not start within {_START_TIMEOUT:g} seconds; the logger uvicorn.error has the reason"
            )

    @property
    def running(self) -> bool:
        """Whether the server still runs."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Waits until the server has stopped."""
        self._thread.join()

    def stop(self, timeout: float = 5.0) -> None:
        """Stops the server: closes the port, ends the event streams, and waits for open requests.

        Harmless if the server has stopped already.

        Args:
            timeout: seconds to wait for open requests.
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

    def close_in_child(self) -> None:
        """Closes the listening socket in a forked child; otherwise the port stays taken as long as the child lives."""
        self._listening.close()


_running: weakref.WeakSet[Server] = weakref.WeakSet()


def _close_in_child(_: object) -> None:
    for server in list(_running):
        server.close_in_child()


fork_safety.on_fork("server", after_in_child=_close_in_child)
