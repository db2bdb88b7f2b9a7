"""Who is calling: what the surrounding code says of the calls made in it.

Held in one context variable, which asyncio tasks inherit. A scope is left by putting back what was there, without
tokens: a token is only valid in the context that made it, and generators and cancelled tasks end in others.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Never, Self, TypeVar, cast

from openai_meter.errors import ConfigurationError
from openai_meter.metering import openai_agents

__all__ = [
    "NOWHERE", "Attribution", "Scoped", "Surroundings", "bind", "current", "read_attribution", "run_in", "surroundings",
    "tag",
]  # fmt: skip

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


class Surroundings(NamedTuple):
    """What stands around some code. A value: entering or leaving a scope puts another in its place, in one step."""

    who: Attribution = NOBODY
    blocks: tuple[Any, ...] = ()
    """The ``track()`` blocks, outermost first."""
    scope: Scoped | None = None
    """The scope that was entered last, which made these surroundings of the outer ones; ``None`` at the outermost."""
    outer: Surroundings | None = None
    depth: int = 0


NOWHERE = Surroundings()
surroundings: ContextVar[Surroundings] = ContextVar("openai_meter.surroundings", default=NOWHERE)

_DEPTH = 10_000
"""How many scopes can be left again. A task that is begun in a scope and begins the next one in a scope of its own, and
so on for ever, would else remember all the scopes of its ancestors."""


def current(here: Surroundings | None = None) -> Attribution:
    """What the surrounding code says of a call made now; the agent is openai-agents' own, where nobody else says it.

    Args:
        here: the surroundings of now, from those who have looked already.
    """
    who = (surroundings.get() if here is None else here).who
    if (
        who.agent is None
        and openai_agents.MODULE in sys.modules
        and (agent := openai_agents.current_agent()) is not None
    ):
        return Attribution(agent, who.operation, who.user, who.session, who.tags)
    return who


_NAMES = ("agent", "operation", "user", "session")


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

    def around(self, outer: Surroundings) -> Surroundings:
        """The surroundings that this scope makes of those outside of it."""
        raise NotImplementedError

    def enter(self) -> None:
        """Begins the scope in the current context."""
        outer = surroundings.get()
        if outer.depth >= _DEPTH:
            outer = Surroundings(outer.who, outer.blocks)
        surroundings.set(self.around(outer))

    def leave(self) -> bool:
        """Ends the scope in the current context; ``False`` where it was not begun, and then nothing is done.

        Scopes that were entered after it go on, as generators let it happen.
        """
        here = surroundings.get()
        inner = []
        while here.scope is not self:
            if here.scope is None or here.outer is None:
                return False
            inner.append(here.scope)
            here = here.outer
        left = here.outer or NOWHERE
        for scope in reversed(inner):
            left = scope.around(left)
        surroundings.set(left)
        return True

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
        """Decorates a function: plain, ``async``, a generator, or an async generator; and methods of all these kinds.

        Raises:
            ConfigurationError: that is no function.
        """
        if isinstance(function, staticmethod | classmethod):
            return cast("F", type(function)(self(function.__func__)))
        if not callable(function):
            raise ConfigurationError(f"{function!r} is no function; this goes around functions only")
        if inspect.isasyncgenfunction(function):
            wrapper = self._around_async_generator(function)
        elif _is_coroutine_function(function):
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
                        step, value = generator.athrow, error
            finally:
                with self:
                    await generator.aclose()

        return wrapper


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004 - asked for what it is, not whether it is there
        return True
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)  # types.coroutine


class _Tag(Scoped):
    """Says who makes the calls; made by :func:`tag`."""

    def __init__(self, who: Attribution) -> None:
        self._who = who

    def around(self, outer: Surroundings) -> Surroundings:
        return Surroundings(self._who.within(outer.who), outer.blocks, self, outer, outer.depth + 1)

    def __repr__(self) -> str:
        return f"<tag {self._who!r}>"


def tag(
    *misplaced: Never,
    agent: str | None = None,
    operation: str | None = None,
    user: str | None = None,
    session: str | None = None,
    **tags: str | None,
) -> Scoped:
    """Says who the calls of a stretch of code are made by and for; totals can then be had by each of these.

    Use it as ``with tag(agent="need_analysis"):``, ``async with``, or as a decorator of functions, coroutine functions,
    generators and async generators. Inside another, what this one says wins, tags are merged, and what it does not say
    stays. It follows asyncio tasks; into threads it is taken by :func:`bind` or ``install(threads=True)``. The result
    may be used again and again, by many threads and tasks at once.

    Args:
        misplaced: nothing; names are needed for everything.
        agent: which agent, or part of the program, calls.
        operation: what for.
        user: on whose behalf.
        session: in which session or conversation.
        tags: anything else, under names of your own.

    Raises:
        ConfigurationError: a value is not text, or has no name.
    """
    if misplaced:
        raise ConfigurationError('tag() needs a name for what it is given, such as @tag(agent="need_analysis")')
    said = {"agent": agent, "operation": operation, "user": user, "session": session, **tags}
    return _Tag(read_attribution(said))


# --- other threads ----------------------------------------------------------------------------------------------------


class _Elsewhere(Scoped):
    """The surroundings of another place: those of here do not count inside."""

    def __init__(self, there: Surroundings) -> None:
        self._there = there

    def around(self, outer: Surroundings) -> Surroundings:
        return Surroundings(self._there.who, self._there.blocks, self, outer, outer.depth + 1)


def bind(function: F) -> F:
    """The same function, with the attribution and the ``track()`` blocks of here, wherever and whenever it is called.

    For what runs in another thread: ``pool.submit(bind(work), ...)``, ``Thread(target=bind(work))``, callbacks. Works
    for plain functions, coroutine functions, generators and async generators. Only these two are taken along, no
    context variable of anybody else. A block that was left meanwhile still counts these calls, as long as calls are
    counted at all: by ``install()``, or while some block is running.

    Raises:
        ConfigurationError: that is no function.
    """
    return _Elsewhere(surroundings.get())(function)


def run_in(there: Surroundings, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Calls a function in the surroundings of another place, as :func:`bind` would."""
    here = surroundings.get()
    surroundings.set(there)
    try:
        return function(*args, **kwargs)
    finally:
        surroundings.set(here)
