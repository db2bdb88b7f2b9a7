"""Times as people write them (``7d``, ``today``, a date), and days, weeks and months of a timezone.

A period of a timezone has the length that the clocks there give it: a day can have 23 or 25 hours. In SQL a moment
falls into a period by whole numbers alone, since between two changes of the clocks (:func:`segments`) the local time
is the UTC time and an offset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from openai_meter.core.calendar_windows import day_start
from openai_meter.errors import ConfigurationError
from openai_meter.ledger.rows import from_micros, micros

__all__ = ["PERIODS", "Segment", "Span", "parse_moment", "segments", "span_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000

Moment = str | date | datetime | None
"""How a time may be given; see :func:`parse_moment`."""


# --- changes of the clocks --------------------------------------------------------------------------------------------


class Segment(NamedTuple):
    """A period of time with one UTC offset."""

    until: int | None
    """Where it ends, in microseconds since 1970; ``None`` for the last one."""
    offset: int
    """How far the local time is ahead of UTC, in microseconds."""


def segments(zone: tzinfo, since: datetime, until: datetime) -> tuple[Segment, ...]:
    """The segments from ``since`` to ``until``, in order; one if the clocks are not changed in between."""
    found: list[Segment] = []
    at, offset = since, _offset(zone, since)
    while at < until:
        after = min(at + 7 * _DAY, until)
        if _offset(zone, after) != offset:
            change = _change(zone, micros(at), micros(after))
            found.append(Segment(change, offset // _MICROSECOND))
            after = from_micros(change)
            offset = _offset(zone, after)
        at = after
    return (*found, Segment(None, offset // _MICROSECOND))


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _change(zone: tzinfo, low: int, high: int) -> int:
    """The first moment after ``low`` with another offset; ``high`` has one."""
    before = _offset(zone, from_micros(low))
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, from_micros(middle)) == before:
            low = middle
        else:
            high = middle
    return high


# --- periods ----------------------------------------------------------------------------------------------------------


class Period(NamedTuple):
    """One length of time that reports can group by."""

    unit: int
    """Local microseconds are divided by this in SQL."""
    label: Callable[[int, int], str]
    """The name of the period that a quotient falls into, given the offset too (in microseconds)."""


def _date(day: int) -> date:
    return _EPOCH.date() + timedelta(days=day)


def _hour(number: int, offset: int) -> str:
    # The offset keeps the two hours apart that have the same name when the clocks go back.
    ahead = "" if not offset else f"{_EPOCH.replace(tzinfo=_fixed(offset)):%z}"
    return f"{_date(number // 24).isoformat()} {number % 24:02}:00{ahead}"


def _fixed(offset: int) -> tzinfo:
    from datetime import timezone  # noqa: PLC0415 - the name is that of an argument everywhere else here

    return timezone(timedelta(microseconds=offset))


def _day(number: int, _: int) -> str:
    return _date(number).isoformat()


def _week(number: int, _: int) -> str:
    year, week, _day = _date(number).isocalendar()
    return f"{year}-W{week:02}"


def _month(number: int, _: int) -> str:
    return f"{_date(number):%Y-%m}"


PERIODS: Mapping[str, Period] = {
    "hour": Period(HOUR_US, _hour),
    "day": Period(DAY_US, _day),
    "week": Period(DAY_US, _week),
    "month": Period(DAY_US, _month),
}
"""The periods that reports from history can group by; weeks are those of ISO 8601. To add one, add a row."""


# --- moments ----------------------------------------------------------------------------------------------------------

_AGO = re.compile(r"(\d{1,5}) *([hdw])", re.IGNORECASE)
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_WEEK = re.compile(r"(\d{4})-W(\d{2})", re.IGNORECASE)
_WAYS = 'a date (2026-10-31), a month (2026-10), a time (2026-10-31T18:00), "7d", "12h", "4w", "today" or "yesterday"'


class Span(NamedTuple):
    """From ``since`` until before ``until``, both in UTC; ``None`` is open."""

    since: datetime | None
    until: datetime | None


def span_of(since: Moment, until: Moment, zone: tzinfo, now: datetime | None = None) -> Span:
    """The span between two times.

    Raises:
        ConfigurationError: one of them is not a time, or the second is not after the first.
    """
    now = now or datetime.now(UTC)
    start, end = parse_moment("since", since, zone, now), parse_moment("until", until, zone, now, end=True)
    if start is not None and end is not None and end <= start:
        raise ConfigurationError(f"until={until!r} is not after since={since!r}; a date ends with its day")
    return Span(start, end)


def parse_moment(name: str, value: Moment, zone: tzinfo, now: datetime, *, end: bool = False) -> datetime | None:
    """The time in UTC that a value stands for: :data:`_WAYS`, or a ``date`` or ``datetime``.

    A date begins with its day, and as the ``end`` of something ends with it; so do weeks and months. ``7d`` is the
    start of the sixth day before today: seven days with today. ``7d`` as an ``end`` is that same start. A time without
    an offset is in ``zone``.

    Raises:
        ConfigurationError: it is not a time.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=zone)).astimezone(UTC)
    if isinstance(value, date):
        return day_start(value + _DAY * end, zone)
    try:
        found = _parse(value.strip(), zone, now, end=end) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise ConfigurationError(f"{name}={value!r} is not a time; use {_WAYS}")
    return found


def _parse(text: str, zone: tzinfo, now: datetime, *, end: bool) -> datetime | None:
    today = now.astimezone(zone).date()
    if (word := text.lower()) == "now":
        return now
    if word in {"today", "yesterday"}:
        return day_start(today - _DAY * (word == "yesterday") + _DAY * end, zone)
    if ago := _AGO.fullmatch(text):
        number, unit = int(ago[1]), ago[2].lower()
        if unit == "h":
            return now - timedelta(hours=number)
        days = number * (7 if unit == "w" else 1)
        return day_start(today - _DAY * (days - 1), zone) if days else None
    if month := _MONTH.fullmatch(text):
        first = date(int(month[1]), int(month[2]), 1)
        return day_start(_next_month(first) if end else first, zone)
    if week := _WEEK.fullmatch(text):
        return day_start(date.fromisocalendar(int(week[1]), int(week[2]), 1) + 7 * _DAY * end, zone)
    if len(text) == 8 or (len(text) == 10 and text[4] == "-"):  # 20261031 and 2026-10-31 are whole days
        return day_start(date.fromisoformat(text) + _DAY * end, zone)
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).astimezone(UTC)


def _next_month(first: date) -> date:
    return (first.replace(day=28) + 4 * _DAY).replace(day=1)
