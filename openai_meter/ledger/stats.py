"""Counts of the calls that a process added to a ledger."""

from __future__ import annotations

from dataclasses import dataclass

from openai_meter.core.native import RLock

__all__ = ["Counts", "Stats"]


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of the calls of this process. All but the last two are counts since its start."""

    written: int = 0
    """Calls that were stored, those of the spool included. Calls that were in the database already are not counted."""
    spooled: int = 0
    """Calls that were put into the spool while the database was away."""
    replayed: int = 0
    """Calls that were read from the spool and are in the database now; also those that another process had left."""
    dropped: int = 0
    """Calls that are lost: the queue was full, or neither the database nor the spool could take them."""
    refused: int = 0
    """Calls that no database can hold (a number beyond 64 bits); they are lost."""
    damaged: int = 0
    """Lines of the spool that could not be read."""
    waiting: int = 0
    """Calls in memory now, neither stored nor spooled."""
    away: bool = False
    """Whether the database is away."""


class Counts:
    """Mutable counts. Thread-safe, and safe in finalizers."""

    def __init__(self) -> None:
        self._lock = RLock()  # held for no longer than an addition takes; a finalizer may hold it once more
        self._counts = dict.fromkeys(("written", "spooled", "replayed", "dropped", "refused", "damaged"), 0)

    def add(self, name: str, n: int) -> None:
        """Adds to a count of :class:`Stats`."""
        with self._lock:
            self._counts[name] += n

    def stats(self, *, waiting: int, away: bool) -> Stats:
        """The counts as an immutable value."""
        with self._lock:
            return Stats(**self._counts, waiting=waiting, away=away)
