"""Reports as values: what is to be shown, free of how."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.store import Totals, Unpriced

if TYPE_CHECKING:
    from openai_meter.meter import Readings

__all__ = ["Report", "Row", "by_model"]


class Row(NamedTuple):
    """One line of a report."""

    label: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class Report:
    """Totals by some dimension, as they were at one moment; the rows sum up to ``totals``."""

    title: str
    dimension: str
    rows: tuple[Row, ...]
    totals: Totals
    since: datetime
    pending: int
    """Calls that have begun and not ended."""
    faults: int
    """Faults inside the meter."""
    unpriced: tuple[Unpriced, ...] = ()
    """What has no full price, per model and reason."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "since": self.since.isoformat(),
            "totals": self.totals.to_dict(),
            f"by_{self.dimension}": {row.label: row.totals.to_dict() for row in self.rows},
            "unpriced": [one._asdict() for one in self.unpriced],
            "pending": self.pending,
            "faults": self.faults,
        }


def by_model(readings: Readings) -> Report:
    """The calls of a meter or of a block per model: the most expensive first, then those with the most tokens."""
    totals, models = readings.snapshot()
    rows = [Row(model, one) for model, one in models.items()]
    rows.sort(
        key=lambda row: (-(row.totals.cost or 0), -(row.totals.usage.total_tokens or 0), -row.totals.calls, row.label)
    )
    name = getattr(readings, "name", None)
    return Report(
        title=f"OpenAI usage: {name}" if name else "OpenAI usage",
        dimension="model",
        rows=tuple(rows),
        totals=totals,
        since=readings.started_at,
        pending=len(readings.pending),
        faults=readings.meter.faults,
        unpriced=readings.unpriced(),
    )
