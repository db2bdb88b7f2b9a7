"""The pulse of a ledger: the last minutes of all processes that write to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")
from ledgers import Database, call

from openai_meter import Call, Usage
from openai_meter.alerts import Threshold
from openai_meter.core.call import new_call_id
from openai_meter.ledger import Ledger
from openai_meter.metering.meter import Meter
from openai_meter.metering.pulse import SLICES, Pulse, of_ledger, of_meter

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def made(ago: float, **more: Any) -> Call:
    at = NOW - timedelta(seconds=ago + more.get("duration", 0.0))
    return call(0, **{"id": new_call_id(), "started_at": at, "duration": 0.0, "tags": {}} | more)


@pytest.mark.parametrize("by", ["model", "agent", "user", "tag:env", "tag", "block", "endpoint"])
def test_ledger_pulse_equals_meter_pulse(database: Database, by: str) -> None:
    """The same calls have the same window, groups, rates and slices, whether a meter or a ledger holds them."""
    calls = [
        made(7 * n, duration=n * 1.5, model=("gpt-5-mini", None, "gpt-4o")[n % 3], agent=(None, "a", "")[n % 3],
             user=f"u{n % 5}", tags={"env": "prod"} if n % 2 else {}, status="error" if n % 4 == 3 else "ok",
             usage_source=("api", "chars")[n % 2], cost_estimated=n % 2 == 1,
             **({"cost_pico": None, "cost_status": "unpriced", "usage": Usage()} if n % 6 == 5 else {}))
        for n in range(60, -1, -1)
    ]  # fmt: skip
    meter = Meter(thresholds=False)
    for one in calls:
        meter._take(one)
    ledger = database.ledger()
    ledger.import_calls(calls)
    ours, theirs = of_meter(meter, by, now=NOW), of_ledger(ledger, by, now=NOW)
    assert theirs.groups == ours.groups
    assert (theirs.recent, theirs.minute, theirs.spark) == (ours.recent, ours.minute, ours.spark)
    assert (theirs.scope, theirs.partial) == ("fleet", False)
    assert theirs.recent.calls == 43
    ledger.close()


def test_pulse_totals_are_of_month_and_today(database: Database) -> None:
    """Totals count from the first of the month, today's from midnight; both are exact."""
    ledger = database.ledger()
    ledger.import_calls([made(40 * 86_400), made(86_400), made(7 * 3600), made(1)])
    pulse = of_ledger(ledger, now=NOW)
    assert (pulse.totals.calls, pulse.today.calls, pulse.recent.calls) == (3, 2, 1)
    assert pulse.since == datetime(2026, 11, 1, tzinfo=UTC)
    assert Pulse.from_dict(pulse.to_dict()) == pulse
    ledger.close()


def test_each_limit_in_a_pulse_counts_its_own_window(database: Database) -> None:
    """Each limit is compared with the calls of its own window, whatever window the pulse has."""
    ledger = database.ledger()
    ledger.import_calls([made(86_400), *(made(n) for n in range(4))])
    limits = [Threshold("calls", 3, window="day"), Threshold("cost", 1, window="day"), Threshold("calls", 3)]
    pulse = of_ledger(ledger, now=NOW, thresholds=limits)
    assert [(one.threshold, one.used, one.passed) for one in pulse.thresholds] == [
        (limits[0], 4, True),
        (limits[1], pulse.today.cost, False),
        (limits[2], 5, True),
    ]
    assert pulse.alerts == 2
    ledger.close()


def test_empty_ledger_has_a_pulse_of_zeros(database: Database) -> None:
    """All figures are 0, and nothing raises."""
    ledger = database.ledger()
    pulse = of_ledger(ledger, now=NOW)
    assert (pulse.groups, pulse.recent.calls, pulse.spark) == ((), 0, (0.0,) * SLICES)
    ledger.close()


def test_calls_of_a_fast_clock_count_as_just_ended(database: Database) -> None:
    """A call of a machine whose clock is ahead counts as just ended; one of tomorrow does not count yet."""
    ledger = database.ledger()
    ledger.import_calls([made(-20), made(-86_400)])
    pulse = of_ledger(ledger, now=NOW)
    assert (pulse.recent.calls, pulse.spark[-1] is not None and pulse.spark[-1] > 0) == (1, True)
    ledger.close()


def test_pulse_includes_calls_just_added(database: Database) -> None:
    """A call that was added before the read is in the pulse."""
    ledger: Ledger = database.ledger(flush_interval=60)
    ledger.add(call(0, id=new_call_id(), started_at=datetime.now(UTC), duration=0.0))
    assert of_ledger(ledger).recent.calls == 1
    ledger.close()
