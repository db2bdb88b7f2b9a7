"""Calls for ledgers in tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from openai_meter import Call, Usage
from openai_meter.core.call import new_call_id

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
BASE = Call(
    "", NOON, 0.5, "chat.completions", "openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini", "ok", Usage(100, 50, 150),
    "api", cost_pico=45_000_000, cost_status="priced", host="api.openai.com", price_source="overlay",
)  # fmt: skip


def call(at: datetime = NOON, **changes: Any) -> Call:
    """A call that began then."""
    return replace(BASE, id=new_call_id(), started_at=at, **changes)


def days(number: int, start: datetime = NOON, **changes: Any) -> list[Call]:
    """A call on each of some days that follow each other."""
    return [call(start + timedelta(days=day), **changes) for day in range(number)]
