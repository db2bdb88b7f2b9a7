"""A dict that forgets its oldest entries, so that what is remembered about calls takes bounded memory.

Every operation is one atomic step of the interpreter on the dict inside, so there is no lock that a finalizer, a
signal handler or a forked child could find locked.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Bounded"]

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """At most ``limit`` entries; beyond that, the oldest are removed. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # In lists, so that claim() can distinguish its own entry from an equal one. Ordered, because a plain dict looks
        # for its oldest entry among all those that went before: once it is full, that takes microseconds for each that
        # comes.
        self._entries: OrderedDict[K, list[V]] = OrderedDict()

    def put(self, key: K, value: V) -> None:
        """Sets an entry; it becomes the newest."""
        self._entries.pop(key, None)
        self._entries[key] = [value]
        self._trim()

    def claim(self, key: K, value: V) -> bool:
        """Sets an entry if there is none. Returns whether it did: of many threads, one gets ``True``."""
        mine = [value]
        claimed = self._entries.setdefault(key, mine) is mine
        if claimed and len(self._entries) > self._limit:
            self._trim()
        return claimed

    def get(self, key: K) -> V | None:
        """The entry, or ``None``."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def pop(self, key: K) -> V | None:
        """Takes an entry out, or ``None``: of many threads, one gets it."""
        entry = self._entries.pop(key, None)
        return None if entry is None else entry[0]

    def values(self) -> list[V]:
        """All entries, oldest first."""
        return [entry[0] for entry in self._entries.copy().values()]

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _trim(self) -> None:
        while len(self._entries) > self._limit:
            try:
                self._entries.popitem(last=False)
            except KeyError:  # other threads have removed them
                return
