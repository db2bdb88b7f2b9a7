"""Calls of the last minutes, and the pulse of a meter that has counted them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from openai_meter import Call, Meter, Usage
from openai_meter.core.call import new_call_id
from openai_meter.metering.pulse import Pulse, of_meter

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


DOLLAR = 10**12


CALL = Call("id", NOW, 0.0, "responses", "openai", "m", "m", "ok", Usage(1, 2, 3), "api", cost_status="priced")


def call(ago: float = 0, cost: int | None = DOLLAR, tokens: int | None = 100, **more: Any) -> Call:
    """A call that ended so many seconds ago."""
    duration = more.pop("duration", 0.0)
    usage = Usage() if tokens is None else Usage(tokens, 0, tokens)
    status = "unpriced" if cost is None else "priced"
    started = NOW - timedelta(seconds=ago + duration)
    made = replace(CALL, id=new_call_id(), started_at=started, duration=duration, usage=usage)
    return replace(made, cost_pico=cost, cost_status=status, **more)


def metered(*calls: Call, **settings: Any) -> Meter:
    meter = Meter(**settings)
    meter.started_at = NOW - timedelta(hours=1)
    for one in calls:
        meter._take(one)
    return meter


def take(meter: Meter, by: str = "model", **more: Any) -> Pulse:
    return of_meter(meter, by, **{"now": NOW} | more)
