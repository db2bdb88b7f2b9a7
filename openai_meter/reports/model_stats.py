"""The usage of one model, in the form that programs with a tracker per model read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from openai_meter.core.money import to_float, usd
from openai_meter.core.public import public
from openai_meter.core.totals import Totals

__all__ = ["ModelStats", "stats_by_model", "stats_of", "undated"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")
"""The suffix of a model's name that names the snapshot which answered."""


def undated(model: str) -> str:
    """The name of a model without that of its snapshot: ``gpt-4o-mini`` for ``gpt-4o-mini-2024-07-18``."""
    return _SNAPSHOT.sub("", model)


@public
@dataclass(frozen=True, slots=True)
class ModelStats(dict[str, Any]):
    """What was used of one model. The last two fields count the calls whose tokens or cost are not included.

    The values are attributes, and as a dict it has the plain JSON values of :meth:`to_dict`: ``json.dumps`` takes it.
    """

    total_calls: int = 0
    """All calls, those that ended in an error included."""
    total_prompt_tokens: int = 0
    total_completion_tokens: int = 0
    total_tokens: int = 0
    estimated_cost: Decimal | None = Decimal(0)
    """The exact cost in US dollars of the calls whose price is known; ``None`` if there are calls and none is."""
    last_call_timestamp: datetime | None = None
    """When the last call began, in UTC; ``None`` if there was none."""
    error_count: int = 0
    unmeasured_calls: int = 0
    """Calls whose tokens are unknown: they are not in the token counts."""
    unpriced_calls: int = 0
    """Calls whose cost is unknown, or known only in part."""

    def __post_init__(self) -> None:
        self.update(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The stats as plain JSON values: ``estimatedCost`` in US dollars, ``lastCallTimestamp`` in Unix milliseconds.

        A cost that is unknown is ``null``. ``unmeasuredCalls`` and ``unpricedCalls`` are there where they are not 0.
        """
        last = self.last_call_timestamp
        data: dict[str, Any] = {
            "totalCalls": self.total_calls,
            "totalPromptTokens": self.total_prompt_tokens,
            "totalCompletionTokens": self.total_completion_tokens,
            "totalTokens": self.total_tokens,
            "estimatedCost": None if self.estimated_cost is None else to_float(self.estimated_cost),
            "lastCallTimestamp": None if last is None else (last - _EPOCH) // timedelta(milliseconds=1),
            "errorCount": self.error_count,
        }
        if self.unmeasured_calls:
            data["unmeasuredCalls"] = self.unmeasured_calls
        if self.unpriced_calls:
            data["unpricedCalls"] = self.unpriced_calls
        return data


def stats_by_model(rows: Mapping[str, Totals], *, fold_snapshots: bool = False) -> dict[str, ModelStats]:
    """The stats of each model.

    Args:
        rows: the totals by the name that the API answered with.
        fold_snapshots: whether the calls of a model's dated snapshots are in the row of the model.
    """
    groups: dict[str, list[Totals]] = {}
    for name, totals in rows.items():
        groups.setdefault(undated(name) if fold_snapshots else name, []).append(totals)
    return {name: stats_of(*group) for name, group in groups.items()}


def stats_of(*rows: Totals) -> ModelStats:
    """The stats of one model from its rows."""
    known = [row.cost_pico for row in rows if row.cost_pico is not None]
    return ModelStats(
        total_calls=sum(row.calls for row in rows),
        total_prompt_tokens=sum(row.usage.input_tokens or 0 for row in rows),
        total_completion_tokens=sum(row.usage.output_tokens or 0 for row in rows),
        total_tokens=sum(row.usage.total_tokens or 0 for row in rows),
        estimated_cost=usd(sum(known)) if known or not rows else None,
        last_call_timestamp=max((row.last_call_at for row in rows if row.last_call_at is not None), default=None),
        error_count=sum(row.errors for row in rows),
        unmeasured_calls=sum(row.unmeasured_calls for row in rows),
        unpriced_calls=sum(row.unpriced_calls for row in rows),
    )
