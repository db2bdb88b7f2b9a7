"""Counts of the calls that a process added to a ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from openai_meter.core.native import RLock

__all__ = ["Counts", "Stats"]


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of the calls of this process, since its start; the fields after ``damaged`` are as of now."""

    written: int = 0
    """Calls that were stored, those of the spool included. Calls that were in the database already are not counted."""
    spooled: int = 0
    """Calls that could not be stored at once, and wait in the spool or waited there."""
    replayed: int = 0
    """Calls that waited in the spool and are in the database now; also those that another process had left."""
    dropped: int = 0
    """Calls that are lost: neither the database nor the spool nor memory could take them."""
    refused: int = 0
    """Calls that no column can hold, or that the database refuses. They are set aside in a file next to the spool."""
    damaged: int = 0
    """Lines of the spool that could not be read. They are set aside in the same way."""
    waiting: int = 0
    """Calls in memory now that are not in the database."""
    away: bool = False
    """Whether the database is away."""
    waiting_since: datetime | None = None
    """Since when the oldest call that is not in the database waits, the spools of other processes included."""
    stored_at: datetime | None = None
    """When this process last stored calls, or found that the database takes them; ``None`` if it has not yet."""

    def late(self, seconds: float = 60.0) -> bool:
        """Whether a call waits for longer than that: then calls do not reach the database."""
        return self.waiting_since is not None and (datetime.now(UTC) - self.waiting_since).total_seconds() > seconds


class Counts:
    """Mutable counts. Thread-safe, and safe in finalizers."""

    def __init__(self) -> None:
        self._lock = RLock()  # held for no longer than an addition takes; a finalizer may hold it once more
        self._counts = dict.fromkeys(("written", "spooled", "replayed", "dropped", "refused", "damaged"), 0)

    def add(self, name: str, n: int) -> None:
        """Adds to a count of :class:`Stats`."""
        with self._lock:
            self._counts[name] += n

    def get(self, name: str) -> int:
        """One count."""
        return self._counts[name]

    def stats(
        self, *, waiting: int, away: bool, waiting_since: float | None = None, stored_at: float | None = None
    ) -> Stats:
        """The counts as an immutable value; times are in seconds since 1970."""
        with self._lock:
            return Stats(
                **self._counts,
                waiting=waiting,
                away=away,
                waiting_since=_time(waiting_since),
                stored_at=_time(stored_at),
            )


def _time(seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # the name of a file in the spool can hold any digits
        return None
