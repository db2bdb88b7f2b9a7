"""Sixty days of calls for ``demo --serve``: the same ones each time, up to now."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from openai_meter.core.call import Call
from openai_meter.core.usage import Usage
from openai_meter.pricing import Billable, PriceBook

__all__ = ["DAYS", "history"]

DAYS = 60
_SEED = 20_260
_AGENTS = (
    # Agent, operation, model, usual input and output tokens, calls on a working day.
    ("need_analysis", "interview", "gpt-6.2-sol", 2_600, 700, 9),
    ("workshop", "agenda", "gpt-6-luna", 900, 450, 16),
    ("workshop", "ideas", "gpt-5.4-mini", 700, 300, 22),
    ("transcript", "summarize", "gpt-6.1-terra", 6_500, 900, 7),
    ("use_case_analysis", "report", "gpt-6.2-sol", 4_200, 1_600, 5),
)
_USERS = ("nora", "ben", "ines", "claire")


def history(now: datetime | None = None) -> Iterator[Call]:
    """The calls, oldest first, each with its price. Some are errors, some read much of their input from the cache."""
    now = now or datetime.now(UTC)
    dice = random.Random(_SEED)  # noqa: S311 - the numbers of a demo need not be secret
    book = PriceBook()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(DAYS - 1, -1, -1):
        begin = midnight - timedelta(days=day)
        quiet = 0.25 if begin.weekday() >= 5 else 1.0
        growth = 1.0 + (DAYS - day) / DAYS
        for agent, operation, model, input_, output, often in _AGENTS:
            for _ in range(round(often * quiet * growth * dice.uniform(0.7, 1.3))):
                at = begin + timedelta(seconds=dice.uniform(7, 20) * 3_600)
                failed = dice.random() < 0.02
                tokens = round(input_ * dice.uniform(0.6, 1.6)), round(output * dice.uniform(0.5, 1.8))
                cached = round(tokens[0] * 0.6) if dice.random() < 0.35 else 0
                usage = Usage(0, 0, 0) if failed else Usage(*tokens, sum(tokens), cached_input_tokens=cached)
                cost = book.cost(Billable(usage, model, endpoint="responses", at=at))
                id_ = str(UUID(int=dice.getrandbits(128)))
                call = Call(
                    id_, at, dice.uniform(0.6, 9.0), "responses", "openai", model, model,
                    "error" if failed else "ok", usage, "none" if failed else "api",
                    error_type="RateLimitError" if failed else None, agent=agent, operation=operation,
                    user=dice.choice(_USERS), cost_pico=0 if failed else cost.amount_pico,
                    cost_status="free" if failed else cost.status,
                )  # fmt: skip
                if at <= now:
                    yield call
