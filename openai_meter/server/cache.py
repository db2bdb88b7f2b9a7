"""Keeps expensive answers for a short time, so that reading figures does not slow the metered program."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["AnswerCache"]

T = TypeVar("T")

_CHEAP = 0.001
"""Seconds of processor time. An answer that takes less is made anew each time."""
_SHARE = 0.05
"""The part of one processor that making the same answer again and again may take."""
_MAX_ENTRIES = 64


class _Entry:
    __slots__ = ("lock", "until", "value")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = 0.0
        self.value: Any = None


class AnswerCache:
    """Keeps each answer in proportion to the time it took to make, at most ``max_age`` seconds. Thread-safe.

    While one thread makes an answer, other threads that want the same answer wait for it.

    Args:
        max_age: seconds; 0 keeps nothing.
    """

    def __init__(self, max_age: float) -> None:
        self.max_age = max_age
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T], factor: float = 1.0) -> T:
        """The answer under a key.

        Args:
            key: all that the answer depends on.
            make: makes the answer. What it raises is raised to the caller, and nothing is kept.
            factor: multiplies ``max_age`` for this answer.
        """
        if not self.max_age:
            return make()
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            if len(self._entries) > _MAX_ENTRIES:
                self._entries.popitem(last=False)
        with entry.lock:
            if time.monotonic() < entry.until:
                kept: T = entry.value
                return kept
            began, worked = time.monotonic(), time.thread_time()
            value = make()
            # Processor time of this thread: on a busy machine a cheap answer may take long, and is still cheap.
            cost = time.thread_time() - worked
            hold = min(cost / _SHARE, self.max_age * factor) if cost > _CHEAP else 0.0
            entry.value, entry.until = (value, began + hold) if hold else (None, 0.0)
            return value

    def clear(self) -> None:
        """Removes all answers."""
        with self._lock:
            self._entries.clear()
