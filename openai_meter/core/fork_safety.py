"""Makes a fork wait for what is being imported: a child would wait for ever for what a lost thread has half loaded.

Most of the package, and what it stands on, is imported when it is first needed, in whatever thread that happens. The
interpreter leaves the lock of a module that another thread imports locked in the child.
"""

from __future__ import annotations

import os
import sys
import time

__all__: list[str] = []

_ROOTS = frozenset({"openai_meter", "genai_prices", "httpx2", "regex", "rich", "tiktoken", "wrapt"})
"""What is imported late. Not what the program imports: it may fork in the middle of that, and means to."""
_PATIENCE = 60.0
"""Seconds that a fork waits at most: on a busy machine an import takes long, and a child that hangs is worse."""
_PAUSE = 0.001


def _importing() -> bool:
    return any(
        getattr(getattr(module, "__spec__", None), "_initializing", False)
        for name, module in sys.modules.copy().items()
        if name.partition(".")[0] in _ROOTS
    )


def _wait() -> None:
    end = time.monotonic() + _PATIENCE
    while _importing() and time.monotonic() < end:
        time.sleep(_PAUSE)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait)  # hooks run in the reverse order of their registration: this one last
