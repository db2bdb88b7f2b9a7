"""Lets attribution and blocks follow into threads, where the program asks for it: ``install(threads=True)``.

Patched are ``ThreadPoolExecutor.submit`` (which ``loop.run_in_executor`` calls) and ``Thread.start``. Each sets our own
context variable in the other thread for the time of the job, and nobody else's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from openai_meter.core import faults
from openai_meter.core.patching import Patches
from openai_meter.metering.attribution import NOWHERE, Surroundings, run_in, surroundings

__all__ = ["threads"]


class _Threads:
    """Whether threads are followed. One for the process."""

    def __init__(self) -> None:
        self.followed = False
        self._patches = Patches()

    def follow(self) -> None:
        """Begins to follow; harmless if that was done. Not thread-safe: whoever calls this holds a lock."""
        from concurrent.futures.thread import ThreadPoolExecutor  # noqa: PLC0415 - most programs do without

        self._patches.add(ThreadPoolExecutor, "submit", _submit)
        self._patches.add(threading.Thread, "start", _start)
        self.followed = True

    def leave(self) -> None:
        """Ends it, and restores the identical functions. Under somebody else's patch, an inert wrapper stays."""
        self.followed = False
        self._patches.undo()


threads = _Threads()


def _detached() -> Surroundings | None:
    """What is around here, without the way out of it, which is this thread's; ``None`` if that is nothing."""
    here = surroundings.get()
    if not threads.followed or (here.who is NOWHERE.who and not here.blocks):
        return None
    return Surroundings(here.who, here.blocks)


def _submit(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    there = _detached()
    if there is None or not args:
        return wrapped(*args, **kwargs)
    # The pool may start a thread now, which will serve others too: it must not inherit what is around this job.
    return run_in(NOWHERE, wrapped, partial(run_in, there, args[0]), *args[1:], **kwargs)


def _start(wrapped: Callable[..., Any], thread: threading.Thread, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = None
    try:
        if (there := _detached()) is not None:
            run = _Run(thread, there)
    except Exception as error:
        faults.caught(error, "following a thread")
    try:
        return wrapped(*args, **kwargs)
    except BaseException:
        if run is not None:
            run.put_back()
        raise


class _Run:
    """Stands in for a thread's ``run`` until the thread begins, so that it does not matter what class overrides it."""

    def __init__(self, thread: threading.Thread, there: Surroundings) -> None:
        self._thread, self._there = thread, there
        self._run = thread.run
        self._own = vars(thread).get("run")
        vars(thread)["run"] = self

    def put_back(self) -> None:
        """Makes the thread what it was."""
        attributes = vars(self._thread)
        if attributes.get("run") is self:
            if self._own is None:
                attributes.pop("run", None)
            else:
                attributes["run"] = self._own

    def __call__(self, *_: object) -> Any:
        """Runs the thread. Whoever has wrapped this as he would a function of a class passes the thread along."""
        self.put_back()
        return run_in(self._there, self._run)
