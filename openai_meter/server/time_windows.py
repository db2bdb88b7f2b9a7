"""The periods that the dashboard asks for, and the steps of its time series, in whatever timezone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from openai_meter.errors import ConfigurationError

__all__ = ["PERIODS", "Step", "Window", "label", "starts", "window_of", "zone_named"]

Step = Literal["minute", "hour", "day"]

_LONGEST = 64
"""Characters of the name of a timezone; the longest that there is has half of that."""
_LENGTHS: Mapping[Step, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
_MOST = 1_830
"""Steps of a series: five years of days. Of what is longer, the last."""


class _Period(NamedTuple):
    days: int | None
    """How many days up to and with today; ``None``: it is something else."""
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
"""What can be asked for. To add one, add a row; if it is no number of days, also to :func:`window_of`."""


class Window(NamedTuple):
    """A period of time, and the one before it up to the same point, to be compared with."""

    since: datetime | None
    """``None`` is the beginning of all."""
    until: datetime
    previous: tuple[datetime, datetime] | None
    step: Step


def zone_named(name: str | None) -> tzinfo:
    """A timezone by its name in the IANA database; ``None`` is UTC.

    Raises:
        ConfigurationError: there is none of that name on this machine.
    """
    if name is None or name.upper() in {"UTC", "Z"}:
        return UTC
    try:
        if len(name) > _LONGEST:
            raise ValueError(name)
        return ZoneInfo(name)
    except (KeyError, ValueError, TypeError, OSError):
        raise ConfigurationError(
            f'timezone={name[:_LONGEST]!r} is not known here; use UTC, or a name such as "Europe/Paris"'
        ) from None


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
    since, earlier = _midnight(first, zone), _midnight(before, zone)
    return Window(since, now, (earlier, min(earlier + (now - since), since)), step)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def starts(step: Step, since: datetime, until: datetime, zone: tzinfo) -> list[datetime]:
    """The moments at which the steps from ``since`` to ``until`` begin, in UTC, oldest first."""
    length = _LENGTHS[step]
    at = _floor(step, max(since, until - _MOST * length), zone)
    found: dict[str, datetime] = {}
    while at < until:
        found.setdefault(label(step, at, zone), at)
        # From the middle of the next one: days have 23 to 25 hours, and some hours have 30 minutes.
        at = _floor(step, at + (length * 1.5 if step == "day" else length), zone)
    return [*found.values()]


def _floor(step: Step, at: datetime, zone: tzinfo) -> datetime:
    local = at.astimezone(zone)
    if step == "day":
        return _midnight(local.date(), zone)
    cut = local.replace(minute=0 if step == "hour" else local.minute, second=0, microsecond=0)
    return at - (local.replace(tzinfo=None) - cut.replace(tzinfo=None))


def label(step: str, at: datetime, zone: tzinfo) -> str:
    """The name of the minute, hour, day, week or month that a moment falls into, as reports from a ledger name it."""
    local = at.astimezone(zone)
    if step == "day":
        return local.date().isoformat()
    if step == "week":
        return f"{local:%G-W%V}"
    if step == "month":
        return f"{local:%Y-%m}"
    ahead = f"{local:%z}" if local.utcoffset() else ""
    return f"{local.date().isoformat()} {local.hour:02}:{local.minute if step == 'minute' else 0:02}{ahead}"
