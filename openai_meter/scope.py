"""Who is calling: what the surrounding code says of the calls made in it.

Held in context variables, which asyncio tasks inherit. A scope is left by putting back what was there, without
tokens: a token is only valid in the context that made it, and generators and cancelled tasks end in others.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from openai_meter.errors import ConfigurationError

__all__ = ["Attribution", "Scoped", "attribution", "current", "read_attribution"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who a call is made by and for. Every part may be unknown (``None``)."""

    agent: str | None = None
    operation: str | None = None
    user: str | None = None
    session: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def within(self, outer: Attribution) -> Attribution:
        """This attribution inside another: what this one says wins, tags are merged."""
        return Attribution(
            self.agent if self.agent is not None else outer.agent,
            self.operation if self.operation is not None else outer.operation,
            self.user if self.user is not None else outer.user,
            self.session if self.session is not None else outer.session,
            {**outer.tags, **self.tags} if self.tags else outer.tags,
        )


NOBODY = Attribution()
attribution: ContextVar[Attribution] = ContextVar("openai_meter.attribution", default=NOBODY)

_NAMES = ("agent", "operation", "user", "session")


def current() -> Attribution:
    """What the surrounding code says of a call made now."""
    return attribution.get()


def read_attribution(values: Mapping[str, Any]) -> Attribution:
    """An attribution from keyword arguments: agent, operation, user, session, and any other name as a tag.

    Raises:
        ConfigurationError: a value is not text.
    """
    for name, value in values.items():
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"{name}={value!r} is not text; pass a string, such as {name}={str(value)!r}")
    known = {name: values[name] for name in _NAMES if name in values}
    tags = {name: value for name, value in values.items() if name not in _NAMES and value is not None}
    return Attribution(**known, tags=tags)


class Scoped:
    """A context manager and decorator, for sync and async code alike, from one pair of ``enter`` and ``leave``.

    One object may be entered many times, by many threads and tasks at once: it keeps nothing of an entry itself.
    As a decorator it surrounds each call of a function, and each step of a generator (between two steps of a
    generator, the scope is its caller's).
    """

    def enter(self) -> None:
        """Begins the scope in the current context."""
        raise NotImplementedError

    def leave(self) -> bool:
        """Ends the scope in the current context; ``False`` where it was not begun, and then nothing is done."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    async def __aenter__(self) -> Self:
        self.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def __call__(self, function: F) -> F:
        """Decorates a function: plain, ``async``, a generator, or an async generator."""
        if inspect.isasyncgenfunction(function):
            wrapper = self._around_async_generator(function)
        elif inspect.iscoroutinefunction(function):
            wrapper = self._around_coroutine(function)
        elif inspect.isgeneratorfunction(function):
            wrapper = self._around_generator(function)
        else:
            wrapper = self._around_function(function)
        return cast("F", functools.wraps(function)(wrapper))

    def _around_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper

    def _around_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await function(*args, **kwargs)

        return wrapper

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            step, value = generator.send, None
            try:
                while True:
                    with self:
                        try:
                            item = step(value)
                        except StopIteration as end:
                            return end.value
                    try:
                        value = yield item
                        step = generator.send
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step, value = generator.throw, error
            finally:
                with self:
                    generator.close()

        return wrapper

    def _around_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            step, value = generator.asend, None
            try:
                while True:
                    with self:
                        try:
                            item = await step(value)
                        except StopAsyncIteration:
                            return
                    try:
                        value = yield item
                        step = generator.asend
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step, value = generator.throw, error
            finally:
                with self:
                    await generator.aclose()

        return wrapper
