"""Attribution: the agent, operation, user and session that a call is made for, as the surrounding code names them.

It is held in one context variable, which asyncio tasks inherit. A scope is left by restoring the value before,
without tokens: a token is only valid in the context that made it, and generators and cancelled tasks end in others.
"""

from __future__ import annotations

import enum
import functools
import inspect
import logging
import numbers
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Never, Self, TypeVar, cast

from openai_meter.errors import ConfigurationError
from openai_meter.metering import generator_scopes, openai_agents

__all__ = [
    "OUTERMOST", "Attribution", "Scope", "Surroundings", "as_text", "bind", "current_attribution",
    "current_surroundings", "read_attribution", "run_in", "surroundings", "tag",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])

logger = logging.getLogger("openai_meter")


@dataclass(frozen=True, slots=True)
class Attribution:
    """By and for whom a call is made. Every part may be unknown (``None``)."""

    agent: str | None = None
    operation: str | None = None
    user: str | None = None
    session: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def within(self, outer: Attribution) -> Attribution:
        """This attribution inside another one: its own values go first, tags are merged."""
        return Attribution(
            self.agent if self.agent is not None else outer.agent,
            self.operation if self.operation is not None else outer.operation,
            self.user if self.user is not None else outer.user,
            self.session if self.session is not None else outer.session,
            {**outer.tags, **self.tags} if self.tags else outer.tags,
        )


_NO_ATTRIBUTION = Attribution()


class Surroundings(NamedTuple):
    """The scopes around some code. A value: entering or leaving a scope replaces it by another, in one step."""

    attribution: Attribution = _NO_ATTRIBUTION
    blocks: tuple[Any, ...] = ()
    """The ``track()`` blocks, outermost first."""
    scope: Scope | None = None
    """The scope that was entered last, which made these surroundings of the outer ones; ``None`` at the outermost."""
    outer: Surroundings | None = None
    depth: int = 0


OUTERMOST = Surroundings()
surroundings: ContextVar[Surroundings] = ContextVar("openai_meter.surroundings", default=OUTERMOST)

_DEPTH = 10_000
"""How many scopes can be left again. Otherwise, tasks that are each started in the scope of the one before would keep
the scopes of all tasks before them."""


def current_surroundings() -> Surroundings:
    """The scopes around the caller, those of generators whose step runs in another context included."""
    found = surroundings.get()
    if not generator_scopes.ENTRIES:
        return found
    for scope in generator_scopes.scopes_of_callers():
        if not _is_inside(found, scope):
            found = scope.around(found)
    return found


def _is_inside(found: Surroundings | None, scope: Scope) -> bool:
    while found is not None:
        if found.scope is scope:
            return True
        found = found.outer
    return False


def current_attribution(around: Surroundings | None = None) -> Attribution:
    """The attribution of a call that is made now; the agent is that of openai-agents where the program names none.

    Args:
        around: the surroundings of now, if they are known already.
    """
    found = (current_surroundings() if around is None else around).attribution
    if (
        found.agent is None
        and openai_agents.MODULE in sys.modules
        and (agent := openai_agents.current_agent()) is not None
    ):
        return Attribution(agent, found.operation, found.user, found.session, found.tags)
    return found


_NAMES = ("agent", "operation", "user", "session")
_NO_TEXT = (bytes, bytearray, memoryview, type, BaseException)
"""Types whose ``str`` is not a name; that of an exception may quote a prompt."""
_reported: set[tuple[str, type]] = set()
_REPORTS = 1_000


def read_attribution(values: Mapping[str, Any]) -> Attribution:
    """An attribution from keyword arguments: agent, operation, user, session; any other name is a tag.

    Values are converted by :func:`as_text`. It never raises: a request handler must not fail because of a name.
    """
    texts = {name: text for name, value in values.items() if (text := as_text(name, value)) is not None}
    known = {name: texts.pop(name) for name in _NAMES if name in texts}
    return Attribution(**known, tags=texts)


def as_text(name: str, value: object) -> str | None:
    """A value as text: text itself, numbers, UUIDs, paths, dates, and other types with a ``__str__`` of their own.

    Of an ``Enum`` it is the value. For anything else, such as a list, one line is logged, and the value is left out.

    Args:
        name: what the value is given for, for the log.
        value: the value; ``None`` is no value.

    Returns:
        The text, or ``None`` if there is none.
    """
    if value is None or type(value) is str:
        return value
    try:
        if isinstance(value, enum.Enum):
            return as_text(name, value.value)
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, numbers.Number) or (
            type(value).__str__ is not object.__str__ and not isinstance(value, _NO_TEXT)
        ):
            return str.__str__(str(value))
    except Exception:  # noqa: S110 - a __str__ of the program's own; it is reported as a value without one
        pass
    _report(name, type(value))
    return None


def _report(name: str, kind: type) -> None:
    if (name, kind) not in _reported and len(_reported) < _REPORTS:
        _reported.add((name, kind))
        logger.warning(
            "openai_meter: %s is a %s, which has no plain text form; it is left out. Pass text, such as %s=str(...)",
            name, kind.__qualname__, name,
        )  # fmt: skip


class Scope:
    """A context manager and decorator for sync and async code, made of one pair of ``enter`` and ``leave``.

    One object may be entered many times, by many threads and tasks at once: it keeps nothing of an entry itself.
    As a decorator it surrounds each call of a function, and each step of a generator (between two steps of a
    generator, the scope is its caller's).
    """

    def around(self, outer: Surroundings) -> Surroundings:
        """The surroundings inside this scope, made of those outside."""
        raise NotImplementedError

    def for_call(self) -> Scope:
        """The scope around one call of a function that is decorated with this one."""
        return self

    def enter(self) -> None:
        """Begins the scope in the current context."""
        outer = surroundings.get()
        if outer.depth >= _DEPTH:
            outer = Surroundings(outer.attribution, outer.blocks)
        # Leaving restores the value of the context, without the scopes of generators.
        surroundings.set(self.around(current_surroundings())._replace(outer=outer, depth=outer.depth + 1))

    def leave(self, *, noted: bool = False) -> bool:
        """Ends the scope in the current context. Scopes that were entered after it go on, as generators allow.

        Args:
            noted: whether it is known to have been entered by the generator that leaves it, in whatever context.

        Returns:
            Whether it was begun; if it was not, nothing is done.
        """
        found = surroundings.get()
        inner = []
        while found.scope is not self:
            if found.scope is None or found.outer is None:
                return noted
            inner.append(found.scope)
            found = found.outer
        left = found.outer or OUTERMOST
        for scope in reversed(inner):
            left = scope.around(left)
        surroundings.set(left)
        return True

    def __enter__(self) -> Self:
        self.enter()
        generator_scopes.add(sys._getframe(1), self)  # noqa: SLF001 - the code that has the `with`
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(noted=generator_scopes.discard(sys._getframe(1), self))  # noqa: SLF001

    async def __aenter__(self) -> Self:
        self.enter()
        generator_scopes.add(sys._getframe(1), self)  # noqa: SLF001
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(noted=generator_scopes.discard(sys._getframe(1), self))  # noqa: SLF001

    def __call__(self, function: F) -> F:
        """Decorates a function: plain, ``async``, a generator, or an async generator; and methods of all these kinds.

        Raises:
            ConfigurationError: that is not a function.
        """
        if isinstance(function, staticmethod | classmethod):
            return cast("F", type(function)(self(function.__func__)))
        if not callable(function):
            raise ConfigurationError(f"{function!r} is not a function; tag() and track() decorate functions only")
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
            with self.for_call():
                return function(*args, **kwargs)

        return wrapper

    def _around_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.for_call():
                return await function(*args, **kwargs)

        return wrapper

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            scope = self.for_call()
            generator = function(*args, **kwargs)
            step, value = generator.send, None
            try:
                while True:
                    scope.enter()
                    try:
                        item = step(value)
                    except StopIteration as end:
                        return end.value
                    finally:
                        scope.leave()
                    try:
                        value = yield item
                        step = generator.send
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step, value = generator.throw, error
            finally:
                scope.enter()
                try:
                    generator.close()
                finally:
                    scope.leave()

        return wrapper

    def _around_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            scope = self.for_call()
            generator = function(*args, **kwargs)
            step, value = generator.asend, None
            try:
                while True:
                    scope.enter()
                    try:
                        item = await step(value)
                    except StopAsyncIteration:
                        return
                    finally:
                        scope.leave()
                    try:
                        value = yield item
                        step = generator.asend
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step, value = generator.athrow, error
            finally:
                scope.enter()
                try:
                    await generator.aclose()
                finally:
                    scope.leave()

        return wrapper


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004 - its kind is needed, not its existence
        return True
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)  # types.coroutine


class _Tag(Scope):
    """A scope that adds an attribution; made by :func:`tag`."""

    def __init__(self, attribution: Attribution) -> None:
        self._attribution = attribution

    def around(self, outer: Surroundings) -> Surroundings:
        return Surroundings(self._attribution.within(outer.attribution), outer.blocks, self, outer, outer.depth + 1)

    def __repr__(self) -> str:
        return f"<tag {self._attribution!r}>"


def tag(
    *misplaced: Never,
    agent: object = None,
    operation: object = None,
    user: object = None,
    session: object = None,
    **tags: object,
) -> Scope:
    """Attributes the calls of a part of a program; totals are then available by each of these values.

    Use it as ``with tag(agent="need_analysis"):``, ``async with``, or as a decorator of functions, coroutine functions,
    generators and async generators. Inside another one, its own values go first, tags are merged, and the other values
    stay. It follows asyncio tasks, and generators that a web framework runs in threads; :func:`bind` or
    ``install(threads=True)`` pass it on to other threads. The result may be used by many threads and tasks at once.

    Values may be text or anything with a plain text form (a number, a UUID, a path, an ``Enum``). A value without one,
    such as a list, is left out, and logged once: attribution raises nothing in a running program.

    Args:
        misplaced: positional values, which are refused: every value needs a name.
        agent: which agent, or part of the program, calls.
        operation: what the call is made for.
        user: on whose behalf it is made.
        session: in which session or conversation.
        tags: anything else, under names of your own.

    Raises:
        ConfigurationError: a value has no name.
    """
    if misplaced:
        raise ConfigurationError('tag() needs a name for each value, such as @tag(agent="need_analysis")')
    values = {"agent": agent, "operation": operation, "user": user, "session": session, **tags}
    return _Tag(read_attribution(values))


# --- other threads ----------------------------------------------------------------------------------------------------


class _BoundScope(Scope):
    """The surroundings of another place, used instead of those of the caller."""

    def __init__(self, bound: Surroundings) -> None:
        self._bound = bound

    def around(self, outer: Surroundings) -> Surroundings:
        return Surroundings(self._bound.attribution, self._bound.blocks, self, outer, outer.depth + 1)


def bind(function: F) -> F:
    """The same function, with the attribution and the ``track()`` blocks of this place, wherever it is called.

    For functions that run in another thread: ``pool.submit(bind(work), ...)``, ``Thread(target=bind(work))``,
    callbacks. It takes plain functions, coroutine functions, generators and async generators. Only these two are taken
    along, no other context variable. A block that was left meanwhile still counts these calls, as long as calls are
    counted at all: by ``install()``, or while some block is running.

    Raises:
        ConfigurationError: that is not a function.
    """
    return _BoundScope(current_surroundings())(function)


def run_in(around: Surroundings, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Calls a function in the surroundings of another place, as :func:`bind` would."""
    before = surroundings.get()
    surroundings.set(around)
    try:
        return function(*args, **kwargs)
    finally:
        surroundings.set(before)
