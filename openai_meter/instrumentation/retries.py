"""Counts how often the SDK sends a request."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any, NamedTuple

from openai_meter.core import faults

__all__ = ["Retry", "last_retry", "sleep_for_retry"]


class Retry(NamedTuple):
    """A request that the SDK sends again."""

    at: float
    """When, by ``time.perf_counter()``."""
    attempts: int
    """How often it will have been sent."""


last_retry: ContextVar[Retry | None] = ContextVar("openai_meter_retry", default=None)
"""The last retry of a request whose options hold no context of ours."""


def sleep_for_retry(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``_sleep_for_retry``, which the SDK calls before it sends a request again.

    Only calls that are retried come here, so counting attempts costs the others nothing. An attempt is counted after
    the wait: a wait that is cancelled has none.
    """
    waiting = wrapped(*args, **kwargs)
    if isawaitable(waiting):
        return _wait_and_count(waiting, kwargs)
    _count_attempt(kwargs)
    return waiting


async def _wait_and_count(waiting: Awaitable[Any], arguments: Mapping[str, Any]) -> Any:
    result = await waiting
    _count_attempt(arguments)
    return result


def _count_attempt(arguments: Mapping[str, Any]) -> None:
    try:
        attempts = arguments["retries_taken"] + 2
        context = arguments["options"].post_parser
        if (note := getattr(type(context), "on_retry", None)) is not None:
            note(context, attempts)
        else:
            last_retry.set(Retry(time.perf_counter(), attempts))
    except Exception as error:
        faults.caught(error, "counting attempts")
