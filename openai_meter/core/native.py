"""Threads, locks and queues of the operating system, also where gevent or eventlet have replaced those of Python.

These libraries replace functions of ``_thread``, ``threading``, ``queue`` and ``time``, at any time: before this
package is imported or after. A thread that is started through them is a greenlet, and a greenlet that waits in a queue
or lock of C stops the whole program. So the package uses the threads and locks of this module.

They come from a second instance of the interpreter's module ``_thread``, which no library has patched. Its lock types
are types of their own: eventlet replaces every instance of the original ``RLock`` that it finds in a module.
"""

from __future__ import annotations

import _thread
import sys
import threading
import time
from _frozen_importlib import BuiltinImporter  # importlib.machinery takes longer to load
from _queue import Empty, SimpleQueue
from collections.abc import Callable
from contextlib import suppress
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from threading import Lock, RLock

__all__ = ["Empty", "Event", "Lock", "RLock", "SimpleQueue", "Thread", "acquire", "get", "get_ident",
           "is_patched"]  # fmt: skip

T = TypeVar("T")

_STEP = 0.005
"""Seconds between two checks of a lock or queue, where other greenlets run in between."""


def _unpatched() -> Any:
    """A second instance of the module ``_thread``."""
    spec: Any = BuiltinImporter.find_spec("_thread")
    if spec is None:  # an interpreter where it is elsewhere
        return _thread
    module: Any = BuiltinImporter.create_module(spec)
    BuiltinImporter.exec_module(module)
    return module


_native = _unpatched()
get_ident: Callable[[], int] = _native.get_ident
"""The number of the thread of the operating system."""
if not TYPE_CHECKING:
    Lock, RLock = _native.allocate_lock, _native.RLock

_ours: set[int] = set()
"""The numbers of the threads that were started here. They may wait: no greenlet of the program runs in them."""


class Thread:
    """A daemon thread of the operating system.

    Starting one takes no lock and waits for nothing, so that it can be done in a finalizer and in a signal handler
    (``threading.Thread.start`` waits for the new thread). Log records and ``threading.enumerate()`` show its name.

    Args:
        target: what it does; it should not raise.
        name: its name.
    """

    __slots__ = ("_ended", "_target", "name")

    def __init__(self, target: Callable[[], object], name: str) -> None:
        self.name = name
        self._target = target
        self._ended = Event()

    def start(self) -> None:
        """Starts the thread.

        Raises:
            RuntimeError: there can be no more threads, or the interpreter is shutting down.
        """
        _native.start_new_thread(self._run, ())

    def is_alive(self) -> bool:
        """Whether the thread has not ended. A thread that was not started counts as alive."""
        return not self._ended.is_set()

    def join(self, timeout: float | None = None) -> bool:
        """Waits for the end of the thread, at most ``timeout`` seconds. Returns whether it has ended."""
        return self._ended.wait(timeout)

    def _run(self) -> None:
        ident = get_ident()
        _ours.add(ident)
        names = _show(self.name)
        try:
            self._target()
        finally:
            _hide(names)
            _close_hub()
            _ours.discard(ident)
            self._ended.set()


def _show(name: str) -> tuple[int, ...]:
    """Gives this thread a name in ``threading``; returns the keys of its entry there."""
    with suppress(Exception):
        threading.current_thread().name = name
    return get_ident(), threading.get_ident()


def _hide(keys: tuple[int, ...]) -> None:
    """Removes the entry: before Python 3.13, ``threading`` keeps that of a thread it did not start for ever."""
    active = getattr(threading, "_active", {})
    for key in {*keys, threading.get_ident()}:  # a library that was patched in since counts greenlets
        active.pop(key, None)


def _close_hub() -> None:
    """Closes the event loop of gevent that a patched function has made for this thread, or its files stay open."""
    hubs = sys.modules.get("gevent._hub_local")
    with suppress(Exception):
        hub = None if hubs is None else hubs.get_hub_if_exists()
        if hub is not None:
            hub.destroy(destroy_loop=True)


class Event:
    """A flag that is set once, and that threads can wait for."""

    __slots__ = ("_set", "_unset")

    def __init__(self) -> None:
        self._set = False
        self._unset = Lock()
        """Held as long as the flag is not set."""
        self._unset.acquire()

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._set

    def set(self) -> None:
        """Sets the flag. May be called several times, by one thread after the other."""
        if not self._set:
            self._set = True
            self._unset.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the flag is set, at most ``timeout`` seconds. Returns whether it is."""
        if not self._set and acquire(self._unset, timeout):
            self._unset.release()
        return self._set


class _Acquirable(Protocol):
    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...


def acquire(lock: _Acquirable, timeout: float | None = None) -> bool:
    """Acquires a lock of this module, at most ``timeout`` seconds long; other greenlets of the program run meanwhile.

    Returns:
        Whether the lock was acquired.
    """
    if lock.acquire(blocking=False):
        return True
    if not _in_greenlet():
        return lock.acquire(timeout=-1 if timeout is None else max(timeout, 0.0))
    end = None if timeout is None else time.monotonic() + timeout
    while end is None or time.monotonic() < end:
        time.sleep(_STEP)
        if lock.acquire(blocking=False):
            return True
    return False


def get(queue: SimpleQueue[T], timeout: float) -> T:
    """The next item of a queue; waits for it at most ``timeout`` seconds. Other greenlets of the program run meanwhile.

    Raises:
        Empty: there was none.
    """
    if not _in_greenlet():
        return queue.get(timeout=max(timeout, 0.0))
    end = time.monotonic() + timeout
    while True:
        try:
            return queue.get_nowait()
        except Empty:
            if time.monotonic() >= end:
                raise
        time.sleep(_STEP)


def is_patched() -> bool:
    """Whether gevent or eventlet have replaced functions of Python."""
    return not isinstance(time.sleep, BuiltinFunctionType)


def _in_greenlet() -> bool:
    """Whether a wait of this thread would stop other greenlets of the program."""
    return is_patched() and get_ident() not in _ours


def start_over_in_child() -> None:
    """Forgets the threads of the parent: a forked child does not have them."""
    _ours.intersection_update({get_ident()})
