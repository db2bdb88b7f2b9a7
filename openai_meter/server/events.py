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

from openai_meter import faults
from openai_meter.errors import MeterError
from openai_meter.server import answers
from openai_meter.server.problems import Problem

if TYPE_CHECKING:
    from openai_meter.server.answers import Inquiry

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
            Problem: too many listen.
        """
        if self.listeners >= LISTENERS:
            raise Problem(503, f"{LISTENERS} listen already", "Ask /api/live from time to time instead.")
        first = await _look(asked)
        if isinstance(first, Problem):
            raise first
        return StreamingResponse(
            self._events(asked, first), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def _events(self, asked: Inquiry, first: dict[str, Any]) -> AsyncIterator[str]:
        self.listeners += 1
        try:
            began = asked.source.since
            yield "retry: 2000\n\n" + _event("live", first)
            told, spoke = _figures(first), time.monotonic()
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
        finally:
            self.listeners -= 1

    async def _wait(self) -> bool:
        """Waits for the next look; ``False`` if there is none."""
        until = time.monotonic() + _INTERVAL
        while not (self._closed or _is_ending()):
            left = until - time.monotonic()
            if left <= 0:
                return True
            await asyncio.sleep(min(left, _STEP))
        return False


async def _look(asked: Inquiry) -> dict[str, Any] | Problem:
    try:
        return await run_in_threadpool(answers.pulse, asked)
    except Problem as problem:
        return problem
    except MeterError as error:  # the ledger is away: it may come back
        return Problem(503, str(error))
    except Exception as error:
        faults.caught(error, "looking at what happens")
        return Problem(500, f"a fault inside openai_meter ({type(error).__name__})")


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
