"""Where the proxy passes requests on to, and who takes the records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from openai_meter.core.version import install_command
from openai_meter.errors import ConfigurationError, MissingExtraError
from openai_meter.usage.providers import provider_of_host

if TYPE_CHECKING:
    from openai_meter.metering.meter import Meter
    from openai_meter.server.proxy.headers import Pairs
    from openai_meter.server.proxy.messages import Scope

__all__ = ["PREFIX", "UPSTREAM", "Upstream"]

UPSTREAM = "https://api.openai.com/v1"
"""Where requests go by default."""
PREFIX = "/v1"
"""The path that the proxy has in place of the path of the upstream URL."""
_CONNECT_TIMEOUT = 30.0
"""Seconds to connect to the API; all other limits of time are those of the client."""


class Upstream:
    """An API, the connections to it, and the meter that takes the records.

    Raises:
        ConfigurationError: the URL cannot be used.
        MissingExtraError: a package is not installed.
    """

    def __init__(self, meter: Meter, url: str = UPSTREAM) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError(f"upstream={url!r} is not the base URL of an API; pass one such as {UPSTREAM}")
        self.meter = meter
        self.url = url.rstrip("/")
        self.host = parts.hostname
        self.provider = provider_of_host(self.host)
        self.library = _http_library()
        self._transport: Any = None

    async def send(self, method: str, url: str, headers: Pairs, content: bytes | AsyncIterator[bytes]) -> Any:
        """Sends a request; returns the response, whose body has not been read.

        The transport is used without the client around it, which keeps cookies and follows redirects: both are the
        business of the program.
        """
        if self._transport is None:  # in the event loop that uses it
            self._transport = self._make_transport()
        timeout = {"connect": _CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}
        request = self.library.Request(method, url, headers=headers, content=content, extensions={"timeout": timeout})
        return await self._transport.handle_async_request(request)

    def _make_transport(self) -> Any:
        proxies = {} if proxy_bypass(self.host) else getproxies()
        limits = self.library.Limits(max_connections=None, max_keepalive_connections=100)
        proxy = proxies.get(urlsplit(self.url).scheme) or proxies.get("all")
        return self.library.AsyncHTTPTransport(limits=limits, proxy=proxy)

    async def close(self) -> None:
        """Closes the connections to the API."""
        if self._transport is not None:
            await self._transport.aclose()

    def url_of(self, scope: Scope) -> str | None:
        """The upstream URL of a request; ``None`` for a path that is not of the API."""
        path = scope.get("raw_path", b"").decode("latin-1").partition("?")[0] or scope["path"]
        if path != PREFIX and not path.startswith(f"{PREFIX}/"):
            return None
        query = scope["query_string"].decode("latin-1")
        return f"{self.url}{path.removeprefix(PREFIX)}{f'?{query}' if query else ''}"


def _http_library() -> Any:
    """httpx2; where it is not installed, httpx, which older SDKs bring. Both have the names that are used here."""
    for name in ("httpx2", "httpx"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise MissingExtraError(f"the proxy needs httpx2; install it with: {install_command('proxy')}")
