"""Notices when the file of a ledger is deleted or replaced while it is open: SQLite itself goes on in the old file."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["SqliteFile"]

_Identity = tuple[int, int]


class SqliteFile:
    """The file that stands under the name of a ledger. Not thread-safe.

    Args:
        path: the name; ``None`` for a database that has no file, which is never replaced.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._file: _Identity | None = None
        self._log: _Identity | None = None
        """Which write-ahead log belongs to the file, while it is open here."""

    def remember(self) -> None:
        """Notes which file has the name now."""
        self._file = None if self.path is None else _identity(self.path)

    def is_replaced(self) -> bool:
        """Whether another file, or none, has the name now."""
        return self.path is not None and _identity(self.path) != self._file

    def remember_log(self) -> None:
        """Remembers the write-ahead log. To be called while a connection is open: then no other file has its number."""
        self._log = None if self.path is None else _identity(f"{self.path}-wal")

    def forget_log(self) -> None:
        """Forgets the log, as the connections are closed."""
        self._log = None

    def remove_old_log(self) -> None:
        """Removes the log of the file that was replaced: SQLite would apply it to the new file."""
        if self._log is not None and _identity(f"{self.path}-wal") == self._log:
            for ending in ("-wal", "-shm"):
                with suppress(OSError):
                    os.unlink(f"{self.path}{ending}")


def _identity(path: str) -> _Identity | None:
    """The device and the number of a file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
