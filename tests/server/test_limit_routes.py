"""Limits of a ledger on the server: in the live figures, by themselves, as alerts, and for Prometheus."""

from __future__ import annotations

import re

import pytest
from server_client import call, client, filled, kept

from openai_meter import ConfigurationError, Threshold

LIMITS = ["cost=0.001/month", "calls=9/day", "calls=1/day/agent"]


@pytest.fixture
def ledger(tmp_path):
    return kept(tmp_path, call("gpt-4o", (2000, 500), agent="a"), call("gpt-4o", (2000, 500), agent="a"))


def test_use_of_each_limit_is_in_limits_and_live(ledger) -> None:
    """Each limit has its window, how much of it is used, and whether it is exceeded; also in the live figures."""
    api = client(ledger=ledger, limits=LIMITS)
    limits = api.get("/api/limits").json()["limits"]
    assert [(one["name"], one["window"], one["per"], one["key"]) for one in limits] == [
        ("cost", "month", None, None), ("calls", "day", None, None), ("calls", "day", "agent", "a"),
    ]  # fmt: skip
    assert [(one["used"], one["limit"], one["passed"]) for one in limits] == [
        ("0.02", "0.001", True), (2, 9, False), (2, 1, True),
    ]  # fmt: skip
    live = api.get("/api/live").json()
    assert (live["thresholds"], live["alerts"]) == (limits, 2)


def test_exceeded_limits_are_alerts_that_keep_their_id(ledger) -> None:
    """An exceeded limit is in alerts, stats and the overview, and stays the same alert while it is exceeded."""
    api = client(ledger=ledger, limits=LIMITS)
    alerts = api.get("/api/alerts?lang=en").json()["alerts"]
    assert [one["message"] for one in alerts] == [
        "💰 Alert: Cost of $0.02 this month (limit: $0.001)",
        "⚠️ Alert: 2 API calls by agent a today (limit: 1)",
    ]
    assert api.get("/api/alerts?lang=en").json()["alerts"] == alerts
    assert api.get("/api/stats?lang=en").json()["alerts"] == alerts
    assert api.get("/api/stats?lang=en").json()["threshold"] in alerts
    assert api.get("/api/overview?lang=en").json()["alerts"] == alerts


def test_limits_are_gauges_for_prometheus(ledger) -> None:
    """The used part of each limit on all calls is a gauge, and so is the number of those that are exceeded."""
    text = client(ledger=ledger, limits=[*LIMITS, "cost=0.1/month"]).get("/metrics").text
    assert 'openai_meter_threshold_use_ratio{metric="cost",window="month"} 20.0' in text
    assert re.search(r'openai_meter_threshold_use_ratio{metric="calls",window="day"} 0\.2222', text)
    assert 'openai_meter_thresholds_passed{metric="calls",per="agent",window="day"} 1.0' in text
    samples = [line for line in text.splitlines() if line.startswith("openai_meter_threshold")]
    assert len({line.partition(" ")[0] for line in samples}) == len(samples) == 4


def test_meter_with_a_ledger_shows_thresholds_and_limits(ledger) -> None:
    """The thresholds are of this process, the limits of all processes; both are shown and exported."""
    meter = filled(call(agent="b"), thresholds={"calls": 4, "cost": None, "tokens_per_call": None, "errors": None})
    api = client(meter, ledger, limits=["calls=1/day"])
    limits = api.get("/api/limits").json()["limits"]
    assert [(one["window"], one["used"]) for one in limits] == [(None, 1), ("day", 2)]
    assert api.get("/api/live").json()["thresholds"] == limits
    assert [one["kind"] for one in api.get("/api/alerts").json()["alerts"]] == ["calls"]


def test_limits_without_a_ledger_are_refused() -> None:
    """A meter without a ledger has thresholds; the error names them."""
    with pytest.raises(ConfigurationError, match=r"limits are of a ledger, and there is none: pass ledger=, or"):
        client(filled(), limits=["cost=5"])


@pytest.mark.parametrize(
    "limit", ["cost", "cost=5/year", Threshold("cost", 1, per="session"), 5], ids=["form", "period", "session", "type"]
)
def test_wrong_limits_are_refused(ledger, limit) -> None:
    """A limit that cannot be used is an error when the application is made."""
    with pytest.raises(ConfigurationError):
        client(ledger=ledger, limits=[limit])


def test_ledger_has_no_limits_by_default(ledger) -> None:
    """A ledger has no limits by itself."""
    api = client(ledger=ledger)
    assert api.get("/api/limits").json() == {"limits": []}
    assert api.get("/api/live").json()["thresholds"] == []
    assert "threshold" not in api.get("/metrics").text
