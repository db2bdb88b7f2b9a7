"""The table of what is patched, library by library.

To watch another library, add rows and a module with its wrappers. To watch HTTP libraries by themselves for another
package, add the package to :data:`TRIGGERS`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from openai_meter.core.patching import Wrapper

__all__ = ["METHODS", "TRIGGERS", "Method"]


class Method(NamedTuple):
    """A method that is wrapped."""

    module: str
    """Where its class is defined."""
    owner: str
    name: str
    wrappers: str
    """The module of its wrapper, in this folder. It is imported when the library is there."""
    wrapper: str
    by_itself: bool = True
    """Whether it is watched without ``http=True`` too, where one of :data:`TRIGGERS` is loaded."""

    def load_wrapper(self) -> Wrapper:
        """The wrapper."""
        found: Wrapper = getattr(import_module(f"{__package__}.{self.wrappers}"), self.wrapper)
        return found


METHODS: tuple[Method, ...] = (
    Method("httpx", "Client", "send", "httpx", "sync_send"),
    Method("httpx", "AsyncClient", "send", "httpx", "async_send"),
    Method("httpx2", "Client", "send", "httpx", "sync_send"),
    Method("httpx2", "AsyncClient", "send", "httpx", "async_send"),
    Method("aiohttp.client", "ClientSession", "_request", "aiohttp", "session_request"),
    Method("requests.sessions", "Session", "send", "requests", "session_send"),
    Method("urllib3.connectionpool", "HTTPConnectionPool", "urlopen", "urllib3", "urlopen"),
    Method("http.client", "HTTPConnection", "request", "http_client", "request", by_itself=False),
    Method("http.client", "HTTPConnection", "getresponse", "http_client", "getresponse", by_itself=False),
    Method("dspy._vendor.lm15.transports._sync", "StdlibTransport", "stream", "lm15", "sync_stream"),
    Method("dspy._vendor.lm15.transports._async", "StdlibAsyncTransport", "_do_stream", "lm15", "async_stream"),
    Method("lm15.transports._sync", "StdlibTransport", "stream", "lm15", "sync_stream"),
    Method("lm15.transports._async", "StdlibAsyncTransport", "_do_stream", "lm15", "async_stream"),
)

TRIGGERS = ("litellm", "dspy", "lm15", "azure.ai.inference")
"""Packages that reach the API without the openai package."""
