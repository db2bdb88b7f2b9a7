"""Keeps answers for a moment where making them costs something: reading must not slow the calls that are metered."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["Fresh"]

T = TypeVar("T")

_CHEAP = 0.001
"""Seconds of work that are not worth an old answer, even two hundred times a second."""
_SHARE = 0.05
"""The part of a processor's time that making one answer again and again may take."""
_KEPT = 64


class _Slot:
    __slots__ = ("lock", "until", "value")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = 0.0
        self.value: Any = None


class Fresh:
    """Answers that are kept for as long as their making is worth, and no longer than ``max_age``. Thread-safe.

    While an answer is being made, whoever asks for the same one waits for it instead of making it as well.

    Args:
        max_age: seconds; 0 keeps nothing.
    """

    def __init__(self, max_age: float) -> None:
        self.max_age = max_age
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T], times: float = 1.0) -> T:
        """The answer under a key.

        Args:
            key: what it depends on.
            make: makes it; what it raises is raised.
            times: how much longer than ``max_age`` it may be kept.
        """
        if not self.max_age:
            return make()
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            if len(self._slots) > _KEPT:
                self._slots.popitem(last=False)
        with slot.lock:
            if time.monotonic() < slot.until:
                kept: T = slot.value
                return kept
            began, worked = time.monotonic(), time.thread_time()
            made = make()
            # The work of this thread, not the time that passed: a machine that is busy elsewhere is no reason.
            cost = time.thread_time() - worked
            hold = min(cost / _SHARE, self.max_age * times) if cost > _CHEAP else 0.0
            slot.value, slot.until = (made, began + hold) if hold else (None, 0.0)
            return made

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._slots.clear()
