"""``/api/events``: what happens, as server-sent events, for as long as somebody listens and the server runs."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from openai_meter.core import faults
from openai_meter.errors import MeterError
from openai_meter.server import handlers
from openai_meter.server.errors import RequestError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from openai_meter.server.handlers import Inquiry

__all__ = ["LISTENERS", "Hub"]

LISTENERS = 50
"""How many may listen at once."""
_INTERVAL = 1.0
"""Seconds between two looks at the figures."""
_QUIET = 15.0
"""Seconds after which a comment says that the connection still stands."""
_STEP = 0.2
"""Seconds in which the end of the server is noticed."""


class Hub:
    """Those who listen. Used in one event loop at a time."""

    def __init__(self) -> None:
        self.listeners = 0
        self._closed = False

    def close(self) -> None:
        """Ends all streams, within a fraction of a second. May be called in any thread."""
        self._closed = True

    async def follow(self, asked: Inquiry) -> Response:
        """The stream of one listener.

        Raises:
            RequestError: too many listen, or there is nothing to be told now.
        """
        if self.listeners >= LISTENERS:
            raise _TOO_MANY
        first = await _look(asked)
        if isinstance(first, RequestError):
            raise first
        return _Stream(self, self._events(asked, first))

    async def _events(self, asked: Inquiry, first: dict[str, Any]) -> AsyncIterator[str]:
        began = asked.source.since
        yield "retry: 2000\n\n" + _event("live", first)
        told: dict[str, Any] | None = _figures(first)
        spoke = time.monotonic()
        while await self._wait():
            if (since := asked.source.since) != began:
                began = since
                asked.fresh.clear()
                yield _event("reset", {"since": None if since is None else since.isoformat()})
                told = None
            found = await _look(asked)
            if isinstance(found, dict) and _figures(found) != told:
                told, spoke = _figures(found), time.monotonic()
                yield _event("live", found)
            elif time.monotonic() - spoke >= _QUIET:
                spoke = time.monotonic()
                yield ": still here\n\n"

    async def _wait(self) -> bool:
        """Waits for the next look; ``False`` if there is none."""
        until = time.monotonic() + _INTERVAL
        while not (self._closed or _is_ending()):
            left = until - time.monotonic()
            if left <= 0:
                return True
            await asyncio.sleep(min(left, _STEP))
        return False


class _Stream(StreamingResponse):
    """A stream that counts as a listener for as long as it is sent, however it ends."""

    def __init__(self, hub: Hub, events: AsyncIterator[str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        if self._hub.listeners >= LISTENERS:  # others came while the first figures were looked up
            await _TOO_MANY.response()(scope, receive, send)
            return
        self._hub.listeners += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.listeners -= 1


_TOO_MANY = RequestError(503, f"{LISTENERS} listen already", "Ask /api/live from time to time instead.")


async def _look(asked: Inquiry) -> dict[str, Any] | RequestError:
    try:
        return await run_in_threadpool(handlers.pulse, asked)
    except RequestError as error:
        return error
    except MeterError as error:  # the ledger is away: it may come back
        return RequestError(503, str(error))
    except Exception as error:
        faults.caught(error, "looking at what happens")
        return RequestError(500, f"a fault inside openai_meter ({type(error).__name__})")


def _figures(found: dict[str, Any]) -> dict[str, Any]:
    """What a change in is news: all but the passing of time."""
    return {name: value for name, value in found.items() if name not in {"at", "covered"}}


def _event(name: str, data: dict[str, Any]) -> str:
    # JSON in ASCII has no line breaks: nothing in it can end the event.
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _is_ending() -> bool:
    """Whether the server that this is mounted in has been told to stop.

    uvicorn waits for all streams to end before it tells an application. Its handler of SIGTERM knows earlier.
    """
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(owner, "should_exit", False) is True
