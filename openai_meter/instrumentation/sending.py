"""Sends a request of the SDK, and reads its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from openai_meter.metering.quick_path import note_headers

__all__ = ["current_request", "process_response", "send", "send_async"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class SentRequest(Protocol):
    """The context of a request."""

    def on_error(self, error: BaseException) -> Arguments | None:
        """Handles what the SDK raised; returns the arguments for another try."""

    def on_return(self, answer: Any) -> None:
        """Reads what the SDK returned."""

    def on_response(self, arguments: Mapping[str, Any]) -> None:
        """Reads the arguments of ``_process_response``."""


current_request: ContextVar[SentRequest | None] = ContextVar("openai_meter_request", default=None)
"""The request that is being made, unless it is a plain one. The SDK passes no context to where a response is parsed."""


def send(wrapped: Callable[..., Any], context: SentRequest, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Sends a request, a second time where ``include_usage`` was refused, and has its answer read."""
    outer = current_request.get()
    current_request.set(context)
    try:
        while True:
            try:
                answer = wrapped(*args, **kwargs)
            except BaseException as error:
                if (uninjected := context.on_error(error)) is None:
                    raise
                args, kwargs = uninjected
            else:
                context.on_return(answer)
                return answer
    finally:
        current_request.set(outer)  # not reset(): a coroutine may be run in several contexts


async def send_async(
    wrapped: Callable[..., Any], context: SentRequest, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Sends a request, a second time where ``include_usage`` was refused, and has its answer read."""
    outer = current_request.get()
    current_request.set(context)
    try:
        while True:
            try:
                answer = await wrapped(*args, **kwargs)
            except BaseException as error:
                if (uninjected := context.on_error(error)) is None:
                    raise
                args, kwargs = uninjected
            else:
                context.on_return(answer)
                return answer
    finally:
        current_request.set(outer)  # not reset(): a coroutine may be run in several contexts


def process_response(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``_process_response``, which the SDK calls with a response before it parses it."""
    context = current_request.get()
    if context is not None:
        context.on_response(kwargs)
    elif "response" in kwargs:
        note_headers(kwargs["response"])
    return wrapped(*args, **kwargs)
