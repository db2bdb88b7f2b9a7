"""The one place where the package does something around a fork: hooks with a name and an order.

A thread of the parent does not exist in a forked child, and what it held stays locked there. So before a fork the
parent waits, for a bounded time, until a transaction or an import is done; after it, the parent goes on, and the child
makes new locks and empty queues.

Any number of threads may fork at the same time. What the step before a fork returns is kept for each thread by itself,
and given to the steps after the fork: there is no other state between them. Steps before a fork acquire locks in the
order of :class:`Order`, steps after it release them in the reverse order; hooks of one row run as they were added.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

from openai_meter.core import faults
from openai_meter.core.native import get_ident, start_over_in_child

__all__ = ["Hook", "Order", "on_fork"]


class Order(IntEnum):
    """The order in which locks are acquired before a fork. A thread with an earlier one may wait for a later one only.

    A thread that holds a lock of one row may acquire those below it, so the fork must do the same.
    """

    ENCODINGS = 10
    """The vocabularies of tiktoken, while one is read."""
    PRICES = 20
    """The price files, while they are read."""
    LEDGER = 30
    """A transaction of a ledger, and its open connections."""
    IMPORTS = 90
    """Imports that the threads above have begun. Last: to import, a thread may hold a lock of the rows above."""
    NOTHING_HELD = 100
    """Hooks that do something after a fork only."""


class Hook(NamedTuple):
    """What one part of the package does around a fork."""

    name: str
    order: int
    before: Callable[[], Any] | None
    """Acquires locks, so that a child finds them free. Its result is passed to the two others."""
    after_in_parent: Callable[[Any], object] | None
    """Releases it in the parent."""
    after_in_child: Callable[[Any], object] | None
    """Makes this part of the package usable in the child."""


_hooks: tuple[Hook, ...] = ()
_notes: dict[int, list[list[tuple[Hook, Any]]]] = {}
"""Of each thread that forks: the hooks that have run before the fork, and what they returned.

A stack, as a signal handler or another greenlet of the thread may fork in between.
"""


def on_fork(
    name: str,
    *,
    order: int = Order.NOTHING_HELD,
    before: Callable[[], Any] | None = None,
    after_in_parent: Callable[[Any], object] | None = None,
    after_in_child: Callable[[Any], object] | None = None,
) -> None:
    """Adds a hook; one of the same name is replaced.

    Args:
        name: names the hook in the log if it fails.
        order: see :class:`Order`.
        before: runs before the fork; it must not wait longer than a bounded time.
        after_in_parent: runs in the parent with what ``before`` returned (``None`` without one).
        after_in_child: the same in the child. Locks that another thread may hold have to be made anew.
    """
    global _hooks  # noqa: PLW0603 - replaced as a whole, so that a fork at the same time sees the old or the new one
    hook = Hook(name, order, before, after_in_parent, after_in_child)
    _hooks = tuple(sorted((*(one for one in _hooks if one.name != name), hook), key=lambda one: one.order))


class _Run:
    """Runs hooks so that each runs, whatever another has raised."""

    def __init__(self) -> None:
        self._fault: Exception | None = None

    def __call__(self, hook: Hook, do: Callable[..., Any] | None, *args: Any) -> Any:
        try:
            return None if do is None else do(*args)
        except Exception as error:
            try:
                faults.caught(error, f"a fork ({hook.name})")
            except Exception as fault:  # in tests only
                self._fault = fault

    def end(self) -> None:
        """Raises the fault of a hook, where tests have it raised; the interpreter prints it."""
        if self._fault is not None:
            raise self._fault


def _before() -> None:
    run = _Run()
    done = [(hook, run(hook, hook.before)) for hook in _hooks]
    _notes.setdefault(get_ident(), []).append(done)
    run.end()


def _taken() -> list[tuple[Hook, Any]]:
    """The hooks of the fork that this thread has made, in the order of the steps after it."""
    stack = _notes.get(get_ident(), [])
    done = stack.pop() if stack else []
    if not stack:
        _notes.pop(get_ident(), None)
    return sorted(done, key=lambda pair: -pair[0].order)


def _after_in_parent() -> None:
    run = _Run()
    for hook, note in _taken():
        run(hook, hook.after_in_parent, note)
    run.end()


def _after_in_child() -> None:
    run = _Run()
    done = _taken()
    _notes.clear()  # of other threads that were about to fork
    start_over_in_child()
    for hook, note in done:
        run(hook, hook.after_in_child, note)
    run.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)

# --- imports ----------------------------------------------------------------------------------------------------------

_ROOTS = frozenset({"openai_meter", "genai_prices", "httpx2", "regex", "rich", "tiktoken", "wrapt"})
"""Packages that are imported late, in any thread. Not those that the program imports: it may fork while it does."""
_PATIENCE = 60.0
"""Seconds that a fork waits at most: on a busy machine an import takes long, and a child that hangs is worse."""
_PAUSE = 0.001


def _importing() -> bool:
    return any(
        getattr(getattr(module, "__spec__", None), "_initializing", False)
        for name, module in sys.modules.copy().items()
        if name.partition(".")[0] in _ROOTS
    )


def _wait_for_imports() -> None:
    # The interpreter leaves the lock of a module that another thread imports locked in the child.
    end = time.monotonic() + _PATIENCE
    while _importing() and time.monotonic() < end:
        time.sleep(_PAUSE)


on_fork("imports", order=Order.IMPORTS, before=_wait_for_imports)
