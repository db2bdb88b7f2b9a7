"""Limits of a ledger: how much of each is used by the calls of all processes, window by window."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")
from ledgers import Database, call

from openai_meter import Call, Threshold
from openai_meter.core.calendar_windows import calendar_window, zone_of
from openai_meter.core.call import new_call_id
from openai_meter.ledger.limits import limit_usage

NOW = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)  # in Paris it is November
DOLLAR = 10**12


def made(at: datetime | str, cost: Any = DOLLAR, **more: Any) -> Call:
    """A call of one dollar that began at a time."""
    if isinstance(at, str):
        at = datetime.fromisoformat(at).replace(tzinfo=UTC)
    status = "unpriced" if cost is None else "priced"
    values = {"agent": None, "user": None, "model": "gpt-5-mini", "status": "ok", "cost_estimated": False}
    return call(started_at=at, id=new_call_id(at.timestamp()), cost_pico=cost, cost_status=status, **values | more)


def test_each_limit_counts_the_calls_of_its_window(database: Database) -> None:
    """Days and months of two timezones, a rolling hour, and all calls: each has its own sum, in dollars and calls."""
    ledger = database.ledger()
    times = ["2026-09-30 22:30", "2026-10-01 10:00", "2026-10-31 22:20", "2026-10-31 23:10", "2026-10-31 23:29"]
    ledger.import_calls([made(time) for time in times])
    usages = limit_usage(
        ledger,
        [
            "cost=5/month",
            Threshold("cost", 5, window="month", timezone="Europe/Paris"),
            Threshold("calls", 2, window="day", timezone="America/New_York"),
            Threshold("calls", 2, window=3600),
            "cost=5/total",
            "tokens=1000/hour",
        ],
        now=NOW,
    )
    assert [(one.used, one.passed) for one in usages] == [
        (4, False), (2, False), (3, True), (2, False), (5, False), (2040, True),
    ]  # fmt: skip
    assert [one.resets_at and one.resets_at.isoformat() for one in usages] == [
        "2026-11-01T00:00:00+00:00", "2026-11-30T23:00:00+00:00", "2026-11-01T04:00:00+00:00", None, None,
        "2026-11-01T00:00:00+00:00",
    ]  # fmt: skip
    assert [one.share for one in usages][:2] == [0.8, 0.4]
    ledger.close()


@pytest.mark.parametrize("period", ["minute", "hour", "day", "week", "month"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Asia/Kathmandu", "America/St_Johns"])
def test_value_of_a_limit_is_the_exact_sum_of_its_window(database: Database, period: str, zone: str) -> None:
    """From the sums per day and from single calls alike, the value is exact, just after and before a window turns."""
    ledger = database.ledger()
    turn = calendar_window(period, zone_of(zone), NOW).start
    times = [turn + timedelta(seconds=second) for second in (-86_400, -1, 0, 1, 59)] + [turn - timedelta(days=40)]
    calls = [made(at, cost=DOLLAR + number) for number, at in enumerate(times)]
    ledger.import_calls(calls)
    for now in (turn, turn + timedelta(seconds=59)):
        window = calendar_window(period, zone_of(zone), now)
        counted = sum(one.cost_pico for one in calls if one.started_at in window)
        (usage,) = limit_usage(ledger, [Threshold("cost", 9, window=period, timezone=zone)], now=now)
        assert usage.used == Decimal(counted) / DOLLAR
    ledger.close()


def test_limit_per_user_shows_the_user_with_the_most(database: Database) -> None:
    """Calls without a user are not limited; a limit without a call of any user is left out."""
    ledger = database.ledger()
    ledger.import_calls(
        [made(NOW), made(NOW), made(NOW), made(NOW, user="a"), made(NOW, user="b"), made(NOW, user="b")]
    )
    usages = limit_usage(ledger, ["cost=1/day/user", "cost=1/day/agent", "calls=9/total/model"], now=NOW)
    assert [(one.key, one.used, one.passed) for one in usages] == [("b", 2, True), ("gpt-5-mini", 6, False)]
    ledger.close()


def test_calls_without_a_price_make_the_value_a_lower_bound(database: Database) -> None:
    """An unknown cost is not 0: the value is at least the known cost; for tokens, calls of unknown size do the same."""
    ledger = database.ledger()
    unknown = replace(made(NOW, cost=None), usage=type(made(NOW).usage)())
    ledger.import_calls([made(NOW), unknown])
    usages = limit_usage(ledger, ["cost=5", "tokens=5000", "calls=5"], now=NOW)
    assert [(one.used, one.at_least) for one in usages] == [(1, True), (1020, True), (2, False)]
    ledger.close()


def test_window_that_begins_in_a_pruned_day_has_a_lower_bound(database: Database) -> None:
    """Only whole days in UTC are left of pruned calls; a month of Paris begins within one."""
    ledger = database.ledger()
    ledger.import_calls([made("2026-09-30 23:00"), made("2026-10-01 12:00"), made("2026-10-20 12:00")])
    ledger.prune("2026-10-10")
    paris = Threshold("cost", 5, window="month", timezone="Europe/Paris")
    usages = limit_usage(ledger, [paris, "cost=5/month"], now=datetime(2026, 10, 25, tzinfo=UTC))
    assert [(one.used, one.at_least) for one in usages] == [(2, True), (2, False)]
    ledger.close()


def test_limits_of_an_empty_ledger_are_at_zero(database: Database) -> None:
    """The value is 0, and is known."""
    ledger = database.ledger()
    usages = ledger.threshold_usage("cost=5/month", "calls=5/day/user", Threshold("errors", 1), timezone="Europe/Paris")
    assert [(one.used, one.share, one.passed, one.at_least) for one in usages] == [(0, 0, False, False)] * 2
    assert usages[0].threshold.timezone == "Europe/Paris"
    assert ledger.threshold_usage() == ()
    ledger.close()
