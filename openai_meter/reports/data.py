"""Reports as values, independent of the form in which they are shown.

A report is made once, of one moment; it can be rendered now or tomorrow, in any form and language, and it goes through
JSON and back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from openai_meter.core.deprecation import renamed
from openai_meter.core.money import Amount, exact, pico
from openai_meter.core.totals import Totals, Unpriced
from openai_meter.errors import ConfigurationError

__all__ = ["PERIODS", "REPORTS", "ReportData", "Row", "arranged", "dimensions"]

REPORTS: Mapping[str, tuple[str, ...]] = {
    "model": ("model",),
    "agent": ("agent",),
    "agent,model": ("agent", "model"),
    "agent,operation": ("agent", "operation"),
    "operation": ("operation",),
    "user": ("user",),
    "user,model": ("user", "model"),
    "session": ("session",),
    "tag": ("tag",),
    "endpoint": ("endpoint",),
    "endpoint,model": ("endpoint", "model"),
    "provider": ("provider",),
    "provider,model": ("provider", "model"),
    "block": ("block",),
    "organization": ("organization",),
    "project": ("project",),
    "project,model": ("project", "model"),
}
"""The usual reports, and what each groups by. Any other tuple of dimensions is a report as well.

To add one, add a row.
"""

PERIODS = frozenset({"hour", "day", "week", "month"})
"""Dimensions of reports from history whose rows stand in the order of time."""


class Row(NamedTuple):
    """One line of a report: a value for each of its dimensions, as they were recorded."""

    key: tuple[str, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class ReportData:
    """Totals by some dimensions, as they were at one moment; the rows sum up to ``totals``. Immutable."""

    dimensions: tuple[str, ...]
    """The dimensions of the rows: ``("model",)``, ``("agent", "model")``."""
    rows: tuple[Row, ...]
    """The highest cost first, periods in the order of time; rows of one group stay together."""
    totals: Totals
    since: datetime
    until: datetime
    """Calls from ``since`` to ``until`` are counted (both aware, UTC)."""
    name: str | None = None
    """The name of the block; ``None`` for a meter."""
    pending: int = 0
    """Calls that have begun and not ended."""
    internal_errors: int = 0
    """Faults inside the meter."""
    overflow_calls: int = 0
    """Calls that share a row with others, in some dimension, as there were too many names."""
    unpriced: tuple[Unpriced, ...] = ()
    """What has no full price, per model and reason."""
    alerts: tuple[str, ...] = ()
    """Sentences to be shown above the rows."""
    recommendations: tuple[str, ...] = ()
    """Sentences to be shown at the end."""

    faults = renamed("Report", "faults", "internal_errors")
    folded = renamed("Report", "folded", "overflow_calls")

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, which :meth:`from_dict` reads: money as decimal strings, times in ISO 8601.

        A row has its dimensions under their names, next to its totals.
        """
        return {
            "name": self.name,
            "dimensions": list(self.dimensions),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "totals": _plain(self.totals),
            "rows": [dict(zip(self.dimensions, row.key, strict=True)) | _plain(row.totals) for row in self.rows],
            "unpriced": [one._asdict() for one in self.unpriced],
            "pending": self.pending,
            "internal_errors": self.internal_errors,
            "overflow_calls": self.overflow_calls,
            "alerts": list(self.alerts),
            "recommendations": list(self.recommendations),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; unknown keys are ignored.

        Raises:
            ConfigurationError: a key is missing, or a value is not what it should be.
        """
        try:
            names = dimensions(data["dimensions"])
            return cls(
                dimensions=names,
                rows=tuple(Row(tuple(str(row[name]) for name in names), Totals.from_dict(row)) for row in data["rows"]),
                totals=Totals.from_dict(data["totals"]),
                since=datetime.fromisoformat(data["since"]),
                until=datetime.fromisoformat(data["until"]),
                name=data["name"],
                pending=int(data["pending"]),
                internal_errors=_count(data, "internal_errors", "faults"),
                overflow_calls=_count(data, "overflow_calls", "folded"),
                unpriced=tuple(Unpriced(*(one[name] for name in Unpriced._fields)) for one in data["unpriced"]),
                alerts=tuple(data["alerts"]),
                recommendations=tuple(data["recommendations"]),
            )
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise ConfigurationError(
                f"this is not a report of openai_meter ({error!r}); pass the result of to_dict()"
            ) from error


def _count(data: Mapping[str, Any], name: str, old: str) -> int:
    """A number of calls, which reports of version 0.1 have under its old name."""
    return int(data[old] if name not in data and old in data else data[name])


def dimensions(by: str | Iterable[str]) -> tuple[str, ...]:
    """What to group by: a name, several of them separated by commas, or a sequence of names.

    The store checks whether there are such dimensions.

    Raises:
        ConfigurationError: it is empty, or not text.
    """
    if isinstance(by, str):
        by = (name.strip() for name in by.split(","))
    elif not isinstance(by, Iterable):
        raise ConfigurationError(f'by={by!r} is not a dimension; pass a name such as "model", or several of them')
    names = tuple(dict.fromkeys(by))
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(f'by={names!r} names no dimension; pass a name such as "model", or several')
    return names


def arranged(groups: Mapping[tuple[str, ...], Totals], names: tuple[str, ...]) -> tuple[Row, ...]:
    """The rows by cost, then tokens, then calls, the largest first: group by group, and in each group again.

    Periods stand in the order of time instead.
    """
    weights: dict[tuple[str, ...], tuple[Amount, int, int]] = {}
    for key, totals in groups.items():
        for end in range(1, len(key) + 1):
            cost, tokens, calls = weights.get(key[:end], (0, 0, 0))
            weights[key[:end]] = (
                cost + (totals.cost_pico or 0),
                tokens + (totals.usage.total_tokens or 0),
                calls + totals.calls,
            )

    def rank(key: tuple[str, ...]) -> list[tuple[Amount, int, int, str]]:
        parts = (
            (key[end - 1], *((0, 0, 0) if timed[end - 1] else weights[key[:end]])) for end in range(1, len(key) + 1)
        )
        return [(-cost, -tokens, -calls, name) for name, cost, tokens, calls in parts]

    timed = [name in PERIODS for name in names]

    return tuple(Row(key, groups[key]) for key in sorted(groups, key=rank))


_MONEY = ("cost", "estimated_cost")


def _plain(totals: Totals) -> dict[str, Any]:
    """Totals as plain values; an amount that no decimal number can express (a third) has its fraction next to it."""
    data = totals.to_dict()
    for name in _MONEY:
        amount: Amount | None = getattr(totals, f"{name}_pico")
        if amount is not None and pico(exact(data[name], name)) != amount:
            data[f"{name}_pico"] = str(amount)
    return data
