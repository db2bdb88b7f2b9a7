"""The part that all HTTP libraries share: which requests are metered, and how they are sent.

A request to another host costs one look-up (:func:`~openai_meter.usage.providers.known_provider`), which each library
makes first. Nothing here raises into the program, but for ``BudgetExceededError``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from openai_meter.core import faults
from openai_meter.instrumentation.listening import listeners_of
from openai_meter.instrumentation.seams import enter, is_inside, leave
from openai_meter.metering.attribution import current_surroundings
from openai_meter.metering.raw_call import RawCall, begin_raw_call
from openai_meter.usage.providers import known_provider

__all__ = ["OnAnswer", "begin", "provider_at", "send", "send_async"]

OnAnswer = Callable[[RawCall, Any], None]
"""A function that reads an answer: now, or as the program reads it."""


def provider_at(url: str) -> str | None:
    """The provider at an absolute URL; ``None`` for a host that is not known, and for what is not such a URL."""
    start = url.find("://") + 3
    if start < 3:
        return None
    end = url.find("/", start)
    return known_provider(url[start:end] if end > 0 else url[start:].partition("?")[0])


def begin(
    method: str, url: str, provider: str, *, content_type: str, body: object, host: str | None = None
) -> RawCall | None:
    """Begins to meter a request that is about to be sent to a known host; ``None`` if it is not metered.

    Args:
        method: the HTTP method.
        url: the URL, or its path with the query.
        provider: the provider of its host.
        content_type: the value of the header.
        body: the body as bytes or text; its fields; ``None`` where it cannot be read.
        host: the host, where the URL is only a path.
    """
    if is_inside():
        return None
    around = current_surroundings()
    return begin_raw_call(
        method, url, content_type, body,
        listeners=listeners_of(around.blocks), provider=provider, around=around,
        host=(host or urlsplit(url).hostname or "").lower(),
    )  # fmt: skip


def send(
    call: RawCall, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], on_answer: OnAnswer
) -> Any:
    """Sends a request, and reads its answer.

    Raises:
        BudgetExceededError: a budget does not admit it. Nothing was sent, and there is no record.
    """
    if call.request is not None:
        from openai_meter.instrumentation.budget_gate import admit_turn  # noqa: PLC0415 - with budgets only

        admit_turn(call, call.request)
        call.request = None
    entered = enter()
    try:
        answer = wrapped(*args, **kwargs)
    except BaseException as error:
        call.finish(error)
        raise
    finally:
        leave(entered)
    _answered(call, answer, on_answer)
    return answer


async def send_async(
    begin_call: Callable[[], RawCall | None],
    wrapped: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    on_answer: OnAnswer,
) -> Any:
    """The same where the library is async. The call begins when the program waits for it, which it may never do."""
    call = begin_call()
    if call is None:
        return await wrapped(*args, **kwargs)
    if call.request is not None:
        from openai_meter.instrumentation.budget_gate import admit_turn_async  # noqa: PLC0415 - with budgets only

        await admit_turn_async(call, call.request)
        call.request = None
    entered = enter()
    try:
        answer = await wrapped(*args, **kwargs)
    except BaseException as error:
        call.finish(error)
        raise
    finally:
        leave(entered)
    _answered(call, answer, on_answer)
    return answer


def _answered(call: RawCall, answer: Any, on_answer: OnAnswer) -> None:
    try:
        on_answer(call, answer)
    except Exception as error:
        faults.caught(error, "reading an answer of an HTTP library")
        call.finish()
