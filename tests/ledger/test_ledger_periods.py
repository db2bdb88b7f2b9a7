"""Time as people name it: moments, timezones, and the periods of those."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")
from hypothesis import given
from hypothesis import strategies as st

from openai_meter import ConfigurationError
from openai_meter.ledger.periods import PERIODS, Span, parse_moment, segments, span_of
from openai_meter.ledger.rows import from_micros, micros

NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)  # a Wednesday
PARIS = ZoneInfo("Europe/Paris")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "begin", "end"),
    [
        ("today", utc(2026, 3, 4), utc(2026, 3, 5)),
        ("yesterday", utc(2026, 3, 3), utc(2026, 3, 4)),
        ("7d", utc(2026, 2, 26), utc(2026, 2, 26)),
        ("1d", utc(2026, 3, 4), utc(2026, 3, 4)),
        ("2w", utc(2026, 2, 19), utc(2026, 2, 19)),
        ("12h", utc(2026, 3, 4, 3, 30), utc(2026, 3, 4, 3, 30)),
        ("now", NOW, NOW),
        ("2026-02", utc(2026, 2, 1), utc(2026, 3, 1)),
        ("2025-12", utc(2025, 12, 1), utc(2026, 1, 1)),
        ("2026-W01", utc(2025, 12, 29), utc(2026, 1, 5)),
        ("2026-02-28", utc(2026, 2, 28), utc(2026, 3, 1)),
        ("20260228", utc(2026, 2, 28), utc(2026, 3, 1)),
        (date(2026, 2, 28), utc(2026, 2, 28), utc(2026, 3, 1)),
        ("2026-02-28T06:30", utc(2026, 2, 28, 6, 30), utc(2026, 2, 28, 6, 30)),
        ("2026-02-28T06:30+01:00", utc(2026, 2, 28, 5, 30), utc(2026, 2, 28, 5, 30)),
        (utc(2026, 2, 28, 6, 30), utc(2026, 2, 28, 6, 30), utc(2026, 2, 28, 6, 30)),
        (datetime(2026, 2, 28, 6, 30), utc(2026, 2, 28, 6, 30), utc(2026, 2, 28, 6, 30)),  # noqa: DTZ001
        (None, None, None),
    ],
)
def test_dates_and_durations_are_parsed_as_moments(value: object, begin: datetime | None, end: datetime | None) -> None:
    """A date begins with its day and ends with it; a duration is the same moment as a start and as an end."""
    assert parse_moment("since", value, UTC, NOW) == begin
    assert parse_moment("until", value, UTC, NOW, end=True) == end


def test_day_of_a_moment_depends_on_the_timezone() -> None:
    """Where the clocks are ahead, a day begins earlier, and it can be another day already."""
    late = utc(2026, 3, 4, 23, 30)
    assert parse_moment("since", "today", PARIS, late) == utc(2026, 3, 4, 23)
    assert parse_moment("since", "2026-07-01", PARIS, late) == utc(2026, 6, 30, 22)
    assert parse_moment("since", "2026-07-01T12:00", PARIS, late) == utc(2026, 7, 1, 10)
    # Clocks go from 23:59 to 1:00 there: the day begins with the change.
    assert parse_moment("since", "2018-11-04", ZoneInfo("America/Sao_Paulo"), late) == utc(2018, 11, 4, 3)


@pytest.mark.parametrize("value", ["", "x", "0d", "7", "7m", "2026-13", "2026-02-30", "2026-W60", "7 days", 7, b"7d"])
def test_wrong_time_raises(value: object) -> None:
    """The error has the text that was not understood, and the forms that are."""
    with pytest.raises(ConfigurationError, match=r"since=.* is not a time; use a date"):
        parse_moment("since", value, UTC, NOW)


def test_span_with_end_before_start_raises() -> None:
    """The end of a span is not before its start; a single day is a span."""
    assert span_of("2026-03-01", "2026-03-01", UTC, NOW) == Span(utc(2026, 3, 1), utc(2026, 3, 2))
    with pytest.raises(ConfigurationError, match="is not after since"):
        span_of("2026-03-02", "2026-03-01", UTC, NOW)


ZONES = ["Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]


@given(st.sampled_from(ZONES), st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1)), st.integers(0, 600))  # noqa: DTZ001
def test_periods_match_the_calendar(name: str, at: datetime, days: int) -> None:
    """Integer arithmetic alone gives the local hour, day, week and month of a moment, whatever the clocks
    did before."""
    zone, at = ZoneInfo(name), at.replace(tzinfo=UTC)
    found = segments(zone, at - timedelta(days=days), at + timedelta(days=600 - days))
    offset = next(one.offset for one in found if one.until is None or micros(at) < one.until)
    local = at.astimezone(zone)
    iso = local.isocalendar()
    expected = {
        "hour": f"{local:%Y-%m-%d %H}:00{local:%z}",
        "day": f"{local:%Y-%m-%d}",
        "week": f"{iso.year}-W{iso.week:02}",
        "month": f"{local:%Y-%m}",
    }
    value = {name: one.label((micros(at) + offset) // one.unit, offset) for name, one in PERIODS.items()}
    assert value == expected


def test_fixed_offset_makes_one_segment() -> None:
    """A timezone without changes is one segment; with them, each change begins another."""
    year = utc(2026, 1, 1), utc(2027, 1, 1)
    assert [one.until for one in segments(timezone(timedelta(hours=3)), *year)] == [None]
    changes = [from_micros(one.until) for one in segments(PARIS, *year) if one.until is not None]
    assert changes == [utc(2026, 3, 29, 1), utc(2026, 10, 25, 1)]
