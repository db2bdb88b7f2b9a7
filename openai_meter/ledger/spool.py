"""Files in which calls wait for the database: lines of JSON, in a folder that all programs with this ledger share.

Each process appends to a segment of its own and holds a lock on it. A segment without a lock is ready to be replayed,
by any process: so the segments of a process that died are adopted. A segment is deleted when all of its calls are in
the database. The name of a segment begins with the time when it was made, so segments sort by age.

Some file systems have no working locks (network folders). There a segment belongs to the process that its name states,
for as long as that process lives. On Windows, a file that is open cannot be renamed, which serves as the lock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from functools import cache
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
"""Bytes from which on a segment is full: several smaller ones free their space earlier."""
_HELD = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES})
"""Error numbers of a lock that another process holds; any other one means that there are no locks."""
_HIDDEN_AGE = 60.0
"""Seconds after which an unfinished file of another process is removed."""
_FOREIGN_AGE = 900.0
"""Seconds without a change after which, without locks, a segment of another machine is adopted."""


class Segment(NamedTuple):
    """A file with calls that no other process touches now."""

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
        """Leaves the segment to be replayed, by this process or another."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class Spool:
    """The segments of a folder. Not thread-safe: a writer holds its lock around each use.

    Args:
        folder: where the segments are; it is made with the first one.
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
        self._owned: dict[Path, Segment] = {}
        """Segments that this process uses. Without locks, these files carry no other sign of being in use."""

    def another(self) -> Spool:
        """A spool in the same folder whose current segment is its own; neither takes a segment of the other."""
        other = Spool(self.folder, self._limit)
        other._owned = self._owned
        return other

    def append(self, lines: Sequence[bytes], *, sync: bool = False) -> bool:
        """Appends lines, all or none.

        Args:
            lines: the lines, each with its line break.
            sync: whether they must survive a power cut.

        Returns:
            Whether they are in the spool; if not, the disk or the spool is full, or the folder cannot be written.
        """
        data = b"".join(lines)
        try:
            segment = self._writable()
            if self._others + self._size + len(data) > self._limit:
                if not self._size:
                    self._current = None
                    self.delete(segment)
                return False
            self._write(segment, data, sync=sync)
        except OSError:
            self.seal_and_release()
            return False
        return True

    @property
    def begun(self) -> bool:
        """Whether there is a current segment."""
        return self._current is not None

    @property
    def full(self) -> bool:
        """Whether the current segment is large enough to be ended."""
        return self._current is not None and self._size >= _SEGMENT

    def _writable(self) -> Segment:
        """The current segment, or a new one where its file was removed."""
        if self._current is not None and not _is_at(self._current.descriptor, self._current.path):
            self.seal_and_release()
        return self._current or self._begin()

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
        name = f"{self._last:020d}-{os.getpid()}-{_machine()}{os.urandom(3).hex()}"
        hidden = self.folder / f".{name}"
        path = self.folder / f"{name}{_SUFFIX}"
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        segment = self._owned[path] = Segment(path, descriptor)  # first: it is never without an owner
        try:
            _lock(descriptor)
            # The file gets its name with the lock on it: no process can find it unlocked and empty, and delete it.
            hidden.rename(path)
            _sync_folder(self.folder)
        except OSError:
            self.release(segment)
            for left in (hidden, path):
                with contextlib.suppress(OSError):
                    left.unlink()
            raise
        self._current = segment
        return segment

    def seal(self) -> Segment | None:
        """Ends the current segment and returns it, locked; the next line begins another."""
        segment, self._current = self._current, None
        return segment

    def seal_and_release(self) -> None:
        """Ends the current segment, and leaves it to be replayed."""
        if (segment := self.seal()) is not None:
            self.release(segment)

    def release(self, segment: Segment) -> None:
        """Leaves a segment to be replayed, by this process or another."""
        self._owned.pop(segment.path, None)
        segment.release()

    def delete(self, segment: Segment) -> None:
        """Deletes a segment whose calls are in the database."""
        self._owned.pop(segment.path, None)
        segment.delete()

    def take(self) -> Iterator[Segment]:
        """The segments that no process holds, oldest first, each locked. The caller deletes or releases each one."""
        self._remove_unfinished()
        for path in self._paths():
            if (segment := self._taken(path)) is not None:
                self._owned[segment.path] = segment
                yield segment

    def oldest(self) -> float | None:
        """When the oldest segment was begun, in seconds since 1970; ``None`` if there is none."""
        paths = self._paths()
        return None if not paths else _begun(paths[0])

    def _paths(self) -> list[Path]:
        return [self.folder / name for name in _names(self.folder) if name.endswith(_SUFFIX) and name[0] != "."]

    def _taken(self, path: Path) -> Segment | None:
        if path in self._owned:
            return None
        try:
            if fcntl is None:
                path.rename(path)  # Windows refuses to rename an open file
            descriptor = os.open(path, os.O_RDWR)
        except OSError:
            return None
        try:
            free = _lock(descriptor) or _abandoned(path)
            if free and _is_at(descriptor, path):
                return Segment(path, descriptor)
        except OSError:  # another process holds it
            pass
        os.close(descriptor)
        return None

    def _remove_unfinished(self) -> None:
        """Removes files that never got their name: they are empty, as their process died or had no lock."""
        for name in _names(self.folder):
            path = self.folder / name
            if not name.startswith(".") or name.count("-") < 2 or (alive := _owner_lives(path)) is None:
                continue
            with contextlib.suppress(OSError):
                if not alive or time.time() - path.stat().st_mtime > _HIDDEN_AGE:
                    # What is not empty was written by another version: it becomes a segment.
                    path.rename(self.folder / f"{name[1:]}{_SUFFIX}") if _size(path) else path.unlink()

    def leave_to_parent(self) -> None:
        """Forgets the segments in a forked child. To close a file there does not unlock it: the parent has it open."""
        self._current = None
        for segment in [*self._owned.values()]:
            self.release(segment)


# --- the owner of a file --------------------------------------------------------------------------------------------


@cache
def _machine() -> str:
    """This machine, in a few digits: the process numbers of other machines mean nothing here."""
    return hashlib.sha256(socket.gethostname().encode("utf-8", "replace")).hexdigest()[:8]


def _begun(path: Path) -> float | None:
    digits = path.name.lstrip(".").partition("-")[0]
    return int(digits) / 1e9 if digits.isascii() and digits.isdigit() and len(digits) <= 20 else None


def _owner_lives(path: Path) -> bool | None:
    """Whether the process that a file name states is alive; ``None`` if the name states no process."""
    _, _, rest = path.name.lstrip(".").partition("-")
    number = rest.partition("-")[0]
    if not (number.isascii() and number.isdigit() and 0 < len(number) < 10):
        return None
    if int(number) == os.getpid() or os.name == "nt":  # there, os.kill would end the process
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is alive, and belongs to another user
        return True
    return True


def _abandoned(path: Path) -> bool:
    """Whether a segment on a file system without locks may be adopted: its process has ended."""
    last = path.stem.rpartition("-")[2]
    if len(last) == len(_machine()) + 6 and not last.startswith(_machine()):  # of another machine
        return time.time() - path.stat().st_mtime > _FOREIGN_AGE
    own = f"-{os.getpid()}-" in path.name  # and not in use: it was released
    return own or _owner_lives(path) is not True


# --- files ----------------------------------------------------------------------------------------------------------


def _lock(descriptor: int) -> bool:
    """Locks a file; ``False`` if the file system has no locks.

    Raises:
        OSError: another process holds the lock.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise
        return False
    return True


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still stands under its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    """Makes a new name in a folder survive a power cut, where the system can."""
    if fcntl is not None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some network folders cannot
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
