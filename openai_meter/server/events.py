"""``/api/events``: the live figures as server-sent events, until the client leaves or the server stops."""

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

    from openai_meter.server.handlers import ApiRequest

__all__ = ["MAX_STREAMS", "EventStreams"]

MAX_STREAMS = 50
"""Streams that may be open at the same time."""
_INTERVAL = 1.0
"""Seconds between two readings of the figures."""
_KEEP_ALIVE = 15.0
"""Seconds without an event after which a comment is sent, so that proxies keep the connection open."""
_STEP = 0.2
"""Seconds after which a stream notices at the latest that the server stops."""


class EventStreams:
    """The open streams of events. Belongs to one event loop; :meth:`close` may be called from any thread."""

    def __init__(self) -> None:
        self.open_streams = 0
        self._closed = False

    def close(self) -> None:
        """Ends all streams within a fraction of a second."""
        self._closed = True

    async def open(self, request: ApiRequest) -> Response:
        """Answers a request with a stream of events.

        Raises:
            RequestError: :data:`MAX_STREAMS` are open already, or the figures cannot be read.
        """
        if self.open_streams >= MAX_STREAMS:
            raise _TOO_MANY
        first = await _read(request)
        if isinstance(first, RequestError):
            raise first
        return _Stream(self, self._events(request, first))

    async def _events(self, request: ApiRequest, first: dict[str, Any]) -> AsyncIterator[str]:
        began = request.source.since
        yield "retry: 2000\n\n" + _event("live", first)
        sent: dict[str, Any] | None = _figures(first)
        sent_at = time.monotonic()
        while await self._wait():
            if (since := request.source.since) != began:
                began = since
                request.cache.clear()
                yield _event("reset", {"since": None if since is None else since.isoformat()})
                sent = None
            pulse = await _read(request)
            if isinstance(pulse, dict) and _figures(pulse) != sent:
                sent, sent_at = _figures(pulse), time.monotonic()
                yield _event("live", pulse)
            elif time.monotonic() - sent_at >= _KEEP_ALIVE:
                sent_at = time.monotonic()
                yield ": keep-alive\n\n"

    async def _wait(self) -> bool:
        """Waits for the next reading; ``False`` when the stream has to end."""
        until = time.monotonic() + _INTERVAL
        while not (self._closed or _server_is_stopping()):
            left = until - time.monotonic()
            if left <= 0:
                return True
            await asyncio.sleep(min(left, _STEP))
        return False


class _Stream(StreamingResponse):
    """A stream of events. It counts as open while it is sent, however it ends."""

    def __init__(self, streams: EventStreams, events: AsyncIterator[str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events."""
        if self._streams.open_streams >= MAX_STREAMS:  # others were opened while the first figures were read
            await _TOO_MANY.response()(scope, receive, send)
            return
        self._streams.open_streams += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open_streams -= 1


_TOO_MANY = RequestError(
    503, f"{MAX_STREAMS} event streams are open already", "Request /api/live from time to time instead."
)


async def _read(request: ApiRequest) -> dict[str, Any] | RequestError:
    try:
        return await run_in_threadpool(handlers.pulse, request)
    except RequestError as error:
        return error
    except MeterError as error:  # the ledger is unavailable; it may come back
        return RequestError(503, str(error))
    except Exception as error:
        faults.caught(error, "reading the live figures")
        return RequestError(500, f"a fault inside openai_meter ({type(error).__name__})")


def _figures(pulse: dict[str, Any]) -> dict[str, Any]:
    """The values whose change is sent as an event: all but those that change with the clock."""
    return {name: value for name, value in pulse.items() if name not in {"at", "covered"}}


def _event(name: str, data: dict[str, Any]) -> str:
    # JSON in ASCII has no line breaks, so no value can end the event early.
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _server_is_stopping() -> bool:
    """Whether the uvicorn that runs this application was asked to stop.

    uvicorn waits for all streams to end before it ends the application's lifespan. Its SIGTERM handler, a bound
    method of the server, shows the request to stop earlier.
    """
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(owner, "should_exit", False) is True
