"""Counts the sessions of containers: all answers that use a container within 20 minutes are in one session.

OpenAI charges a container of code interpreter or of the hosted shell by the session of 20 minutes, whichever answers
used it. Held for the process, bounded, in memory only.
"""

from __future__ import annotations

from collections.abc import Iterable

from openai_meter.core.bounded import Bounded

__all__ = ["SESSION", "begin_sessions"]

SESSION = 20 * 60.0
"""The seconds of a session."""
_started: Bounded[str, float] = Bounded(10_000)
"""When the session of each container began, in Unix seconds."""


def begin_sessions(containers: Iterable[str], now: float) -> int:
    """The sessions that an answer begins: one for each of its containers without a session that still runs.

    Of several threads, one begins the session of a container. Thread-safe.

    Args:
        containers: the ids of the containers that the answer used.
        now: when the call began, in Unix seconds.
    """
    begun = 0
    for container in containers:
        started = _started.get(container)
        if started is not None and abs(now - started) >= SESSION:
            _started.pop(container)
        begun += _started.claim(container, now)
    return begun
