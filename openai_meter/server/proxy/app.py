"""The ASGI application of the proxy: who may send requests, and what becomes of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_meter.metering.attribution import tag
from openai_meter.server.proxy.exchange import Exchange
from openai_meter.server.proxy.headers import RequestHeaders, read_headers
from openai_meter.server.proxy.messages import Client, Receive, Scope, Send, error_answer
from openai_meter.server.proxy.sockets import relay
from openai_meter.server.proxy.upstream import PREFIX, UPSTREAM, Upstream

if TYPE_CHECKING:
    from openai_meter.metering.meter import Meter

__all__ = ["Proxy"]


class Proxy:
    """Passes requests on to an API, unchanged, and meters them. An ASGI application.

    Keys pass through; nothing of a request or an answer is stored but what every record has.

    Args:
        meter: takes the records.
        upstream: the base URL of the API.
        token: what requests must have in ``x-openai-meter-token``; ``None``: no token.

    Raises:
        ConfigurationError: the URL cannot be used.
        MissingExtraError: a package is not installed.
    """

    def __init__(self, meter: Meter, upstream: str = UPSTREAM, token: str | None = None) -> None:
        self.upstream = Upstream(meter, upstream)
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request or connection."""
        client = Client(receive, send)
        if scope["type"] == "lifespan":
            await self._lifespan(client)
            return
        headers = read_headers(scope["headers"])
        with tag(**headers.attribution):
            await (self._http if scope["type"] == "http" else self._websocket)(scope, headers, client)

    def _may_pass(self, headers: RequestHeaders) -> bool:
        return self._token is None or headers.has_token(self._token)

    async def _http(self, scope: Scope, headers: RequestHeaders, client: Client) -> None:
        url = self.upstream.url_of(scope)
        if not self._may_pass(headers):
            message = "set the header x-openai-meter-token to the token of the proxy"
            await error_answer(client.send, 401, message, "proxy_token")
        elif url is None:
            await error_answer(client.send, 404, f"the proxy serves paths below {PREFIX}", "proxy_path")
        else:
            await Exchange(self.upstream, scope["method"], url, headers.forwarded, client).run()

    async def _websocket(self, scope: Scope, headers: RequestHeaders, client: Client) -> None:
        url = self.upstream.url_of(scope)
        await client.receive()  # websocket.connect
        if url is None or not self._may_pass(headers):
            await client.send({"type": "websocket.close", "code": 1008})
            return
        await relay(self.upstream, f"ws{url.removeprefix('http')}", scope, headers.forwarded, client)

    async def _lifespan(self, client: Client) -> None:
        await client.receive()
        await client.send({"type": "lifespan.startup.complete"})
        await client.receive()
        await self.upstream.close()
        await client.send({"type": "lifespan.shutdown.complete"})
