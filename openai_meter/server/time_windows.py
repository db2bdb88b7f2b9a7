"""The periods of the dashboard, and the steps of its time series, in any timezone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Literal, NamedTuple

from openai_meter.core.calendar_windows import day_start

__all__ = ["PERIODS", "Step", "Window", "between", "label", "starts", "window_of"]

Step = Literal["minute", "hour", "day"]

_LENGTHS: Mapping[Step, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
_MAX_STEPS = 1_830
"""Steps of a series: five years of days. A longer period shows its last steps."""


_BY_HOURS = timedelta(days=3)
"""Up to this length, a window of chosen dates has steps of an hour."""


class _Period(NamedTuple):
    days: int | None
    """How many days, today included; ``None`` for a period of another kind."""
    step: Step


PERIODS: Mapping[str, _Period] = {
    "today": _Period(1, "hour"),
    "24h": _Period(None, "hour"),
    "7d": _Period(7, "day"),
    "30d": _Period(30, "day"),
    "month": _Period(None, "day"),
    "90d": _Period(90, "day"),
    "all": _Period(None, "day"),
}
"""The periods by name. To add one, add a row; a period that is not a number of days also needs :func:`window_of`."""


class Window(NamedTuple):
    """A period, and the previous period up to the same point, for comparison."""

    since: datetime | None
    """``None``: the first call."""
    until: datetime
    previous: tuple[datetime, datetime] | None
    step: Step


def window_of(period: str, zone: tzinfo, now: datetime) -> Window:
    """The window of one of :data:`PERIODS`, up to now."""
    days, step = PERIODS[period]
    if period == "all":
        return Window(None, now, None, step)
    if period == "24h":
        day = timedelta(days=1)
        return Window(now - day, now, (now - 2 * day, now - day), step)
    today = now.astimezone(zone).date()
    first = today.replace(day=1) if days is None else today - timedelta(days=days - 1)
    before = (first - timedelta(days=1)).replace(day=1) if days is None else first - timedelta(days=days)
    since, earlier = day_start(first, zone), day_start(before, zone)
    return Window(since, now, (earlier, min(earlier + (now - since), since)), step)


def between(since: datetime, until: datetime) -> Window:
    """The window from one moment to another; the previous one is as long."""
    step: Step = "hour" if until - since <= _BY_HOURS else "day"
    return Window(since, until, (since - (until - since), since), step)


def starts(step: Step, since: datetime, until: datetime, zone: tzinfo) -> list[datetime]:
    """The moments at which the steps from ``since`` to ``until`` start, in UTC, oldest first."""
    length = _LENGTHS[step]
    at = _floor(step, max(since, until - _MAX_STEPS * length), zone)
    by_label: dict[str, datetime] = {}
    while at < until:
        by_label.setdefault(label(step, at, zone), at)
        # Aim at the middle of the next day: a day has 23 to 25 hours.
        at = _floor(step, at + (length * 1.5 if step == "day" else length), zone)
    return [*by_label.values()]


def _floor(step: Step, at: datetime, zone: tzinfo) -> datetime:
    local = at.astimezone(zone)
    if step == "day":
        return day_start(local.date(), zone)
    cut = local.replace(minute=0 if step == "hour" else local.minute, second=0, microsecond=0)
    return at - (local.replace(tzinfo=None) - cut.replace(tzinfo=None))


def label(step: str, at: datetime, zone: tzinfo) -> str:
    """The name of the minute, hour, day, week or month of a moment; the same names as in the reports of a ledger."""
    local = at.astimezone(zone)
    if step == "day":
        return local.date().isoformat()
    if step == "week":
        return f"{local:%G-W%V}"
    if step == "month":
        return f"{local:%Y-%m}"
    ahead = f"{local:%z}" if local.utcoffset() else ""
    return f"{local.date().isoformat()} {local.hour:02}:{local.minute if step == 'minute' else 0:02}{ahead}"
