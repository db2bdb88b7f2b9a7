"""One WebSocket on its way through the proxy: every message as it comes, in both directions."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from openai_meter.budgets.state import Budgeting
from openai_meter.core.version import install_command
from openai_meter.instrumentation.websockets.connection import ConnectionWatcher
from openai_meter.pricing.loading import prepare
from openai_meter.server.proxy.headers import Pairs
from openai_meter.server.proxy.messages import Client, Receive, Scope, Send
from openai_meter.server.proxy.upstream import Upstream
from openai_meter.usage.response_headers import ResponseHeaders, read_pairs

if TYPE_CHECKING:
    from openai_meter.instrumentation.websockets.turn import Turn

__all__ = ["relay"]

_KINDS = ("translations", "live", "responses")
"""Parts of a path that name the kind of a session; any other is a realtime session."""
_NORMAL, _BROKEN = 1000, 1011


async def relay(upstream: Upstream, url: str, scope: Scope, headers: Pairs, client: Client) -> None:
    """Connects to the API, and passes messages on until either side closes."""
    receive, send = client
    try:
        from websockets.asyncio.client import connect  # noqa: PLC0415 - an extra
        from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException  # noqa: PLC0415
    except ImportError:
        reason = f"the proxy needs websockets: {install_command('proxy')}"
        await send({"type": "websocket.close", "code": _BROKEN, "reason": reason})
        return
    more: dict[str, Any] = {"subprotocols": scope["subprotocols"]} if scope.get("subprotocols") else {}
    try:
        connection = await connect(
            url, additional_headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers],
            user_agent_header=None, max_size=None, compression=None, ping_interval=None, **more,
        )  # fmt: skip
    except InvalidStatus as error:
        await _deny(scope, send, error.response)
        return
    except (OSError, WebSocketException):
        await send({"type": "websocket.close", "code": _BROKEN})
        return
    async with connection:
        await send({"type": "websocket.accept", "subprotocol": connection.subprotocol, "headers": []})
        session = _Session(upstream, url, connection, send)
        tasks = [asyncio.create_task(session.from_client(receive)), asyncio.create_task(session.from_api())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (raised := task.exception()) is not None and not isinstance(raised, ConnectionClosed | OSError):
                    raise raised
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            session.watcher.on_close()


async def _deny(scope: Scope, send: Send, response: Any) -> None:
    """Refuses the connection as the API has refused it, where the server can do so."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    body = response.body or b""
    headers = [(b"content-type", response.headers.get("content-type", "application/json").encode("latin-1"))]
    await send({"type": "websocket.http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": bytes(body)})


class _Session:
    """Two connections that belong together."""

    def __init__(self, upstream: Upstream, url: str, connection: Any, send: Send) -> None:
        prepare()
        self._connection = connection
        self._send = send
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        model = next(iter(query.get("model", ()) or query.get("deployment", ())), None)
        kind = next((name for name in _KINDS if name in parts.path.split("/")), "realtime")
        listeners = (upstream.meter,)
        self.watcher = ConnectionWatcher(kind, lambda: listeners, upstream.provider, upstream.host, model)
        pairs = [
            (key.encode("latin-1"), value.encode("latin-1")) for key, value in connection.response.headers.raw_items()
        ]
        found = read_pairs(pairs)
        self.watcher.headers = ResponseHeaders(found.organization, found.project, found.request_id)

    async def from_client(self, receive: Receive) -> None:
        """Passes on what the client sends."""
        while (message := await receive())["type"] == "websocket.receive":
            data = message.get("text")
            if data is None:
                data = message["bytes"]
            turn = self.watcher.on_send(data)
            if turn is None:
                await self._connection.send(data)
            elif await self._is_admitted(turn):
                try:
                    await self._connection.send(data)
                except BaseException as error:
                    self.watcher.on_send_error(turn, error)
                    raise
                finally:
                    turn.is_sending = False
        code = message.get("code") or _NORMAL
        self.watcher.on_close()
        await self._connection.close(code if _may_be_sent(code) else _NORMAL, message.get("reason") or "")

    async def from_api(self) -> None:
        """Passes on what the API sends."""
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - an extra

        try:
            while True:
                data = await self._connection.recv()
                self.watcher.received(data)
                await self._send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
        except ConnectionClosed as error:
            self.watcher.on_receive_error(error)
            close = error.rcvd
            code = _BROKEN if close is None or not _may_be_sent(close.code) else close.code
            await self._send({"type": "websocket.close", "code": code, "reason": "" if close is None else close.reason})

    async def _is_admitted(self, turn: Turn) -> bool:
        """Whether the budgets admit a turn. An event with the form of the API's errors is the answer if not."""
        if not Budgeting.active:
            return True
        from openai_meter.instrumentation.budget_error import BudgetExceededError  # noqa: PLC0415 - with budgets only
        from openai_meter.instrumentation.budget_gate import admit_turn_async  # noqa: PLC0415

        try:
            await admit_turn_async(turn)
        except BudgetExceededError as error:
            turn.is_sending = False
            details = {"type": "insufficient_quota", "code": "budget_exceeded", "message": error.message()}
            event = {"type": "error", "error": {**details, "event_id": turn.event_id}}
            await self._send({"type": "websocket.send", "text": json.dumps(event)})
            return False
        return True


def _may_be_sent(code: int) -> bool:
    """Whether a close frame may have this code (RFC 6455, section 7.4)."""
    return 1000 <= code < 5000 and code not in {1004, 1005, 1006, 1015}
