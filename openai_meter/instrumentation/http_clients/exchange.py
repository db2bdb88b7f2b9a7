"""The part that all HTTP libraries share: which requests are metered, and how they are sent.

A request to another host costs one look-up (:func:`~openai_meter.usage.providers.known_provider`), which each library
makes first. Nothing here raises into the program, but for ``BudgetExceededError``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from openai_meter.core import faults
from openai_meter.instrumentation.listening import listeners_of
from openai_meter.instrumentation.seams import enter, is_inside, leave
from openai_meter.metering.attribution import current_surroundings
from openai_meter.metering.raw_call import RawCall, begin_raw_call

__all__ = ["OnAnswer", "begin", "host_of", "send", "send_async"]

OnAnswer = Callable[[RawCall, Any], None]
"""A function that reads an answer: now, or as the program reads it."""


def host_of(url: str) -> str:
    """The host of an absolute URL, quickly: almost every request goes to another host."""
    place = url.split("/", 3)
    if len(place) < 3 or place[1] or not place[0].endswith(":"):
        return ""
    name = place[2].partition("?")[0].rpartition("@")[2]
    if name[:1] == "[":
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def begin(method: str, url: str, host: str, provider: str, *, content_type: str, body: object) -> RawCall | None:
    """Begins to meter a request that is about to be sent to a known host; ``None`` if it is not metered.

    Args:
        method: the HTTP method.
        url: the URL, or its path with the query.
        host: the host that the request goes to.
        provider: the provider of that host.
        content_type: the value of the header.
        body: the body as bytes or text; its fields; ``None`` where it cannot be read.
    """
    if is_inside():
        return None
    around = current_surroundings()
    return begin_raw_call(
        method, url, content_type, body,
        listeners=listeners_of(around.blocks), provider=provider, host=host.lower(), around=around,
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
    call: RawCall,
    wrapped: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    on_answer: OnAnswer,
) -> Any:
    """The same where the library is async."""
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
