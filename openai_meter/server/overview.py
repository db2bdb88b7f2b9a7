"""What the dashboard shows at a glance: today, this month, a period with its time series, and what to do."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from openai_meter.core import dimensions
from openai_meter.core.money import Amount
from openai_meter.server.recent_calls import Asked
from openai_meter.server.time_windows import Window, label, starts, window_of

if TYPE_CHECKING:
    from openai_meter.core.totals import Totals
    from openai_meter.server.sources import Source

__all__ = ["named", "overview"]

_SHOWN = 8
"""Groups of a series; the rest is one more."""
_YOUNG = timedelta(hours=3)
"""A series that is no longer than this is shown by minutes."""
_NOBODY = frozenset({dimensions.UNATTRIBUTED, dimensions.UNKNOWN_MODEL, dimensions.NO_BLOCK})
_PICO = 1_000_000_000_000


def named(value: str) -> dict[str, Any]:
    """The name of a row: ``None`` for calls that have none, and for a row of others, which says so."""
    if value in _NOBODY:
        return {"name": None}
    if value.startswith("(other ") and value.endswith("s)"):
        return {"name": None, "other": True}
    return {"name": value}


def overview(source: Source, period: str, group: str, zone: tzinfo, now: datetime) -> dict[str, Any]:
    """The figures of an overview, without alerts and advice.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    window = window_of(period, zone, now)
    asked = Asked(window.since, None, zone)
    today, month = (
        source.sums(group, Asked(window_of(one, zone, now).since, None, zone)) for one in ("today", "month")
    )
    whole = source.sums(group, asked)
    first = whole.totals.first_call_at
    since = window.since or first
    return {
        "at": now.isoformat(),
        "scope": "process" if source.ledger is None else "fleet",
        "since": None if since is None else since.isoformat(),
        "until": now.isoformat(),
        "period": period,
        "group": group,
        "partial": today.partial or month.partial or whole.partial or source.partial(asked),
        "cards": {
            "today": today.totals.to_dict(),
            "month": month.totals.to_dict(),
            "period": whole.totals.to_dict(),
            "previous": _previous(source, window, group, zone),
        },
        "forecast": source.forecast(zone),
        "series": _series(source, group, window._replace(since=_began(source, since, first)), zone, [*whole.rows]),
        "rows": [named(name) | totals.to_dict() for name, totals in whole.rows.items()],
    }


def _previous(source: Source, window: Window, group: str, zone: tzinfo) -> dict[str, Any] | None:
    """The totals of the period before, up to the same point; ``None`` if the meter was not there then."""
    if window.previous is None:
        return None
    began, ended = window.previous
    if source.ledger is None and source.since is not None and source.since > began:
        return None
    found = source.sums(group, Asked(began, ended, zone))
    return None if found.partial else found.totals.to_dict()


def _began(source: Source, since: datetime | None, first: datetime | None) -> datetime | None:
    """Where a series begins: of a meter alone, not before there was anything."""
    if since is None or source.ledger is not None or source.since is None:
        return since
    return max(since, min(source.since, first or source.since))


def _series(source: Source, group: str, window: Window, zone: tzinfo, names: list[str]) -> dict[str, Any]:
    if window.since is None:
        return {"step": window.step, "starts": [], "groups": []}
    step = window.step
    if source.ledger is None and window.until - window.since <= _YOUNG:
        step = "minute"
    at = starts(step, window.since, window.until, zone)
    places = {label(step, moment, zone): place for place, moment in enumerate(at)}
    rows = source.series(group, step, Asked(window.since, None, zone))
    shown = [name for name in names if not named(name).get("other")][:_SHOWN]
    lines: dict[str | None, _Line] = {}
    for (time, name), totals in rows.items():
        if (place := places.get(time)) is not None:
            line = lines.setdefault(name if name in shown else None, _Line(len(at)))
            line.add(place, totals)
    found = [named(name) | lines[name].to_dict() for name in shown if name in lines]
    if None in lines:
        found.append({"name": None, "other": True} | lines[None].to_dict())
    return {"step": step, "starts": [moment.isoformat() for moment in at], "groups": found}


class _Line:
    """One group of a series: a value for each step. What is unknown is ``None``, where there is nothing else."""

    def __init__(self, steps: int) -> None:
        self._cost: list[Amount | None] = [0] * steps
        self._calls = [0] * steps
        self._tokens = [0] * steps
        self._unknown: set[int] = set()

    def add(self, place: int, totals: Totals) -> None:
        self._calls[place] += totals.calls
        self._tokens[place] += totals.usage.total_tokens or 0
        if totals.cost_pico is None:
            self._unknown.add(place)
        else:
            self._cost[place] = (self._cost[place] or 0) + totals.cost_pico

    def to_dict(self) -> dict[str, Any]:
        cost = [
            None if place in self._unknown and not amount else float(Fraction(amount or 0) / _PICO)
            for place, amount in enumerate(self._cost)
        ]
        return {"cost": cost, "calls": self._calls, "tokens": self._tokens}
