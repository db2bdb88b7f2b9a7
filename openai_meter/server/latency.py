"""How long calls took, by model: the median and the 95th percentile of the newest calls of a period."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai_meter.core.call import Call

__all__ = ["LATENCY_CALLS", "latency"]

LATENCY_CALLS = 2_000
"""Newest calls of a period that are read: percentiles cannot be read from sums."""


def latency(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """The percentiles of each model as JSON values, in seconds; the model with the most calls first.

    Calls that failed are left out: an error may take no time, or all the time until a timeout.
    """
    durations: dict[str | None, list[float]] = {}
    first_tokens: dict[str | None, list[float]] = {}
    for call in calls:
        if not call.failed:
            durations.setdefault(call.model, []).append(call.duration)
            if call.time_to_first_token is not None:
                first_tokens.setdefault(call.model, []).append(call.time_to_first_token)
    return [
        {
            "name": model,
            "calls": len(seconds),
            "duration": _percentiles(seconds),
            "time_to_first_token": _percentiles(first_tokens[model]) if model in first_tokens else None,
        }
        for model, seconds in sorted(durations.items(), key=lambda item: -len(item[1]))
    ]


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {f"p{part}": ordered[math.ceil(part / 100 * len(ordered)) - 1] for part in (50, 95)}
