"""Periods and steps of the dashboard, and answers that are kept for a moment."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_client import call, kept

from openai_meter.server.cache import AnswerCache
from openai_meter.server.time_windows import PERIODS, label, starts, window_of

ZONES = st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 3_650 * 86_400).map(lambda seconds: FIRST + timedelta(seconds=seconds))


@given(st.sampled_from(sorted(PERIODS)), ZONES, MOMENTS)
def test_window_ends_now_and_compares_with_the_one_before(period: str, zone: str, now: datetime) -> None:
    """The previous window ends where this one begins, or earlier, and is not longer."""
    window = window_of(period, ZoneInfo(zone), now)
    assert window.until == now
    if window.since is not None:
        assert window.since <= now
        assert window.previous is not None
        began, ended = window.previous
        assert began <= ended <= window.since
        assert ended - began <= now - window.since


@given(st.sampled_from(["minute", "hour", "day"]), ZONES, MOMENTS, st.floats(0, 90), st.data())
def test_every_moment_belongs_to_a_step(step, zone: str, until: datetime, span: float, data) -> None:
    """The steps are in order, and each moment of the span is in one of them, whatever the clocks do."""
    since = until - timedelta(days=span if step == "day" else span / 10 if step == "hour" else span / 100)
    found = starts(step, since, until, ZoneInfo(zone))
    assert found == sorted(set(found))
    labels = {label(step, at, ZoneInfo(zone)) for at in found}
    at = data.draw(st.datetimes(since.replace(tzinfo=None), until.replace(tzinfo=None))).replace(tzinfo=UTC)
    assert at >= until or label(step, at, ZoneInfo(zone)) in labels


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Asia/Kolkata", "Australia/Lord_Howe"])
@pytest.mark.parametrize("step", ["hour", "day", "week", "month"])
def test_step_labels_equal_those_of_a_ledger(step: str, zone: str, tmp_path) -> None:
    """A series finds the rows of a ledger's report: both write times in the same form, when clocks change too."""
    changes = [
        datetime(2026, 10, 24, 22, tzinfo=UTC),
        datetime(2026, 3, 28, 23, tzinfo=UTC),
        datetime(2026, 4, 4, 14, tzinfo=UTC),
    ]
    moments = [at + timedelta(minutes=30 * number) for at in changes for number in range(10)]
    ledger = kept(tmp_path, *(call(started_at=at) for at in moments))
    rows = {row.key[0] for row in ledger.report(step, timezone=zone).rows}
    assert rows == {label(step, at, ZoneInfo(zone)) for at in moments}


def busy(seconds: float) -> object:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return object()


def test_only_slow_answers_are_cached() -> None:
    """An answer that takes time is returned again for a moment; a quick one is made anew."""
    fresh = AnswerCache(60)
    first = fresh.get("dear", lambda: busy(0.2))
    assert fresh.get("dear", lambda: busy(0)) is first
    assert fresh.get("other", lambda: busy(0)) is not fresh.get("other", lambda: busy(0))
    fresh.clear()
    assert fresh.get("dear", lambda: busy(0)) is not first


def test_max_age_zero_caches_nothing() -> None:
    """With a maximum age of 0 everything is made anew, and each failure is raised."""
    fresh = AnswerCache(0)
    assert fresh.get("dear", lambda: busy(0.01)) is not fresh.get("dear", lambda: busy(0.01))
    for keeper in (fresh, AnswerCache(1)):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                keeper.get("broken", lambda: 1 / 0)
