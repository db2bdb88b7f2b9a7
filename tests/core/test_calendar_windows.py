"""Each moment is in exactly one window of each period, in every timezone, whatever its clocks do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter.core.calendar_windows import CALENDAR_PERIODS, CalendarWindow, calendar_window, day_start, zone_of
from openai_meter.errors import ConfigurationError

PARIS = ZoneInfo("Europe/Paris")
MICROSECOND, MINUTE, HOUR, DAY = (timedelta(**{name: 1}) for name in ("microseconds", "minutes", "hours", "days"))
TIMED = tuple(name for name in CALENDAR_PERIODS if name != "total")


def bounds(period: str, zone: tzinfo, moment: datetime) -> tuple[str, str]:
    """The start and end of a window in its local time, without the seconds."""
    window = calendar_window(period, zone, moment)
    assert window.end is not None
    start, end = (at.astimezone(zone).isoformat(" ", "minutes") for at in (window.start, window.end))
    return start, end


@pytest.mark.parametrize(
    ("period", "zone", "moment", "start", "end"),
    [
        ("minute", "UTC", "2026-02-28 23:59:59.999999", "2026-02-28 23:59+00:00", "2026-03-01 00:00+00:00"),
        ("hour", "UTC", "2026-02-28 23:59:59", "2026-02-28 23:00+00:00", "2026-03-01 00:00+00:00"),
        ("hour", "Asia/Kathmandu", "2026-01-01 00:00", "2026-01-01 05:00+05:45", "2026-01-01 06:00+05:45"),
        ("day", "Asia/Kathmandu", "2025-12-31 18:15", "2026-01-01 00:00+05:45", "2026-01-02 00:00+05:45"),
        ("day", "Asia/Kathmandu", "2025-12-31 18:14:59", "2025-12-31 00:00+05:45", "2026-01-01 00:00+05:45"),
        # Paris: 23 hours on 2026-03-29, 25 hours on 2026-10-25, and its second hour of two o'clock.
        ("day", "Europe/Paris", "2026-03-29 12:00", "2026-03-29 00:00+01:00", "2026-03-30 00:00+02:00"),
        ("day", "Europe/Paris", "2026-10-25 12:00", "2026-10-25 00:00+02:00", "2026-10-26 00:00+01:00"),
        ("hour", "Europe/Paris", "2026-03-29 00:59", "2026-03-29 01:00+01:00", "2026-03-29 03:00+02:00"),
        ("hour", "Europe/Paris", "2026-10-25 00:30", "2026-10-25 02:00+02:00", "2026-10-25 02:00+01:00"),
        ("hour", "Europe/Paris", "2026-10-25 01:30", "2026-10-25 02:00+01:00", "2026-10-25 03:00+01:00"),
        ("week", "Europe/Paris", "2026-03-29 12:00", "2026-03-23 00:00+01:00", "2026-03-30 00:00+02:00"),
        ("month", "Europe/Paris", "2026-03-29 12:00", "2026-03-01 00:00+01:00", "2026-04-01 00:00+02:00"),
        ("month", "Europe/Paris", "2026-02-28 22:59:59", "2026-02-01 00:00+01:00", "2026-03-01 00:00+01:00"),
        ("month", "Europe/Paris", "2026-02-28 23:00", "2026-03-01 00:00+01:00", "2026-04-01 00:00+02:00"),
        # Ends of months and years; the weeks of ISO 8601 cross them.
        ("month", "UTC", "2028-02-29 23:59", "2028-02-01 00:00+00:00", "2028-03-01 00:00+00:00"),
        ("month", "UTC", "2026-12-31 23:59", "2026-12-01 00:00+00:00", "2027-01-01 00:00+00:00"),
        ("week", "UTC", "2027-01-01 00:00", "2026-12-28 00:00+00:00", "2027-01-04 00:00+00:00"),
        ("week", "UTC", "2026-11-29 23:59", "2026-11-23 00:00+00:00", "2026-11-30 00:00+00:00"),
        ("week", "UTC", "2026-11-30 00:00", "2026-11-30 00:00+00:00", "2026-12-07 00:00+00:00"),
        # The clocks go forward at midnight: the day begins at one o'clock, and so can a month.
        ("day", "America/Santiago", "2026-09-06 12:00", "2026-09-06 01:00-03:00", "2026-09-07 00:00-03:00"),
        ("day", "Africa/Cairo", "2026-04-24 12:00", "2026-04-24 01:00+03:00", "2026-04-25 00:00+03:00"),
        ("month", "America/Asuncion", "2000-10-01 12:00", "2000-10-01 01:00-03:00", "2000-11-01 00:00-03:00"),
        # They go back from midnight: the hour before is there twice, and belongs to the day before both times.
        ("day", "America/Santiago", "2026-04-05 03:30", "2026-04-04 00:00-03:00", "2026-04-05 00:00-04:00"),
        ("day", "America/Nuuk", "2026-10-25 01:30", "2026-10-24 00:00-01:00", "2026-10-25 00:00-02:00"),
        # They go back to midnight: the day has two, and begins with the first.
        ("day", "America/Havana", "2026-11-01 05:30", "2026-11-01 00:00-04:00", "2026-11-02 00:00-05:00"),
        # They go back over midnight, one minute after it: the new day has begun.
        ("day", "America/St_Johns", "2010-11-07 02:45", "2010-11-07 00:00-02:30", "2010-11-08 00:00-03:30"),
        # They go forward over midnight, half an hour before it: the day begins at half past twelve.
        ("day", "America/Toronto", "1919-03-31 12:00", "1919-03-31 00:30-04:00", "1919-04-01 00:00-04:00"),
        # A date that a country skipped: the day before it ends where the day after it begins.
        ("day", "Pacific/Apia", "2011-12-30 09:59", "2011-12-29 00:00-10:00", "2011-12-31 00:00+14:00"),
        ("day", "Pacific/Apia", "2011-12-30 10:00", "2011-12-31 00:00+14:00", "2012-01-01 00:00+14:00"),
        # Half an hour forward and back: an hour ends where the clocks change.
        ("hour", "Australia/Lord_Howe", "2026-04-04 14:59", "2026-04-05 01:00+11:00", "2026-04-05 01:30+10:30"),
        ("hour", "Australia/Lord_Howe", "2026-04-04 15:10", "2026-04-05 01:30+10:30", "2026-04-05 02:00+10:30"),
        ("hour", "Australia/Lord_Howe", "2026-10-03 15:45", "2026-10-04 02:30+11:00", "2026-10-04 03:00+11:00"),
    ],
)  # fmt: skip
def test_windows_at_the_changes_of_clocks_and_calendars(period, zone, moment, start, end):
    """A window has the start and the end that the clocks and the calendar of its timezone give it."""
    assert bounds(period, zone_of(zone), datetime.fromisoformat(moment).replace(tzinfo=UTC)) == (start, end)


def test_total_is_one_window_without_an_end():
    """The period ``total`` has one window in every timezone; all moments since 1970 are in it."""
    window = calendar_window("total", PARIS, datetime.now(UTC))
    assert window == CalendarWindow("total", datetime(1970, 1, 1, tzinfo=UTC), None)
    assert datetime(1970, 1, 1, tzinfo=UTC) in window
    assert datetime(9999, 12, 31, tzinfo=UTC) in window


def test_window_contains_its_start_and_not_its_end():
    """``in`` tests moments of any offset; what is not a moment is not in a window."""
    window = calendar_window("day", PARIS, datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert window.start in window
    assert window.start.astimezone(PARIS) in window
    assert window.end - MICROSECOND in window
    assert window.end not in window
    assert window.start - MICROSECOND not in window
    assert "day" not in window


def test_window_does_not_depend_on_the_offset_of_a_moment():
    """The window depends on the moment, not on the offset that it is written with."""
    moment = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=9)))
    for period in TIMED:
        assert calendar_window(period, PARIS, moment) == calendar_window(period, PARIS, moment.astimezone(UTC))


@pytest.mark.parametrize("period", ["fortnight", "Day", "", None, 3, ["day"]])
def test_wrong_period_is_refused_with_those_that_exist(period):
    """The error names the value and the periods."""
    with pytest.raises(ConfigurationError, match="is not a period; use one of minute, hour, day, week, month, total"):
        calendar_window(period, UTC, datetime.now(UTC))


def test_timezones_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are those of the IANA database; ``local`` is the zone of the machine."""
    assert zone_of(None) is zone_of("utc") is zone_of("UTC") is UTC
    assert zone_of("Europe/Paris") == PARIS
    assert zone_of(PARIS) is PARIS
    monkeypatch.setenv("TZ", "Europe/Paris")
    assert zone_of("local") == PARIS
    for wrong in ("Europe/Nowhere", "../etc/passwd", "", "a" * 1_000, 3):
        with pytest.raises(ConfigurationError, match="is not known on this machine") as caught:
            zone_of(wrong)
        assert len(str(caught.value)) < 300


# --- all timezones ----------------------------------------------------------------------------------------------------


@cache
def changes() -> dict[str, tuple[datetime, ...]]:
    """The moments in 2026 and 2027 at which the clocks of each timezone change, found by looking, to the second."""
    days = [datetime(2026, 1, 1, tzinfo=UTC) + DAY * number for number in range(2 * 365)]
    return {name: tuple(_changes(ZoneInfo(name), days)) for name in sorted(available_timezones())}


def _changes(zone: ZoneInfo, days: list[datetime]) -> Iterator[datetime]:
    offsets = [zone.utcoffset(day.replace(tzinfo=None)) for day in days]
    for (low, before), (high, after) in pairwise(zip(days, offsets, strict=True)):
        if before != after:
            low, high = low - DAY, high + DAY
            first = low.astimezone(zone).utcoffset()
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                low, high = (middle, high) if middle.astimezone(zone).utcoffset() == first else (low, middle)
            yield high.replace(microsecond=0)


def check_window(period: str, zone: tzinfo, moment: datetime) -> CalendarWindow:
    """What holds of every window with an end."""
    window = calendar_window(period, zone, moment)
    start, end = window.start, window.end
    assert end is not None
    assert moment in window
    assert calendar_window(period, zone, start) == calendar_window(period, zone, end - MICROSECOND) == window
    assert calendar_window(period, zone, end).start == end
    assert calendar_window(period, zone, start - MICROSECOND).end == start
    return window


def test_windows_of_all_timezones_follow_each_other_at_changes_of_the_clocks():
    """Just before and after each change of each timezone, windows have no gap and no overlap, and days their dates."""
    checked = 0
    for name, moments in changes().items():
        zone = ZoneInfo(name)
        for moment in moments:
            checked += 1
            for at in (moment - MICROSECOND, moment):
                for period in ("minute", "hour", "day", "month"):
                    check_window(period, zone, at)
            day = check_window("day", zone, moment)
            assert day.start == first_moment_of(day.start.astimezone(zone).date(), zone, day.start)
            assert day.end - day.start in {
                DAY - HOUR,
                DAY,
                DAY + HOUR,
                DAY - HOUR / 2,
                DAY + HOUR / 2,
                DAY - 2 * HOUR,
                DAY + 2 * HOUR,
            }
    assert checked > 100


def first_moment_of(day: date, zone: tzinfo, near: datetime) -> datetime:
    """The first moment with that local date or a later one, found by looking at each quarter of an hour."""
    at = near - 27 * HOUR
    while at.astimezone(zone).date() < day:
        at += HOUR / 4
    return at


def test_days_of_a_year_add_up_in_every_timezone():
    """The days of 2026 are 365 in each timezone with changing clocks, each begins where the one before it ends."""
    for name in [name for name, moments in changes().items() if moments][::7]:
        zone = ZoneInfo(name)
        window = calendar_window("day", zone, datetime(2026, 1, 1, 12, tzinfo=UTC) - DAY)
        dates = []
        while (day := window.start.astimezone(zone).date()).year < 2027:
            dates.append(day)
            window = calendar_window("day", zone, window.end)
        assert dates == [dates[0] + DAY * number for number in range(len(dates))]


ZONES = [
    "UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns",
    "Africa/Cairo", "Pacific/Apia", "America/Havana", "America/Nuuk", "Antarctica/Troll", "Africa/Casablanca",
]  # fmt: skip


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    st.sampled_from(TIMED),
)
def test_windows_have_no_gap_and_no_overlap(name: str, at: datetime, period: str) -> None:
    """At any moment, the window contains it and its neighbours touch it; weeks begin on Mondays."""
    zone, moment = zone_of(name), at.replace(tzinfo=UTC)
    window = check_window(period, zone, moment)
    assert window.end is not None
    lengths = {"minute": MINUTE, "hour": HOUR, "day": 2 * DAY, "week": 8 * DAY, "month": 32 * DAY}
    assert window.end - window.start <= lengths[period]
    local = window.start.astimezone(zone)
    if period == "week":
        assert local.weekday() == 0
    if period == "month":
        assert local.day == 1


@given(st.sampled_from(ZONES), st.dates(date(1971, 1, 1), date(2100, 1, 1)))
def test_each_day_starts_once(name: str, day: date) -> None:
    """Starts of days are in the order of the days; just before the start the local date is an earlier one."""
    zone = zone_of(name)
    start = day_start(day, zone)
    assert start <= day_start(day + DAY, zone)
    assert start.astimezone(zone).date() >= day
    assert (start - MICROSECOND).astimezone(zone).date() < day
