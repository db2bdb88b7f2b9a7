"""Lines and calls that no ledger can store, in a file of their own: they must not stop the others, nor be lost.

The file lies in the folder of the spool. Its lines are as they were found. A line that was repaired can be stored
again: put it into a file in the same folder whose name ends with ``.jsonl``.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from openai_meter.core.call import Call

__all__ = ["SetAside", "call_line"]

logger = logging.getLogger("openai_meter")

_SUFFIX = ".rejected"
_LIMIT = 64_000_000
"""Bytes of all files of a folder together: what comes later is counted only."""
_LINE = 1_000_000
"""Bytes that are kept of one line."""


class SetAside:
    """The file of a process. Not thread-safe: a writer holds its lock around each use.

    Args:
        folder: the folder of the spool; it is made with the file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None

    def add(self, lines: Sequence[bytes], why: str) -> None:
        """Appends lines to the file, and logs how many and why. Never raises."""
        kept = False
        with suppress(OSError):
            kept = self._write(b"".join(line[:_LINE].rstrip(b"\n") + b"\n" for line in lines))
        where = f"set aside in {self._path}" if kept else "lost, as there is no room for them"
        logger.warning("%d calls cannot be kept in the ledger (%s): %s", len(lines), why, where)

    def _write(self, data: bytes) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        used = sum(path.stat().st_size for path in self._folder.glob(f"*{_SUFFIX}"))
        if used + len(data) > _LIMIT:
            return False
        if self._path is None:
            self._path = self._folder / f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(3).hex()}{_SUFFIX}"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        return True


def call_line(call: Call) -> bytes:
    """A call that has no row, as a line of JSON; what JSON cannot express stands as text."""
    try:
        fields = call.to_dict()
    except Exception:  # it is broken: what can be read of it is kept
        fields = {"id": str(getattr(call, "id", None)), "model": str(getattr(call, "model", None))}
    try:
        return json.dumps(fields, separators=(",", ":"), default=str).encode("ascii", "backslashreplace") + b"\n"
    except Exception:
        return json.dumps({"id": str(getattr(call, "id", None))}).encode("ascii", "backslashreplace") + b"\n"
