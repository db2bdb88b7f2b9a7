"""Files where calls wait for the database: lines of JSON, in a folder that all programs with this ledger share.

Each process writes to a segment of its own, and holds a lock on it as long as it lives. A segment that nobody holds
is ready to be replayed, by whoever comes first: so those of a process that died are taken over. A segment is deleted
when all of its calls are in the database. Segments are named by the time they began, so that they sort by age.

Where the system has no ``fcntl`` (Windows), a file that is open cannot be renamed, which serves as the lock.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

try:
    import fcntl as _fcntl
except ImportError:
    _fcntl = None  # type: ignore[assignment]

fcntl: Any = _fcntl
"""The module that locks files; Windows has none."""

__all__ = ["Segment", "Spool"]

_SUFFIX = ".jsonl"
_SEGMENT = 8_000_000
"""Bytes from which on another segment is begun: what has been replayed then makes room early."""


class Segment(NamedTuple):
    """A file with calls that nobody else may touch now."""

    path: Path
    descriptor: int

    def lines(self) -> Iterator[bytes]:
        """The lines; the last one may be damaged."""
        with self.path.open("rb") as file:
            yield from file

    def delete(self) -> None:
        """Ends the segment: its calls are in the database."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.release()

    def release(self) -> None:
        """Leaves the segment to whoever replays it."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class Spool:
    """The segments of a folder. Not thread-safe: a writer holds its lock round each use.

    Args:
        folder: where the segments are; it is made when the first one is.
        limit: the bytes that all segments may have together.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self._limit = limit
        self._current: Segment | None = None
        self._size = 0
        self._others = 0
        """The bytes of the other segments when this one was begun."""
        self._last = 0

    def append(self, lines: Sequence[bytes], *, sync: bool = False) -> bool:
        """Keeps lines, all or none.

        Args:
            lines: the lines, each with its line break.
            sync: whether they must survive a power cut.

        Returns:
            Whether they are kept; if not, the disk or the spool is full, or there is no such place.
        """
        data = b"".join(lines)
        try:
            segment = self._current or self._begin()
            if self._others + self._size + len(data) > self._limit:
                return False
            self._write(segment, data, sync=sync)
        except OSError:
            self.seal_and_release()
            return False
        if self._size >= _SEGMENT:
            self.seal_and_release()
        return True

    def _write(self, segment: Segment, data: bytes, *, sync: bool) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(segment.descriptor, rest) :]
            if sync:
                os.fsync(segment.descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(segment.descriptor, self._size)
            raise
        self._size += len(data)

    def _begin(self) -> Segment:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._others = sum(_size(path) for path in self._paths())
        self._size = 0
        # Should the clock go back, the segments of a process still sort as they were begun.
        self._last = max(time.time_ns(), self._last + 1)
        name = f"{self._last:020d}-{os.getpid()}-{os.urandom(3).hex()}"
        hidden = self.folder / f".{name}"
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        path = self.folder / f"{name}{_SUFFIX}"
        try:
            _lock(descriptor)
            # It gets its name with the lock on it: nobody can find it empty and unlocked, and delete it.
            hidden.rename(path)
            _sync_folder(self.folder)
        except OSError:
            os.close(descriptor)
            raise
        self._current = Segment(path, descriptor)
        return self._current

    def seal(self) -> Segment | None:
        """Ends the segment that is being written to, and returns it, locked; the next line begins another."""
        segment, self._current = self._current, None
        return segment

    def seal_and_release(self) -> None:
        """Ends the segment that is being written to, and leaves it to be replayed."""
        if (segment := self.seal()) is not None:
            segment.release()

    def take(self) -> Iterator[Segment]:
        """The segments that nobody holds, oldest first, each locked. Whoever takes one deletes or releases it."""
        for path in self._paths():
            if (segment := _taken(path)) is not None:
                yield segment

    def _paths(self) -> list[Path]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return [self.folder / name for name in sorted(names) if name.endswith(_SUFFIX) and not name.startswith(".")]

    def leave_to_parent(self) -> None:
        """Forgets the segment in a forked child. Closing it there does not unlock it, as the parent has it open."""
        self.seal_and_release()


def _taken(path: Path) -> Segment | None:
    try:
        if fcntl is None:
            path.rename(path)  # Windows refuses to rename what is open somewhere
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        _lock(descriptor)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return Segment(path, descriptor)
    except OSError:  # somebody holds it, or has just deleted it
        pass
    os.close(descriptor)
    return None


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_folder(folder: Path) -> None:
    """Makes a new name in a folder survive a power cut, where the system can."""
    if fcntl is not None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
