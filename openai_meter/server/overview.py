"""The figures of the dashboard: today, this month, and the chosen period with its rows and its time series."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.core import dimensions
from openai_meter.core.money import Amount, to_float
from openai_meter.server.latency import LATENCY_CALLS, latency
from openai_meter.server.recent_calls import Filters, TimeRange
from openai_meter.server.time_windows import Window, label, starts, window_of

if TYPE_CHECKING:
    from openai_meter.core.totals import Totals
    from openai_meter.server.figures import Figures

__all__ = ["View", "overview", "row_name"]

_MAX_GROUPS = 8
"""Groups of a series; all further groups are summed up in one more."""
_BY_MINUTES = timedelta(hours=3)
"""The series of a meter without a ledger has steps of a minute up to this length."""
_WITHOUT_NAME = frozenset({dimensions.UNATTRIBUTED, dimensions.UNKNOWN_MODEL, dimensions.NO_BLOCK})
_PICO = 1_000_000_000_000


def row_name(value: str) -> dict[str, Any]:
    """The name of a row: ``None`` for calls without a value, and for the row of all other values (``other``)."""
    if value in _WITHOUT_NAME:
        return {"name": None}
    if value.startswith("(other ") and value.endswith("s)"):
        return {"name": None, "other": True}
    return {"name": value}


class View(NamedTuple):
    """What the dashboard shows: the choices of its reader."""

    period: str
    """One of :data:`PERIODS`, or ``custom``."""
    window: Window
    group: str
    filters: Filters
    zone: tzinfo
    now: datetime

    @property
    def time_range(self) -> TimeRange:
        """The period. Open at its end if that is now: a meter has exact totals for that."""
        return TimeRange(self.window.since, None if self.window.until >= self.now else self.window.until, self.zone)


def overview(figures: Figures, view: View, ledger: str | None = None) -> dict[str, Any]:
    """The figures of the dashboard, without alerts and advice.

    Args:
        figures: the figures of one moment.
        view: what is shown.
        ledger: the URL of the ledger, where there is no meter: the empty page shows how to write to it.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    window, time_range, filters = view.window, view.time_range, view.filters
    today, month = (
        figures.totals(view.group, TimeRange(window_of(name, view.zone, view.now).since, None, view.zone), filters)
        for name in ("today", "month")
    )
    whole = figures.totals(view.group, time_range, filters)
    first = whole.totals.first_call_at
    since = window.since or first
    shown = window._replace(since=_began(figures, since, first))
    return {
        "at": view.now.isoformat(),
        "scope": figures.scope,
        "ledger": ledger,
        "since": None if since is None else since.isoformat(),
        "until": window.until.isoformat(),
        "period": view.period,
        "group": view.group,
        "partial": today.partial or month.partial or whole.partial or figures.partial(time_range),
        "cards": {
            "today": today.totals.to_dict(),
            "month": month.totals.to_dict(),
            "period": whole.totals.to_dict(),
            "previous": _previous(figures, view),
        },
        "forecast": None if filters else figures.forecast(view.zone),
        "series": _series(figures, view, shown, [*whole.rows]),
        "rows": [row_name(name) | totals.to_dict() for name, totals in whole.rows.items()],
        "latency": latency(figures.newest(LATENCY_CALLS, time_range, filters)),
    }


def _previous(figures: Figures, view: View) -> dict[str, Any] | None:
    """The totals of the previous period up to the same point; ``None`` if the meter did not exist or has forgotten."""
    if view.window.previous is None:
        return None
    began, ended = view.window.previous
    if figures.since is not None and figures.since > began:
        return None
    previous = figures.totals(view.group, TimeRange(began, ended, view.zone), view.filters)
    return None if previous.partial else previous.totals.to_dict()


def _began(figures: Figures, since: datetime | None, first: datetime | None) -> datetime | None:
    """Where a series starts. That of a meter without a ledger does not start before its first call."""
    if since is None or figures.since is None:
        return since
    return max(since, min(figures.since, first or figures.since))


def _series(figures: Figures, view: View, window: Window, names: list[str]) -> dict[str, Any]:
    zone = view.zone
    if window.since is None:
        return {"step": window.step, "starts": [], "groups": []}
    step = window.step
    if figures.scope == "process" and window.until - window.since <= _BY_MINUTES:
        step = "minute"
    at = starts(step, window.since, window.until, zone)
    positions = {label(step, moment, zone): position for position, moment in enumerate(at)}
    rows = figures.series(view.group, step, TimeRange(window.since, view.time_range.until, zone), view.filters)
    shown = [name for name in names if not row_name(name).get("other")][:_MAX_GROUPS]
    groups: dict[str | None, _SeriesGroup] = {}
    for (time, name), totals in rows.items():
        if (position := positions.get(time)) is not None:
            series_group = groups.setdefault(name if name in shown else None, _SeriesGroup(len(at)))
            series_group.add(position, totals)
    rendered = [row_name(name) | groups[name].to_dict() for name in shown if name in groups]
    if None in groups:
        rendered.append({"name": None, "other": True} | groups[None].to_dict())
    return {"step": step, "starts": [moment.isoformat() for moment in at], "groups": rendered}


class _SeriesGroup:
    """One group of a series, with a value per step. A step whose whole cost is unknown has the cost ``None``."""

    def __init__(self, steps: int) -> None:
        self._cost: list[Amount | None] = [0] * steps
        self._calls = [0] * steps
        self._tokens = [0] * steps
        self._unknown: set[int] = set()

    def add(self, position: int, totals: Totals) -> None:
        self._calls[position] += totals.calls
        self._tokens[position] += totals.usage.total_tokens or 0
        if totals.cost_pico is None:
            self._unknown.add(position)
        else:
            self._cost[position] = (self._cost[position] or 0) + totals.cost_pico

    def to_dict(self) -> dict[str, Any]:
        cost = [
            None if position in self._unknown and not amount else to_float(Fraction(amount or 0) / _PICO)
            for position, amount in enumerate(self._cost)
        ]
        return {"cost": cost, "calls": self._calls, "tokens": self._tokens}
