"""A file with the unused rest of each slice of this process: a killed process cannot return its slices itself.

The file is mapped into memory, so a call pays for one number that is written. The system keeps what was written when
the process is killed, and releases the lock on the file. If a process on the same machine can take the lock,
the owner has ended, and the file has the rest of its slices. If the machine itself is lost, slices are charged in
full.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from openai_meter.core.native import RLock

try:
    import fcntl
except ImportError:  # Windows: slices are charged in full
    fcntl = None  # type: ignore[assignment]

__all__ = ["DeadOwner", "Journal", "dead_owners", "remove"]

_DIGEST = 24
_RECORD = 8 + _DIGEST
"""A number of 64 bits, and the beginning of the SHA-256 of its key."""
_RECORDS = 128
_FREE = bytes(_DIGEST)
_ENDING = ".slices"
_OLD = 14 * 86_400
"""Seconds after which the file of an owner that no store has ever named is removed."""

_own: set[str] = set()
"""The owners of this process. A lock does not exclude its own process, and closing the file would release it."""


class Journal:
    """The file of one owner. Thread-safe.

    Where no file can be made, there are no marks, and a crash costs whole slices.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._file: int | None = None
        self._map: mmap.mmap | None = None
        self._places: dict[str, int] = {}
        self._unused: list[int] = []
        self._failed = fcntl is None
        self._lock = RLock()

    def mark(self, key: str) -> memoryview | None:
        """The place for the rest of the slice of a key: the only element of an array."""
        if self._failed:
            return None
        try:
            with self._lock:
                place = self._places.get(key)
                if place is None:
                    place = self._new_place()
                    self._write(place, bytes(8) + _digest(key))
                    self._places[key] = place
                assert self._map is not None
                return memoryview(self._map)[place * _RECORD : place * _RECORD + 8].cast("q")
        except (OSError, ValueError):
            self._failed = True
            return None

    def forget(self, key: str) -> None:
        """Frees the place of a key. Its mark must not be written any more."""
        with self._lock:
            place = self._places.pop(key, None)
            if place is not None:
                self._write(place, bytes(_RECORD))
                self._unused.append(place)

    def close(self) -> None:
        """Removes the file: everything was given back."""
        if self._file is not None:
            remove(self.owner)
            _own.discard(self.owner)
            os.close(self._file)
        self._file, self._map, self._places, self._unused = None, None, {}, []

    def leave_to_parent(self) -> None:
        """Forgets the file in a forked child, without a change to it."""
        if self._file is not None:
            os.close(self._file)  # the lock is the parent's, and stays
        self._file, self._map, self._places, self._unused = None, None, {}, []

    def _new_place(self) -> int:
        if self._file is None:
            self._file = _created(self.owner)
        if not self._unused:
            size = 0 if self._map is None else len(self._map) // _RECORD
            os.ftruncate(self._file, max(size * 2, _RECORDS) * _RECORD)
            self._map = mmap.mmap(self._file, 0)  # marks go on in the old map, which has the same pages
            self._unused = list(range(len(self._map) // _RECORD - 1, size - 1, -1))
        return self._unused.pop()

    def _write(self, place: int, record: bytes) -> None:
        assert self._map is not None
        self._map[place * _RECORD : (place + 1) * _RECORD] = record


class DeadOwner(NamedTuple):
    """The file of an owner that has ended."""

    owner: str
    free: dict[bytes, int]

    def unused(self, key: str) -> int:
        """The unused rest of its slice of a key; 0 if that is unknown."""
        return self.free.get(_digest(key), 0)


def dead_owners() -> Iterator[DeadOwner]:
    """The owners on this machine whose processes are gone, while their slices have not been given back."""
    folder = _folder()
    if fcntl is None or folder is None:
        return
    for path in folder.glob(f"*{_ENDING}"):
        if path.stem in _own:
            continue
        with suppress(OSError):
            file = os.open(path, os.O_RDWR)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the owner lives
                if os.fstat(file).st_mtime < time.time() - _OLD:
                    remove(path.stem)
                    continue
                yield DeadOwner(path.stem, _read(file))
            finally:
                os.close(file)


def remove(owner: str) -> None:
    """Removes the file of an owner."""
    folder = _folder()
    if folder is not None:
        with suppress(OSError):
            (folder / f"{owner}{_ENDING}").unlink()


def _read(file: int) -> dict[bytes, int]:
    data = os.pread(file, os.fstat(file).st_size, 0)
    records = (data[at : at + _RECORD] for at in range(0, len(data), _RECORD))
    return {
        record[8:]: int.from_bytes(record[:8], sys.byteorder, signed=True)
        for record in records
        if len(record) == _RECORD and record[8:] != _FREE
    }


def _created(owner: str) -> int:
    """A new file that has the lock before another process can find it.

    Raises:
        OSError: it cannot be made.
    """
    folder = _folder(make=True)
    if folder is None:
        raise OSError("there is no folder for temporary files of this user alone")
    path = folder / f"{owner}.new"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.rename(folder / f"{owner}{_ENDING}")
    except OSError:
        os.close(file)
        raise
    _own.add(owner)
    return file


def _folder(*, make: bool = False) -> Path | None:
    """The folder of this user; ``None`` if there is none that other users cannot write to."""
    if not hasattr(os, "getuid"):
        return None
    folder = Path(tempfile.gettempdir()) / f"openai_meter-{os.getuid()}"
    try:
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if mine else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()[:_DIGEST]
