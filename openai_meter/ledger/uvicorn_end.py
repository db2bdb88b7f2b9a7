"""Flushes ledgers before uvicorn ends its process.

uvicorn stops in an orderly way, and then sends its own process the signal that stopped it. With the usual handlers the
process ends there, without Python's exit handlers: the calls of the last moment would be in memory only.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Generator
from functools import wraps
from types import ModuleType
from typing import Any

from openai_meter.core import faults
from openai_meter.core.import_hooks import on_import

__all__ = ["finish_with_uvicorn"]


def finish_with_uvicorn(finish: Callable[[], object]) -> None:
    """Calls ``finish`` when a server of uvicorn has shut down, whether uvicorn is loaded now or later.

    To be called once in a process. ``finish`` must not raise.
    """

    def hook(module: ModuleType) -> None:
        try:
            _patch(module, finish)
        except Exception as error:
            faults.caught(error, "following the end of uvicorn")

    on_import("uvicorn.server", hook)


def _patch(module: ModuleType, finish: Callable[[], object]) -> None:
    server: Any = getattr(module, "Server", None)
    original = getattr(server, "shutdown", None)
    if original is None:
        return

    @wraps(original)
    def shutdown(*args: Any, **settings: Any) -> _Ending:
        return _Ending(original(*args, **settings), finish)

    server.shutdown = shutdown


class _Ending:
    """Waits for the end of a server, and calls a function then."""

    def __init__(self, ending: Awaitable[object], finish: Callable[[], object]) -> None:
        self._ending = ending
        self._finish = finish

    def __await__(self) -> Generator[Any, Any, object]:
        try:
            return (yield from self._ending.__await__())
        finally:
            if threading.current_thread() is threading.main_thread():  # uvicorn handles signals only there
                self._finish()
