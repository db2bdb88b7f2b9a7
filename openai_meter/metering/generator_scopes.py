"""Keeps a scope that is entered in a generator for all its steps, whatever context each step runs in.

Web frameworks run the steps of a plain generator in threads, each step in a new copy of the context (Starlette and
FastAPI do, for streamed answers). What one step sets in a context variable is lost in the next. So a scope that is
entered in a generator is also noted for the generator's frame; a call looks for such frames among its callers.

Frames are identified by address and code, and scopes are weakly referenced, so abandoned generators are collected.
"""

from __future__ import annotations

import inspect
import logging
import sys
import weakref
from functools import partial
from types import CodeType, FrameType
from typing import Any, NamedTuple

__all__ = ["ENTRIES", "add", "discard", "scopes_of_callers"]

logger = logging.getLogger("openai_meter")

_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_POOLS = frozenset({"anyio._backends._asyncio", "anyio._backends._trio", "concurrent.futures.thread"})
"""Modules that call a function in a thread and in a context of its own."""


class _Entry(NamedTuple):
    """The scopes that were entered in the frame of one generator, outermost first."""

    code: CodeType
    scopes: tuple[weakref.ref[Any], ...]


ENTRIES: dict[int, _Entry] = {}
"""The scopes by the address of their frame. Empty in most programs, which the path of a call checks first."""
_warned: set[CodeType] = set()


def add(frame: FrameType | None, scope: object) -> None:
    """Notes that a scope is entered by the code of a frame, if that is a generator; else does nothing."""
    generator = _generator_of(frame)
    if generator is None:
        return
    address, code = id(generator), generator.f_code
    entry = ENTRIES.get(address)
    before = entry.scopes if entry is not None and entry.code is code else ()
    ENTRIES[address] = _Entry(code, (*before, weakref.ref(scope, partial(_forget, address))))


def discard(frame: FrameType | None, scope: object) -> bool:
    """Removes the note of :func:`add`; ``False`` if there was none."""
    if not ENTRIES or (generator := _generator_of(frame)) is None:
        return False
    address = id(generator)
    entry = ENTRIES.get(address)
    if entry is None or entry.code is not generator.f_code:
        return False
    for place in reversed(range(len(entry.scopes))):
        if entry.scopes[place]() is scope:
            _keep(address, entry, entry.scopes[:place] + entry.scopes[place + 1 :])
            return True
    return False


def scopes_of_callers() -> list[Any]:
    """The scopes that generators among the callers have entered and not left, outermost first."""
    found: list[Any] = []
    if ENTRIES:
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - there is no other way to the callers
        while frame is not None:
            if frame.f_code.co_flags & _GENERATOR:
                entry = ENTRIES.get(id(frame))
                if entry is not None and entry.code is frame.f_code:
                    found += [scope for one in reversed(entry.scopes) if (scope := one()) is not None]
            frame = frame.f_back
    return found[::-1]


def _generator_of(frame: FrameType | None) -> FrameType | None:
    """The frame, if it is that of a generator.

    For the generator of a ``@contextmanager`` it is that of the generator that enters the context manager: its own
    frame is not among the callers of the code inside.
    """
    while frame is not None:
        is_generator = bool(frame.f_code.co_flags & _GENERATOR)
        driver = frame.f_back if is_generator else frame
        if driver is None or driver.f_globals.get("__name__") != "contextlib":
            return frame if is_generator else None
        while driver is not None and driver.f_globals.get("__name__") == "contextlib":
            driver = driver.f_back
        if is_generator and driver is not None and driver.f_globals.get("__name__") in _POOLS:
            _warn(frame.f_code)
            return None
        frame = driver
    return None


def _warn(code: CodeType) -> None:
    if code not in _warned:
        _warned.add(code)
        logger.warning(
            "openai_meter: %s (%s:%d) enters track() or tag() in a context manager that runs in a thread of its own; "
            "it does not hold for the code outside of that thread. Make it an 'async def', or enter it where the calls "
            "are made",
            code.co_qualname, code.co_filename, code.co_firstlineno,
        )  # fmt: skip


def _keep(address: int, entry: _Entry, scopes: tuple[weakref.ref[Any], ...]) -> None:
    if scopes:
        ENTRIES[address] = _Entry(entry.code, scopes)
    else:
        ENTRIES.pop(address, None)


def _forget(address: int, scope: weakref.ref[Any]) -> None:
    """Forgets a scope that was collected; its generator is gone."""
    entry = ENTRIES.get(address)
    if entry is not None and any(one is scope for one in entry.scopes):
        _keep(address, entry, tuple(one for one in entry.scopes if one is not scope))
