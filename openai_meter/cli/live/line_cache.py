"""The last figures of ``statusline``, in a file: the next line is quick, and a slow source still has figures.

Loading SQLAlchemy takes longer than a prompt may wait each time. The figures of a SQLite ledger are used again while
its file is not written to, at most for 15 seconds; those of a database server for 2 seconds. Old figures are used
where it does not answer in time, with their age. Only counts, costs and names of models are in the file. Without a
folder for the file, there is no cache, and no error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from openai_meter.cli.live.feeds import Source
from openai_meter.core import settings

__all__ = ["Cached", "LineCache"]

_UNCHANGED, _DATABASE = 15.0, 2.0
"""Seconds for which figures are used again: of a SQLite file that has not changed, and of a database server."""
_SQLITE = "sqlite:///"


class Cached(NamedTuple):
    """Figures of an earlier line."""

    data: dict[str, Any]
    age: float
    """Seconds since they were read."""
    fresh: bool
    """Whether they can be shown as those of now."""


class LineCache:
    """The file with the figures of one source and one set of options."""

    def __init__(self, source: Source, since: str) -> None:
        url = source.url or source.ledger or settings.get("ledger") or ""
        budgets = settings.get("budget_store")
        key = json.dumps(
            [url, bool(source.url), source.by, source.window, source.timezone, since, budgets, os.getcwd()]
        )
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self._path = Path(home) / "openai-meter" / f"statusline-{hashlib.sha256(key.encode()).hexdigest()[:20]}.json"
        is_file = url.startswith(_SQLITE)
        self._seconds = 0.0 if source.url else _UNCHANGED if is_file else _DATABASE  # a server is quick to ask
        self._ledger = Path(url.removeprefix(_SQLITE)).expanduser() if is_file else None

    def read(self) -> Cached | None:
        """The figures of the last line; ``None`` if there are none that can be used."""
        try:
            entry = json.loads(self._path.read_bytes())
            age = time.time() - entry["at"]
            fresh = 0 <= age < self._seconds and entry["files"] == self._files()
            return Cached(entry["data"], max(age, 0.0), fresh)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, data: dict[str, Any]) -> None:
        """Keeps the figures of a line."""
        new = self._path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_text(json.dumps({"at": time.time(), "files": self._files(), "data": data}), encoding="utf-8")
            new.replace(self._path)

    def _files(self) -> list[list[int] | None]:
        """What changes when a SQLite ledger is written to: the times and sizes of its files."""
        return [] if self._ledger is None else [_state(self._ledger), _state(Path(f"{self._ledger}-wal"))]


def _state(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_ino, found.st_size, found.st_mtime_ns]
