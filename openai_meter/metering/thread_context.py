"""Passes attribution and blocks on to threads, where the program wants it: ``install(threads=True)``.

It patches ``ThreadPoolExecutor.submit`` (which ``loop.run_in_executor`` calls) and ``Thread.start``. In the other
thread only our own context variable is set, for the time of the job.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from openai_meter.core import faults
from openai_meter.core.patching import Patches
from openai_meter.metering.attribution import OUTERMOST, Surroundings, current_surroundings, run_in

__all__ = ["threads"]


class _FollowedThreads:
    """Whether attribution follows into threads. One for the process."""

    def __init__(self) -> None:
        self.followed = False
        self._patches = Patches()

    def follow(self) -> None:
        """Starts to follow threads; harmless if that was done. Not thread-safe: the caller must hold a lock."""
        from concurrent.futures.thread import ThreadPoolExecutor  # noqa: PLC0415 - most programs do not use it

        self._patches.add(ThreadPoolExecutor, "submit", _submit)
        self._patches.add(threading.Thread, "start", _start)
        self.followed = True

    def unfollow(self) -> None:
        """Restores the identical functions. Below a patch of another library, an inert wrapper stays."""
        self.followed = False
        self._patches.undo()


threads = _FollowedThreads()


def _detached() -> Surroundings | None:
    """The surroundings of now, without the outer ones, which are this thread's; ``None`` if they are empty."""
    around = current_surroundings()
    if not threads.followed or (around.attribution is OUTERMOST.attribution and not around.blocks):
        return None
    return Surroundings(around.attribution, around.blocks)


def _submit(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    around = _detached()
    if around is None or not args:
        return wrapped(*args, **kwargs)
    # The pool may start a thread now, which will run other jobs too: it must not inherit the surroundings of this one.
    return run_in(OUTERMOST, wrapped, partial(run_in, around, args[0]), *args[1:], **kwargs)


def _start(wrapped: Callable[..., Any], thread: threading.Thread, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run = None
    try:
        if (around := _detached()) is not None:
            run = _Run(thread, around)
    except Exception as error:
        faults.caught(error, "following a thread")
    try:
        return wrapped(*args, **kwargs)
    except BaseException:
        if run is not None:
            run.put_back()
        raise


class _Run:
    """Replaces ``run`` of a thread until the thread begins, so that it does not matter which class overrides it."""

    def __init__(self, thread: threading.Thread, around: Surroundings) -> None:
        self._thread, self._around = thread, around
        self._run = thread.run
        self._own = vars(thread).get("run")
        vars(thread)["run"] = self

    def put_back(self) -> None:
        """Restores ``run`` of the thread."""
        attributes = vars(self._thread)
        if attributes.get("run") is self:
            if self._own is None:
                attributes.pop("run", None)
            else:
                attributes["run"] = self._own

    def __call__(self, *_: object) -> Any:
        """Runs the thread. A wrapper that takes this for a function of a class passes the thread as an argument."""
        self.put_back()
        return run_in(self._around, self._run)
