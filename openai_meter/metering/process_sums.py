"""The sums of a process as plain JSON values, for another process that adds them to its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openai_meter.core import dimensions
from openai_meter.core.dimensions import Table
from openai_meter.core.totals import NOTHING, Sum, Unpriced, summed

__all__ = ["add_sums", "write_sums"]


def write_sums(table: Table, reasons: Mapping[tuple[str, str], Unpriced]) -> dict[str, Any]:
    """The sums of all combinations and the reasons of missing prices, as plain JSON values."""
    sums = [[dimensions.plain_key(key), added.to_list()] for key, added in table.sums.items()]
    return {"sums": sums, "unpriced": [list(reason) for reason in reasons.values()]}


def add_sums(table: Table, reasons: dict[tuple[str, str], Unpriced], data: Mapping[str, Any]) -> int:
    """Adds what :func:`write_sums` returned in another process; returns the number of calls."""
    calls = 0
    for values, fields in data["sums"]:
        key, added = dimensions.read_key(values), Sum.from_list(fields)
        table.sums[key] = summed((table.sums.get(key, NOTHING), added))
        calls += added.calls
    for model, reason, more, tokens in data["unpriced"]:
        before = reasons.get((model, reason), Unpriced(model, reason, 0, 0))
        reasons[model, reason] = before._replace(calls=before.calls + more, tokens=before.tokens + tokens)
    return calls
