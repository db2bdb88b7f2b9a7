"""The messages of ASGI, and the proxy's own answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

__all__ = ["Client", "Receive", "Scope", "Send", "error_answer"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Client(NamedTuple):
    """The connection of a client."""

    receive: Receive
    send: Send


async def error_answer(send: Send, status: int, message: str, code: str, kind: str = "proxy_error") -> None:
    """Sends an error of the proxy's own, in the form of OpenAI's errors. One of the caller's is not to be tried again.

    ``x-should-retry`` is the header by which the SDKs are told so.
    """
    body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status < 500:
        headers.append((b"x-should-retry", b"false"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
