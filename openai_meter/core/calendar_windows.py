"""Calendar windows: the minute, hour, day, week or month of a timezone that a moment is in.

A window has the length that the clocks of the timezone give it: a day can have 23 or 25 hours. The windows of one
period and timezone follow each other without a gap and without an overlap, so that each moment is in exactly one.

Where clocks change:

* A day begins at the first moment at which the local date is that day or a later one. If the clocks go forward over
  midnight, that is the moment of the change; if they go back over midnight, it is the first of the two midnights. Weeks
  and months begin with a day. A date that a timezone skips has no window.
* A minute or an hour ends where the offset from UTC changes. The two hours of one name in autumn are two windows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from openai_meter.errors import ConfigurationError

__all__ = [
    "CALENDAR_PERIODS",
    "TOTAL",
    "CalendarWindow",
    "Zone",
    "calendar_window",
    "checked_period",
    "day_start",
    "zone_of",
]

Zone = str | tzinfo | None
"""A timezone: its IANA name, ``local``, or ``None`` for UTC, the days of which are also those of OpenAI's bills."""

TOTAL = "total"
"""The period that never ends."""

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)
_MAX_NAME = 64
"""Characters of the name of a timezone; the longest real name has 32."""


class CalendarWindow(NamedTuple):
    """From ``start`` until before ``end``, both in UTC. Windows of one period are equal if their starts are equal."""

    period: str
    start: datetime
    end: datetime | None
    """``None`` for the period ``total``."""

    def __contains__(self, moment: object) -> bool:
        """Whether a moment (a ``datetime`` with an offset) is in the window."""
        return isinstance(moment, datetime) and self.start <= moment and (self.end is None or moment < self.end)


def calendar_window(period: str, zone: tzinfo, moment: datetime) -> CalendarWindow:
    """The window of a period that a moment is in. Pure arithmetic; takes some microseconds.

    Callers on a busy path keep the window, and call this again when ``moment`` is not in it.

    Args:
        period: one of :data:`CALENDAR_PERIODS`. ``total`` is one window, from 1970 on.
        zone: the timezone whose clocks count; see :func:`zone_of`.
        moment: with an offset.

    Raises:
        ConfigurationError: there is no such period.
    """
    return CalendarWindow(period, *CALENDAR_PERIODS[checked_period(period)](zone, moment))


def checked_period(period: object) -> str:
    """The name of a period.

    Raises:
        ConfigurationError: there is no such period; the message has those that there are.
    """
    if not isinstance(period, str) or period not in CALENDAR_PERIODS:
        raise ConfigurationError(f"{period!r} is not a period; use one of {', '.join(CALENDAR_PERIODS)}")
    return period


# --- days, weeks, months ----------------------------------------------------------------------------------------------


def day_start(day: date, zone: tzinfo) -> datetime:
    """The first moment, in UTC, at which the local date is ``day`` or a later one."""
    midnight = datetime.combine(day, time(), zone)
    start = midnight.astimezone(UTC)
    if start.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return start
    # The clocks skip midnight. With the offset of after the change (fold=1) it is a moment before the change.
    return _offset_change(zone, midnight.replace(fold=1).astimezone(UTC), start)


def _same_day(day: date) -> date:
    return day


def _next_day(day: date) -> date:
    return day + _DAY


def _monday(day: date) -> date:
    return day - _DAY * day.weekday()


def _next_monday(day: date) -> date:
    return _monday(day) + 7 * _DAY


def _first_of_month(day: date) -> date:
    return day.replace(day=1)


def _first_of_next_month(day: date) -> date:
    return (day.replace(day=28) + 4 * _DAY).replace(day=1)


def _of_days(first: Callable[[date], date], following: Callable[[date], date]) -> _Bounds:
    def bounds(zone: tzinfo, moment: datetime) -> tuple[datetime, datetime]:
        day = first(moment.astimezone(zone).date())
        start, end = day_start(day, zone), day_start(following(day), zone)
        # Between two midnights of one date the local date is the one before; a skipped date has no length.
        while end <= moment:
            day = following(day)
            start, end = end, day_start(following(day), zone)
        return start, end

    return bounds


# --- minutes, hours ---------------------------------------------------------------------------------------------------


def _of_clock(length: timedelta) -> _Bounds:
    def bounds(zone: tzinfo, moment: datetime) -> tuple[datetime, datetime]:
        moment = moment.astimezone(UTC)
        offset = _offset(zone, moment)
        start = moment - (moment - _EPOCH + offset) % length
        end = start + length
        if _offset(zone, start) != offset:
            start = _offset_change(zone, start, moment)
        if _offset(zone, end - _MICROSECOND) != offset:
            end = _offset_change(zone, moment, end)
        return start, end

    return bounds


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _offset_change(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """The first moment after ``low``, up to ``high``, with another offset. Clocks change on whole seconds."""
    before = _offset(zone, low)
    near, far = (low - _EPOCH) // _SECOND, -((_EPOCH - high) // _SECOND)
    while far - near > 1:
        middle = (near + far) // 2
        if _offset(zone, _EPOCH + _SECOND * middle) == before:
            near = middle
        else:
            far = middle
    return _EPOCH + _SECOND * far


_Bounds = Callable[[tzinfo, datetime], tuple[datetime, datetime | None]]

CALENDAR_PERIODS: Mapping[str, _Bounds] = {
    "minute": _of_clock(timedelta(minutes=1)),
    "hour": _of_clock(timedelta(hours=1)),
    "day": _of_days(_same_day, _next_day),
    "week": _of_days(_monday, _next_monday),
    "month": _of_days(_first_of_month, _first_of_next_month),
    TOTAL: lambda _zone, _moment: (_EPOCH, None),
}
"""The periods that limits can have; weeks are those of ISO 8601, from Monday. To add one, add a row."""


# --- timezones --------------------------------------------------------------------------------------------------------


def zone_of(timezone: Zone) -> tzinfo:
    """A timezone by its name in the IANA database (``Europe/Paris``), ``local``, or ``UTC``, which ``None`` is, too.

    Raises:
        ConfigurationError: there is no such timezone on this machine.
    """
    if isinstance(timezone, tzinfo):
        return timezone
    if timezone is None or (isinstance(timezone, str) and timezone.upper() in {"UTC", "Z"}):
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only where a timezone has a name

    try:
        if len(timezone) > _MAX_NAME:
            raise ValueError(timezone)
        return _local() if timezone == "local" else ZoneInfo(timezone)
    except (KeyError, ValueError, TypeError, OSError):
        shown = timezone[:_MAX_NAME] if isinstance(timezone, str) else timezone
        raise ConfigurationError(
            f'timezone={shown!r} is not known on this machine; use UTC, local, or a name such as "Europe/Paris" '
            "(where a system has no timezones, pip install tzdata brings them)"
        ) from None


def _local() -> tzinfo:
    """The timezone of this machine with all its changes of the clocks, if its name can be found."""
    from pathlib import Path  # noqa: PLC0415 - only where a timezone has a name
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    name = os.environ.get("TZ", "").removeprefix(":")
    if name:
        return ZoneInfo(name)
    link = Path("/etc/localtime")
    if "zoneinfo/" in (target := os.path.realpath(link)):
        return ZoneInfo(target.rpartition("zoneinfo/")[2])
    if link.exists():
        with link.open("rb") as file:
            return ZoneInfo.from_file(file, "local")
    return datetime.now().astimezone().tzinfo or UTC
