"""The mark on a request that is metered already, so that the libraries below do not meter it again.

A call of the SDK is sent by httpx, which may send it by way of aiohttp or requests, and requests by way of urllib3.
Where HTTP libraries are watched too, the outermost place that meters a request marks the context in which it is sent.
The places inside find the mark and let the request through. Retries and redirects are sent inside, and so is what a
custom transport sends. Tasks that are begun inside inherit the context: so the mark is emptied when the request is
answered.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

__all__ = ["Seams", "enter", "is_inside", "leave", "marked", "marked_async"]

Mark = list[bool]


class Seams:
    """Which layers meter requests; one for the process."""

    http = False
    """Whether HTTP libraries are watched in addition to the SDK. While they are not, nothing is marked."""


_mark: ContextVar[Mark | None] = ContextVar("openai_meter_sending", default=None)


def is_inside() -> bool:
    """Whether a request that is metered already is being sent in this context."""
    return bool(_mark.get())


def enter() -> tuple[Mark, Mark | None]:
    """Marks the context; returns what :func:`leave` takes."""
    mark, outer = [True], _mark.get()
    _mark.set(mark)
    return mark, outer


def leave(entered: tuple[Mark, Mark | None]) -> None:
    """Ends the mark, also in the tasks that have inherited it."""
    mark, outer = entered
    mark.clear()
    _mark.set(outer)  # not reset(): a coroutine may be run in several contexts


def marked(wrapped: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls another one in a marked context."""

    def send(*args: Any, **kwargs: Any) -> Any:
        entered = enter()
        try:
            return wrapped(*args, **kwargs)
        finally:
            leave(entered)

    return send


def marked_async(wrapped: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a coroutine function."""

    async def send(*args: Any, **kwargs: Any) -> Any:
        entered = enter()
        try:
            return await wrapped(*args, **kwargs)
        finally:
            leave(entered)

    return send
