"""The pulse: what the last minutes took, by group, and how far limits are used up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulses import CALL, DOLLAR, NOW, call, metered, take

from openai_meter import ConfigurationError, Meter
from openai_meter.alerts import Threshold, ThresholdUsage
from openai_meter.core.call import new_call_id
from openai_meter.core.money import usd
from openai_meter.core.totals import Totals
from openai_meter.metering.pulse import GROUPS, SLICES, Group, Pulse

# --- the window -------------------------------------------------------------------------------------------------------


def test_rates_are_per_minute_over_the_window() -> None:
    """Ten calls in five minutes are two a minute, and so for all counts."""
    pulse = take(metered(*(call(30 * n, status="error" if n == 9 else "ok") for n in range(9, -1, -1))))
    assert pulse.minute.to_dict() == {"cost": "2", "tokens": 200.0, "calls": 2.0, "errors": 0.2}
    assert (pulse.recent.calls, pulse.recent.errors, pulse.recent.cost) == (10, 1, 10)
    assert (pulse.window, pulse.covered, pulse.partial, pulse.scope, pulse.by) == (300, 300, False, "process", "model")


def test_call_counts_when_it_ends() -> None:
    """A call that began before the window counts in it; one that ended before does not."""
    pulse = take(metered(call(301), call(299, duration=400.0)))
    assert pulse.recent.calls == 1
    assert pulse.totals.calls == 2
    assert pulse.spark[0] == 1.0
    assert sum(one or 0 for one in pulse.spark) == 1.0


def test_late_calls_are_in_the_window() -> None:
    """Calls need not come in the order of their ends."""
    assert take(metered(call(10), call(302), call(5))).recent.calls == 2


def test_call_that_ends_in_the_future_is_in_the_last_slice() -> None:
    """What ends in the future counts in the last slice."""
    assert take(metered(call(-3))).spark[-1] == 1.0


@given(st.lists(st.tuples(st.floats(0, 299.9), st.integers(0, 5 * DOLLAR)), max_size=40))
def test_slices_sum_up_to_groups_and_groups_to_the_window(calls: list[tuple[float, int]]) -> None:
    """Groups sum up to the window, and slices to their group, whatever was called."""
    pulse = take(metered(*(call(ago, cost, model=f"m{cost % 7}") for ago, cost in sorted(calls, reverse=True))))
    assert sum(one.totals.cost_pico for one in pulse.groups) == pulse.recent.cost_pico == sum(cost for _, cost in calls)
    assert sum(one.totals.calls for one in pulse.groups) == pulse.recent.calls == len(calls)
    assert all(len(one.spark) == SLICES for one in pulse.groups)
    if pulse.recent.cost_pico:
        for one in pulse.groups:
            assert sum(x or 0 for x in one.spark) == pytest.approx(float(one.totals.cost))
        assert sum(one.share or 0 for one in pulse.groups) == pytest.approx(1)


# --- what is not known ------------------------------------------------------------------------------------------------


def test_pulse_with_forgotten_calls_covers_the_remembered_time() -> None:
    """A meter that keeps ten calls has the time since the first of them, and its rates are over that time."""
    meter = metered(*(call(n) for n in range(100, 0, -1)), recent=10)
    pulse = take(meter)
    assert (pulse.covered, pulse.partial) == (10, True)
    assert pulse.minute.calls == 60
    assert pulse.totals.calls == 100
    assert pulse.spark[: SLICES - 1] == (None,) * (SLICES - 1)
    assert pulse.spark[-1] == 10


def test_meter_without_recent_calls_has_unknown_rates() -> None:
    """Where no call is kept, totals are exact and the rest is unknown, which is not 0."""
    pulse = take(metered(call(1), recent=0))
    assert pulse.minute.to_dict() == {"cost": None, "tokens": None, "calls": None, "errors": None}
    assert (pulse.totals.calls, pulse.covered, pulse.groups) == (1, 0, ())
    assert set(pulse.spark) == {None}


def test_unknown_prices_and_sizes_are_not_zero() -> None:
    """A group without any price has no cost, and one without any size no tokens; their slices are unknown."""
    pulse = take(metered(call(2, None, None, model="dark"), call(1)))
    lit, dark = pulse.groups
    assert dark.to_dict()["cost"] is dark.to_dict()["tokens"] is dark.minute.cost is dark.minute.tokens is None
    assert dark.spark[-1] is None
    assert (dark.totals.unpriced_calls, dark.totals.unmeasured_calls) == (1, 1)
    assert lit.share == 1.0


def test_pulse_without_prices_shows_tokens() -> None:
    """Sparklines and shares are of tokens then, and the pulse has that unit."""
    pulse = take(metered(call(1, None, 300, agent="a"), call(1, None, 100, agent="b")), "agent")
    assert pulse.spark_of == "tokens"
    assert [(one.name, one.share, one.spark[-1]) for one in pulse.groups] == [("a", 0.75, 300), ("b", 0.25, 100)]


def test_estimates_are_marked() -> None:
    """The estimated part is marked in each group."""
    pulse = take(metered(call(1, usage_source="tiktoken", cost_estimated=True), call(1)))
    group = pulse.to_dict()["groups"][0]
    assert (group["cost"], group["estimated_cost"], group["estimated_calls"]) == ("2", "1", 1)


# --- today ------------------------------------------------------------------------------------------------------------


def test_today_of_a_meter_started_today_is_its_total() -> None:
    """All that it counted is of today, even forgotten calls."""
    assert take(metered(*(call(n) for n in range(30)), recent=3)).today.calls == 30


def test_today_of_an_older_meter_needs_calls_back_to_midnight() -> None:
    """It is summed up from the calls that are kept, if those reach back to midnight; else it is unknown."""
    calls = [call(13 * 3600), call(12 * 3600 - 1), call(1)]
    meter = metered(*calls)
    meter.started_at = NOW - timedelta(days=2)
    assert take(meter).today.calls == 2
    assert take(meter, zone=ZoneInfo("America/New_York")).today.calls == 1
    forgetful = metered(*calls, recent=2)
    forgetful.started_at = meter.started_at
    assert take(forgetful).today is None
    reaching = metered(call(14 * 3600), *calls, recent=3)
    reaching.started_at = meter.started_at
    assert take(reaching).today.calls == 2


# --- groups -----------------------------------------------------------------------------------------------------------


def test_groups_are_sorted_by_cost_and_the_rest_is_folded() -> None:
    """Fifty groups are listed; the others are one group, with their number."""
    pulse = take(metered(*(call(1, DOLLAR * n, user=f"u{n}") for n in range(1, GROUPS + 11))), "user")
    assert [one.name for one in pulse.groups[:3]] == ["u60", "u59", "u58"]
    rest = pulse.groups[-1]
    assert (len(pulse.groups), rest.name, rest.others, rest.totals.calls) == (GROUPS + 1, None, 10, 10)
    assert rest.totals.cost == sum(range(1, 11))
    assert rest.to_dict()["other"] is True


def test_calls_without_a_value_have_a_group_without_a_name() -> None:
    """Calls of which nobody said whose they are have no name."""
    assert [one.name for one in take(metered(call(1)), "agent").groups] == [None]
    assert [one.name for one in take(metered(call(1, tags={"env": "prod"})), "tag:env").groups] == ["prod"]


@pytest.mark.parametrize(
    ("by", "window"), [("colour", 300), ("model", 0), ("model", 3601), ("model", True), ("model", "5m")]
)
def test_wrong_dimension_or_window_raises(by: str, window: Any) -> None:
    """The error names what can be used."""
    with pytest.raises(ConfigurationError, match=r"model|10 to 3600"):
        take(Meter(), by, window=window)


# --- limits -----------------------------------------------------------------------------------------------------------


def test_usage_of_a_limit_is_shown_before_it_is_passed() -> None:
    """Each limit shows how far it is used up; at its value a limit of cost is not passed, one of errors is."""
    limits = [
        Threshold("cost", 4),
        Threshold("errors", 1),
        Threshold("tokens", 1000),
        Threshold("tokens_per_call", 400),
    ]
    pulse = take(metered(call(2, status="error"), call(1), call(1, None, None), thresholds=limits))
    rolling = {"timezone": None, "resets_at": None}
    assert [one.to_dict() for one in pulse.thresholds] == [
        {"name": "cost", "per": None, "key": None, "window": None, "used": "2", "limit": "4", "share": 0.5,
         "passed": False, "at_least": True} | rolling,
        {"name": "errors", "per": None, "key": None, "window": None, "used": 1, "limit": 1, "share": 1.0,
         "passed": True, "at_least": False} | rolling,
        {"name": "tokens", "per": None, "key": None, "window": None, "used": 200, "limit": 1000, "share": 0.2,
         "passed": False, "at_least": True} | rolling,
        {"name": "tokens_per_call", "per": None, "key": None, "window": None, "used": 100, "limit": 400, "share": 0.25,
         "passed": False, "at_least": False} | rolling,
    ]  # fmt: skip
    assert pulse.alerts == 1


def test_usage_of_a_limit_per_user_is_that_of_the_highest_user() -> None:
    """It has the name of the user with the most; before the first user it is empty."""
    limits = [Threshold("calls", 10, per="user")]
    assert take(metered(call(1), thresholds=limits)).thresholds == ()
    meter = metered(*(call(1, user=f"u{n % 3}") for n in range(7)), thresholds=limits)
    (usage,) = take(meter).thresholds
    assert (usage.key, usage.used, usage.share, usage.passed) == ("u0", 3, 0.3, False)


def test_usage_of_a_limit_with_a_window_forgets_older_calls() -> None:
    """Calls before the window are not counted any more."""
    meter = Meter(thresholds=[Threshold("calls", 10, window=60)])
    old, new = datetime.now(UTC) - timedelta(seconds=90), datetime.now(UTC)
    for at in (old, old, new):
        meter._take(replace(CALL, id=new_call_id(), started_at=at))
    (usage,) = meter.threshold_usage
    assert (usage.used, usage.share) == (1, 0.1)


def test_pulse_without_limits_has_no_threshold_usage() -> None:
    """A meter without thresholds, and one without calls, still have a pulse."""
    assert take(metered(thresholds=False)).thresholds == ()
    idle = take(metered())
    assert [one.share for one in idle.thresholds] == [0.0] * 4
    assert (idle.groups, idle.minute.calls, idle.minute.cost, idle.recent) == ((), 0, 0, Totals())


# --- as JSON ----------------------------------------------------------------------------------------------------------


def test_pulse_survives_json_exactly() -> None:
    """What is sent is what was taken, with every value exact."""
    limits = [Threshold("cost", "0.3", per="model", window=3600), Threshold("tokens_per_call", 33.5)]
    pulse = take(
        metered(
            call(3, 1, agent="a"), call(2, None, None), call(1, 123_456, 7, usage_source="chars", cost_estimated=True),
            thresholds=limits,
        ),
        "agent",
    )  # fmt: skip
    assert Pulse.from_dict(json.loads(json.dumps(pulse.to_dict()))) == pulse
    assert usd(pulse.recent.cost_pico) == Decimal("0.000000123457")


def test_unknown_keys_of_a_newer_server_are_ignored() -> None:
    """Unknown keys and thresholds are skipped."""
    data = take(metered(call(1))).to_dict()
    known = Pulse.from_dict(data)
    data["thresholds"].append({"name": "patience", "limit": 3})
    data["weather"] = data["groups"][0]["mood"] = "fine"
    assert Pulse.from_dict(data) == known


@pytest.mark.parametrize(
    "change",
    [
        {"groups": None}, {"groups": [{}]}, {"at": 3}, {"scope": "world"}, {"minute": {}},
        {"totals": {"calls": "many"}}, {"alerts": []}, {"spark": ["high"]}, {"window": "long"},
        {"thresholds": [{"name": "cost"}]},
    ],
)  # fmt: skip
def test_data_that_is_not_a_pulse_raises(change: dict[str, Any]) -> None:
    """Any other data is a ValueError, whatever is wrong with it."""
    data = take(metered(call(1))).to_dict() | change
    with pytest.raises(ValueError):
        Pulse.from_dict(data)


def test_parts_of_a_pulse_survive_json() -> None:
    """A group and the use of a threshold are read back equal, too."""
    pulse = take(metered(call(1)))
    assert Group.from_dict(pulse.groups[0].to_dict()) == pulse.groups[0]
    assert [ThresholdUsage.from_dict(one.to_dict()) for one in pulse.thresholds] == list(pulse.thresholds)
