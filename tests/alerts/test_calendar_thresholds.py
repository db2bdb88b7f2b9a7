"""Limits of a minute, an hour, a day, a week or a month: each window of the calendar begins at zero."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter import Call, ConfigurationError, Threshold, Usage
from openai_meter.alerts import ThresholdMonitor, ThresholdUsage
from openai_meter.alerts.threshold import CALENDAR
from openai_meter.core.calendar_windows import CALENDAR_PERIODS, TOTAL, calendar_window, zone_of

DOLLAR = 10**12
CALL = Call(
    "id", datetime(2026, 10, 24, 12, tzinfo=UTC), 0.0, "responses", "openai", "m", "m", "ok", Usage(1, 2, 3), "api",
    cost_pico=DOLLAR, cost_status="priced",
)  # fmt: skip


def at(text: str, **more: Any) -> Call:
    """A call of one dollar that ends at a time in UTC."""
    return replace(CALL, started_at=datetime.fromisoformat(text).replace(tzinfo=UTC), **more)


def clock(text: str) -> Callable[[], float]:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp


def rings(threshold: Threshold, *times: str) -> list[bool]:
    """Whether each call of one dollar raises an alert."""
    watching = ThresholdMonitor([threshold])
    return [bool(watching.record(at(time))) for time in times]


def test_month_of_a_timezone_begins_at_its_midnight() -> None:
    """In Paris, November begins at 23:00 UTC: the clocks went back a week before."""
    limit = Threshold("cost", 1, window="month", timezone="Europe/Paris")
    assert rings(limit, "2026-10-31 22:59:58", "2026-10-31 22:59:59", "2026-10-31 23:00", "2026-10-31 23:01") == [
        False, True, False, True,
    ]  # fmt: skip


def test_day_has_the_length_that_its_clocks_give_it() -> None:
    """The day on which the clocks go back has 25 hours, and the whole of it is one window."""
    limit = Threshold("cost", "2.5", window="day", timezone="Europe/Paris")
    assert rings(limit, "2026-10-24 22:00", "2026-10-25 22:30", "2026-10-25 22:59", "2026-10-25 23:00") == [
        False, False, True, False,
    ]  # fmt: skip


def test_limit_raises_one_alert_in_each_window() -> None:
    """A limit that stays exceeded is one alert; in the next window it is another one."""
    limit = Threshold("calls", 1, window="hour")
    watching = ThresholdMonitor([limit], clock=clock("2026-10-24 13:01"))
    alerts = [watching.record(at(f"2026-10-24 {time}")) for time in ("12:00", "12:01", "12:02", "13:00", "13:01")]
    assert [len(found) for found in alerts] == [0, 1, 0, 0, 1]
    (first,), (second,) = alerts[1], alerts[4]
    assert first.id != second.id
    assert [alert.id for alert in watching.current()] == [second.id]


def test_value_is_zero_when_the_next_window_has_begun() -> None:
    """Without another call."""
    limit = Threshold("cost", 5, window="day")
    watching = ThresholdMonitor([limit], clock=clock("2026-10-24 23:59:59"))
    watching.record(at("2026-10-24 08:00"))
    (before,) = watching.usage()
    assert (before.used, before.share, before.resets_at) == (1, 0.2, datetime(2026, 10, 25, tzinfo=UTC))
    watching._clock = clock("2026-10-25 00:00")
    (after,) = watching.usage()
    assert (after.used, after.share, after.resets_at) == (0, 0, datetime(2026, 10, 26, tzinfo=UTC))


def test_call_is_in_the_window_in_which_it_ended() -> None:
    """A call of ten minutes that ends after midnight counts on the new day."""
    limit = Threshold("cost", "0.5", window="day")
    watching = ThresholdMonitor([limit], clock=clock("2026-10-25 00:06"))
    watching.record(at("2026-10-24 23:55", duration=600.0))
    assert [alert.value for alert in watching.current()] == [1]


def test_price_after_the_end_of_a_window_changes_no_window() -> None:
    """The new price of a call of the last window does not change this one."""
    limit = Threshold("cost", "0.5", window="day")
    watching = ThresholdMonitor([limit])
    before = at("2026-10-24 12:00", cost_pico=None, cost_status="unpriced")
    watching.record(before)
    assert [alert.value for alert in watching.repriced(before, at("2026-10-24 12:00"))] == [1]
    watching = ThresholdMonitor([limit])
    watching.record(before)
    watching.record(at("2026-10-25 12:00", cost_pico=0))
    assert watching.repriced(before, at("2026-10-24 12:00")) == ()


@pytest.mark.parametrize("window", CALENDAR)
def test_alerts_name_the_window(window: str) -> None:
    """The sentence of an alert names the minute, hour, day, week or month, in each language."""
    (alert,) = ThresholdMonitor([Threshold("cost", "0.5", window=window)]).record(CALL)
    english = {"day": "today"}.get(window, f"this {window}")
    assert alert.message("en") == f"💰 Alert: Cost of $1.00 {english} (limit: $0.50)"
    french = {
        "minute": "cette minute", "hour": "cette heure", "day": "aujourd'hui", "week": "cette semaine",
        "month": "ce mois-ci",
    }  # fmt: skip
    assert french[window] in alert.message("fr")
    assert (alert.window, alert.to_dict("en")["window"]) == (window, window)


def test_use_of_a_limit_survives_json() -> None:
    """The use of a limit keeps its window, its timezone and the end of the window through JSON."""
    limit = Threshold("cost", 4, per="agent", window="month", timezone="Europe/Paris")
    watching = ThresholdMonitor([limit], clock=clock("2026-10-24 12:00"))
    watching.record(replace(CALL, agent="a"))
    (usage,) = watching.usage()
    plain = usage.to_dict()
    assert plain == {
        "name": "cost", "per": "agent", "key": "a", "window": "month", "timezone": "Europe/Paris",
        "resets_at": "2026-10-31T23:00:00+00:00", "used": "1", "limit": "4", "share": 0.25, "passed": False,
        "at_least": False,
    }  # fmt: skip
    assert ThresholdUsage.from_dict(json.loads(json.dumps(plain))) == usage


def test_windows_of_thresholds_are_those_of_the_calendar() -> None:
    """A threshold has each window of the calendar but the one without an end, which is None."""
    assert set(CALENDAR) == set(CALENDAR_PERIODS) - {TOTAL}
    assert Threshold("cost", 1, window="day") == Threshold("cost", 1, window="day", timezone="UTC")
    assert Threshold("cost", 1, window="day").calendar_window == "day"
    assert Threshold("cost", 1, window=60).calendar_window is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": "fortnight"}, "window='fortnight' is not a duration; .* one of minute, hour, day, week, month"),
        ({"window": "total"}, "window='total' is not a duration"),
        ({"window": "day", "timezone": "Mars"}, "timezone='Mars' is not known on this machine"),
        ({"window": "day", "timezone": 1}, "timezone=1 is not a name"),
        ({"window": 60, "timezone": "UTC"}, "timezone='UTC' is for windows by the calendar"),
        ({"timezone": "UTC"}, "leave it out"),
    ],
)
def test_wrong_windows_are_refused(arguments: dict[str, Any], message: str) -> None:
    """The error has the value and the remedy."""
    with pytest.raises(ConfigurationError, match=message):
        Threshold("cost", 1, **arguments)


@given(
    st.sampled_from(CALENDAR),
    st.sampled_from(["UTC", "Europe/Paris", "Asia/Kolkata", "Australia/Lord_Howe"]),
    st.integers(1, 4),
    st.lists(st.integers(0, 4 * 24 * 60), max_size=40).map(sorted),
)
def test_calendar_alerts_equal_those_of_a_naive_model(period: str, zone: str, limit: int, minutes: list[int]) -> None:
    """An alert comes when the calls of a window first exceed the limit, with their number."""
    watching = ThresholdMonitor([Threshold("calls", limit, window=period, timezone=zone)])
    start = datetime(2026, 10, 23, 9, 30, tzinfo=UTC)  # Paris changes its clocks two days later
    counted: dict[datetime, int] = {}
    for minute in minutes:
        moment = start + timedelta(minutes=minute)
        window = calendar_window(period, zone_of(zone), moment).start
        counted[window] = counted.get(window, 0) + 1
        values = [alert.value for alert in watching.record(replace(CALL, started_at=moment))]
        assert values == ([limit + 1] if counted[window] == limit + 1 else [])


def test_limits_of_different_windows_do_not_share_sums() -> None:
    """A day in Paris and a day in UTC are two windows."""
    limits = [Threshold("cost", Decimal("1.5"), window="day", timezone=zone) for zone in ("UTC", "Europe/Paris")]
    watching = ThresholdMonitor(limits)
    found = [watching.record(at(time)) for time in ("2026-10-24 21:00", "2026-10-24 22:30", "2026-10-25 00:30")]
    assert [[alert.threshold.timezone for alert in alerts] for alerts in found] == [[], ["UTC"], ["Europe/Paris"]]
