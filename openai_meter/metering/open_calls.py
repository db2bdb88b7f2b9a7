"""Calls that have begun and not ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from openai_meter.core.bounded import Bounded

__all__ = ["OPEN", "WORK", "OpenCall", "open_calls"]


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call that has begun and not ended."""

    endpoint: str
    model: str | None
    started_at: datetime
    response_id: str | None
    stream: bool
    """``True`` for an answer that is being read, ``False`` for work on the server."""


OPEN: Bounded[int, Any] = Bounded(10_000)
"""Calls whose answer is being read, by the ``id()`` of the call in flight."""
WORK: Bounded[tuple[str, str], Any] = Bounded(10_000)
"""Work on the server that is not finished, by endpoint and id."""


def open_calls(readable: object) -> tuple[OpenCall, ...]:
    """The calls that a meter or a block listens to, and that have not ended."""
    return tuple(
        OpenCall(
            endpoint=pending.row.name,
            model=pending.response.model or pending.requested_model,
            started_at=datetime.fromtimestamp(pending.started, UTC),
            response_id=pending.response.response_id,
            stream=pending.stream,
        )
        for pending in (*OPEN.values(), *WORK.values())
        if any(listener is readable for listener in pending.listeners)
    )
