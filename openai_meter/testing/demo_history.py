"""A made-up history: the calls of a small company over some weeks. For demonstrations and pictures; always the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from openai_meter.core.call import Call
from openai_meter.core.usage import Usage
from openai_meter.pricing import PriceBook

__all__ = ["demo_calls"]

_SEED = 20


class _Job(NamedTuple):
    agent: str
    operation: str
    model: str
    calls: float
    """On a working day."""
    input_tokens: int
    cached: float
    """The part of the input that is read from the cache."""
    output_tokens: int
    seconds: float
    endpoint: str = "responses"


_JOBS = (
    _Job("support", "answer", "gpt-5-mini", 14, 5_200, 0.55, 420, 4.2),
    _Job("support", "classify", "gpt-5-nano", 22, 900, 0.2, 20, 0.8),
    _Job("writer", "draft", "gpt-5.1", 6, 7_800, 0.15, 1_900, 18.0),
    _Job("research", "plan", "gpt-5.1", 3, 14_000, 0.4, 2_600, 25.0),
    _Job("research", "read", "gpt-4.1-mini", 9, 21_000, 0.1, 600, 6.0, "chat.completions"),
    _Job("search", "index", "text-embedding-3-small", 12, 6_000, 0.0, 0, 0.4, "embeddings"),
)
_USERS = ("ana", "bruno", "chloe", "david", "elif", "farid")


def demo_calls(until: datetime, days: int = 60) -> Iterator[Call]:
    """The calls of some days up to a moment, oldest first. The same arguments give the same calls."""
    chance = random.Random(_SEED)  # noqa: S311 - a demonstration
    book = PriceBook()
    midnight = until.replace(hour=0, minute=0, second=0, microsecond=0)
    calls = []
    for day in range(days, -1, -1):
        start = midnight - timedelta(days=day)
        busy = (0.25 if start.weekday() >= 5 else 1.0) * (1.6 - day / days)
        for job in _JOBS:
            for _ in range(round(job.calls * busy * chance.uniform(0.6, 1.4))):
                at = start + timedelta(hours=min(max(chance.gauss(14, 3), 0), 23.9))
                calls.append(_call(job, at, chance, book))
    calls.sort(key=lambda call: call.started_at)
    return (call for call in calls if call.started_at < until)


def _call(job: _Job, at: datetime, chance: random.Random, book: PriceBook) -> Call:
    failed = chance.random() < 0.012
    input_tokens = round(job.input_tokens * chance.uniform(0.5, 1.7))
    output_tokens = round(job.output_tokens * chance.uniform(0.4, 2.0))
    cached = round(input_tokens * job.cached * chance.random()) // 128 * 128
    seconds = job.seconds * chance.uniform(0.6, 2.2)
    values: dict[str, Any] = {
        "id": str(UUID(int=(int(at.timestamp() * 1000) << 80) | 7 << 76 | 2 << 62 | chance.getrandbits(62))),
        "started_at": at, "duration": seconds, "endpoint": job.endpoint, "provider": "openai", "model": job.model,
        "requested_model": job.model, "host": "api.openai.com", "agent": job.agent, "operation": job.operation,
        "user": chance.choice(_USERS), "tags": {"env": "prod"}, "status": "error" if failed else "ok",
        "stream": job.operation in {"answer", "draft"}, "error_type": "RateLimitError" if failed else None,
        "usage": Usage() if failed else Usage(
            input_tokens, output_tokens, input_tokens + output_tokens, cached_input_tokens=cached
        ),
        "usage_source": "none" if failed else "api",
    }  # fmt: skip
    if values["stream"] and not failed:
        values["time_to_first_token"] = seconds * 0.12
    call = Call(**values)
    if failed:
        return Call(**values, cost_pico=0, cost_status="free")
    cost = book.cost(book.billable_of(call))
    return Call(
        **values, cost_pico=cost.amount_pico, cost_status=cost.status, cost_reason=cost.reason, price_source=cost.source
    )
