"""Runs the proxy on uvicorn in a background thread."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from openai_meter.core.version import install_command
from openai_meter.errors import ConfigurationError, MissingExtraError
from openai_meter.server.proxy.app import Proxy
from openai_meter.server.proxy.upstream import PREFIX, UPSTREAM
from openai_meter.server.security import is_loopback
from openai_meter.server.serve import Server, bind

if TYPE_CHECKING:
    from openai_meter.metering.meter import Meter

__all__ = ["PORT", "ProxyServer", "start"]

PORT = 8099
_GRACE = 3
"""Seconds that open requests have to end when the proxy stops."""
_MIN_TOKEN = 8


class ProxyServer(Server):
    """A running proxy. As a context manager it stops at the end of the block."""

    @property
    def base_url(self) -> str:
        """What clients take as the base URL of OpenAI (``OPENAI_BASE_URL``)."""
        return f"{self.url}{PREFIX}"


def start(
    meter: Meter, host: str = "127.0.0.1", port: int = PORT, *, upstream: str = UPSTREAM, token: str | None = None
) -> ProxyServer:
    """Starts the proxy in a background thread, and returns when it answers.

    Args:
        meter: takes the records.
        host: the address to listen on. An address that other machines can reach needs a token.
        port: the port; 0 takes any free port.
        upstream: the base URL of the API.
        token: what requests must have in ``x-openai-meter-token``.

    Raises:
        ConfigurationError: a setting is not valid, the port is taken, or a token is needed and missing.
        MissingExtraError: a package is not installed.
    """
    if find_spec("uvicorn") is None:
        raise MissingExtraError(f"the proxy needs uvicorn; install it with: {install_command('proxy')}")
    if token is not None and (len(token) < _MIN_TOKEN or not token.isascii() or not token.isprintable()):
        raise ConfigurationError(f"the token of the proxy has to have {_MIN_TOKEN} printable ASCII characters or more")
    if token is None and not is_loopback(host):
        raise ConfigurationError(
            f"host={host!r} can be reached from other machines, which could use the proxy: set a token (--token, or "
            "OPENAI_METER_TOKEN), or use 127.0.0.1"
        )
    proxy = Proxy(meter, upstream, token)
    import uvicorn  # noqa: PLC0415 - slow to import

    listening = bind(host, port)
    sockets = "websockets-sansio" if find_spec("websockets") is not None else "none"
    config = uvicorn.Config(
        proxy, loop="asyncio", ws=sockets, ws_max_size=2**31 - 1, ws_ping_interval=None, lifespan="on", log_config=None,
        access_log=False, server_header=False, date_header=False, proxy_headers=False, log_level="critical",
        timeout_graceful_shutdown=_GRACE, h11_max_incomplete_event_size=1024 * 1024,
    )  # fmt: skip
    return ProxyServer(uvicorn.Server(config), listening, host, lambda: None)
