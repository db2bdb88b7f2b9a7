"""Every sum of the package counts a call in the same way."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

import openai_meter
from openai_meter.alerts.monitor import ThresholdMonitor, usage_of
from openai_meter.core.call import make_call, new_call_id
from openai_meter.core.totals import NOTHING, counted
from openai_meter.core.usage import Usage

USAGES = {
    "tokens": Usage(9, 4, 13),
    "no tokens": Usage(0, 0, 0),
    "seconds": Usage(seconds=12.5),
    "characters": Usage(characters=180),
    "images": Usage(images=2),
    "nothing": Usage(),
}
STATUSES = ("ok", "failed", "error", "aborted")


def call(usage, **fields):
    plain = {
        "id": new_call_id(), "started_at": datetime(2026, 5, 4, 12, tzinfo=UTC), "duration": 0.5,
        "endpoint": "chat.completions", "provider": "openai", "model": "m", "requested_model": "m", "status": "ok",
        "usage": usage, "usage_source": "api", "cost_pico": 3, "cost_status": "priced",
    }  # fmt: skip
    return make_call(**plain | fields)


CALLS = [
    call(usage, status=status, usage_source=source, cost_status=cost_status, cost_pico=cost)
    for usage in USAGES.values()
    for status in STATUSES
    for source in ("api", "tiktoken", "none")
    for cost_status, cost in (("priced", 3), ("partial", 2), ("unpriced", None), ("free", 0))
]


def test_call_billed_by_other_units_is_measured():
    """By the second, character or image; a call without any amount is unmeasured, unless it is free."""
    unmeasured = {name: NOTHING.plus(call(usage)).unmeasured for name, usage in USAGES.items()}
    assert unmeasured == {name: int(name == "nothing") for name in USAGES}
    assert NOTHING.plus(call(USAGES["nothing"], cost_status="free", cost_pico=0)).unmeasured == 0


def test_alert_marks_follow_the_counts_of_the_totals():
    """An exact sum is not called "at least"."""
    monitor, total = ThresholdMonitor([openai_meter.Threshold(metric, 1) for metric in ("calls", "tokens")]), NOTHING
    for one in CALLS:
        monitor.record(one)
        total = total.plus(one)
        sums = monitor._groups[0]._young[None].sums
        assert (sums.calls, sums.errors, sums.tokens) == (total.calls, total.errors, total.total)
        assert (sums.unmeasured, sums.unpriced, sums.cost) == (total.unmeasured, total.unpriced, total.cost)
        assert sums.measured == total.calls - total.tokenless


@pytest.mark.parametrize("name", ["seconds", "characters", "images"])
def test_alert_with_calls_billed_by_the_second_is_exact(name):
    """A transcription by the second has no unknown tokens, so an alert on tokens stays exact."""
    meter = openai_meter.Meter(thresholds=[openai_meter.Threshold("tokens", 10)])
    meter._store.add(call(USAGES[name]))
    meter._store.add(call(Usage(12, 8, 20)))
    (alert,) = meter.alerts
    assert (meter.totals.unmeasured_calls, alert.value, alert.at_least) == (0, 20, False)


def test_stored_sums_give_the_limits_of_a_monitor():
    """The average counts calls with tokens, live or afterwards."""
    limit = openai_meter.Threshold("tokens_per_call", 20)
    monitor, total = ThresholdMonitor([limit]), NOTHING
    for usage in (*USAGES.values(), Usage(30, 10, 40)):
        monitor.record(call(usage))
        total = total.plus(call(usage))
    assert (usage_of(limit, total),) == monitor.usage()
    assert [one.used for one in monitor.usage()] == [Decimal("17.7")]


def test_ledger_row_adds_what_the_totals_add():
    """What a row adds to the sums of a day is what the call adds to the totals."""
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is missing: the sums of the ledger are NOT compared")
    from openai_meter.ledger import inserting
    from openai_meter.ledger.rows import to_row
    from openai_meter.ledger.schema import SUMS

    for one in CALLS:
        sums = dict(zip(SUMS, inserting._summands(to_row(one)), strict=True))
        total = NOTHING.plus(one)
        assert (sums["calls"], sums["errors"], sums["unmeasured_calls"]) == (1, total.errors, total.unmeasured)
        assert (sums["estimated_calls"], sums["unpriced_calls"]) == (total.guessed, total.unpriced)
        assert (sums["costless_calls"], sums["total_tokens"]) == (total.unknown, total.total)
        assert (sums["tokenless_calls"], sums["retries"]) == (total.tokenless, 0)


def test_counts_of_a_call_follow_from_its_fields():
    """The five counts follow from the fields of a call alone."""
    assert counted("failed", "chars", "partial", 5, 10, None) == (True, False, True, True, False)
    assert counted("ok", "none", "unpriced", None, None, None) == (False, True, False, True, True)
    assert counted("ok", "api", "priced", 5, None, 30.0) == (False, False, False, False, False)
