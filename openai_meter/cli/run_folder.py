"""The folder of a run: makes it, and removes those of runs that were killed before they could.

The name of a folder has the process id of its run, which is also that of a program that the run is replaced by. The run
holds a lock on a file in it, which its forked children share, as a process id means nothing in another container that
has the same directory for temporary files. A folder is removed where neither shows a living process.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

try:
    import fcntl as _fcntl
except ImportError:  # Windows, where the folders stay, as os.kill() would end a process
    _fcntl = None  # type: ignore[assignment]

fcntl: Any = _fcntl

__all__ = ["make_run_folder", "remove_run_folder"]

_PREFIX = "openai-meter-run-"
_NAME = re.compile(re.escape(_PREFIX) + r"(\d{1,9})-")
_LOCK = "lock"

_held: dict[Path, int] = {}
"""The open lock files of this process."""


def make_run_folder() -> Path:
    """Makes a folder for a run, for this user only.

    Raises:
        OSError: it cannot be made.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    if fcntl is not None:
        _held[folder] = descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder


def remove_run_folder(folder: Path) -> None:
    """Removes the folder of a run that has ended."""
    shutil.rmtree(folder, ignore_errors=True)
    if (descriptor := _held.pop(folder, None)) is not None:
        os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            name = _NAME.match(entry.name)
            if name is not None and _is_own(entry) and not _lives(int(name[1])) and not _is_locked(Path(entry.path)):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_own(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, not a link to one, of this user."""
    with contextlib.suppress(OSError):
        status = entry.stat(follow_symlinks=False)
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives, and belongs to another user
        return True
    return True


def _is_locked(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:  # the run was killed at once
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
