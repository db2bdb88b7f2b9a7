"""ThresholdMonitor: which limits are passed, when, how often, and how that is said."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter import Call, ConfigurationError, Usage
from openai_meter.alerts import DEFAULTS, METRICS, Alert, Threshold, ThresholdMonitor, monitor, read_thresholds
from openai_meter.core import faults
from openai_meter.core.locale import languages
from openai_meter.core.money import usd

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
DOLLAR = 10**12
CALL = Call(
    "id", START, 0.0, "responses", "openai", "m", "m", "ok", Usage(1, 2, 3), "api", cost_pico=0, cost_status="priced"
)


def call(after: float = 0, tokens: int | None = 3, cost: Any = 0, **more: Any) -> Call:
    """A call that ends so many seconds after the start."""
    usage = Usage() if tokens is None else Usage(tokens, 0, tokens)
    status = "unpriced" if cost is None else "priced"
    made = replace(CALL, started_at=START + timedelta(seconds=after), usage=usage, cost_pico=cost, cost_status=status)
    return replace(made, **more)


def kinds(alerts: Sequence[Alert]) -> list[str]:
    return [alert.kind for alert in alerts]


# --- the defaults -----------------------------------------------------------------------------------------------------


def test_call_101_exceeds_the_default_limit() -> None:
    """More than 100 calls are one alert."""
    watching = ThresholdMonitor()
    for _ in range(100):
        assert watching.record(CALL) == ()
    (alert,) = watching.record(CALL)
    assert (alert.kind, alert.value, alert.limit, alert.key, alert.window) == ("calls", 101, 100, None, None)
    assert alert.at == START
    assert alert.message("fr") == "⚠️ Alerte : 101 appels API (limite : 100)"
    assert alert.message("en") == "⚠️ Alert: 101 API calls (limit: 100)"
    assert all(watching.record(CALL) == () for _ in range(300))


def test_cost_above_a_dollar_exceeds_the_default_limit() -> None:
    """Exactly 1 dollar does not exceed it; a pico-dollar more does."""
    watching = ThresholdMonitor()
    assert watching.record(call(cost=DOLLAR)) == ()
    (alert,) = watching.record(call(cost=1))
    assert (alert.kind, alert.value, alert.limit) == ("cost", Decimal("1.000000000001"), Decimal(1))
    assert alert.message("fr") == "💰 Alerte : Coût de 1,000000000001\xa0$ (limite : 1,00\xa0$)"
    watching.reset()
    (alert,) = watching.record(call(cost=DOLLAR * 102 // 100))
    assert alert.message("fr") == "💰 Alerte : Coût de 1,02\xa0$ (limite : 1,00\xa0$)"
    assert alert.message("en") == "💰 Alert: Cost of $1.02 (limit: $1.00)"


def test_fractions_of_pico_dollars_are_exact() -> None:
    """Three thirds are one, and not more."""
    watching = ThresholdMonitor([Threshold("cost", "0.000000000001")])
    assert [kinds(watching.record(call(cost=Fraction(1, 3)))) for _ in range(4)] == [[], [], [], ["cost"]]


def test_fifth_error_exceeds_the_default_limit() -> None:
    """Errors that raised and errors in an answer count alike."""
    watching = ThresholdMonitor()
    failing = [call(tokens=None, status=status) for status in ("error", "failed", "error", "failed", "error")]
    assert [kinds(watching.record(one)) for one in failing] == [[], [], [], [], ["errors"]]
    assert [kinds(watching.record(call(status=status))) for status in ("ok", "aborted", "incomplete")] == [[]] * 3
    assert watching.current()[0].message("fr") == "⚠️ Alerte : 5 erreurs (limite : 5) ; vérifiez la clé API"


def test_tokens_per_call_are_an_average_of_measured_calls() -> None:
    """Tokens per call are an average over the calls whose size is known."""
    watching = ThresholdMonitor()
    assert watching.record(call(tokens=2_000)) == ()
    assert watching.record(call(tokens=None)) == ()
    (alert,) = watching.record(call(tokens=2_001))
    assert (alert.kind, alert.value, alert.limit) == ("tokens_per_call", Decimal("2000.5"), 2_000)
    assert alert.message("fr") == (
        "⚠️ Alerte : 2\u202f000,5 tokens par appel en moyenne (limite : 2\u202f000) ; raccourcissez les prompts"
    )
    assert watching.record(call(tokens=10)) == ()
    assert watching.current() == ()  # it was passed, and is not any more
    assert watching.record(call(tokens=100_000)) == ()  # once since the start


def test_total_tokens_can_be_limited() -> None:
    """All tokens together can be limited too."""
    watching = ThresholdMonitor([Threshold("tokens", 5)])
    assert [kinds(watching.record(call(tokens=3))) for _ in range(3)] == [[], ["tokens"], []]


@pytest.mark.parametrize(("metric", "cost", "tokens"), [("cost", None, 3), ("tokens", 0, None)])
def test_alert_with_unknown_calls_is_a_lower_bound(metric: str, cost: Any, tokens: Any) -> None:
    """A call of unknown cost or size adds nothing, and the alert is marked."""
    watching = ThresholdMonitor([Threshold(metric, 1)])
    assert watching.record(call(cost=cost, tokens=tokens)) == ()
    (alert,) = watching.record(call(cost=2 * DOLLAR, tokens=2))
    assert alert.at_least
    assert ("at least $2.00" if metric == "cost" else "at least 2 tokens") in alert.message("en")
    assert "au moins" in alert.message("fr")
    (surely,) = ThresholdMonitor([Threshold(metric, 1)]).record(call(cost=2 * DOLLAR, tokens=2))
    assert not surely.at_least


# --- keys and windows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per", ["agent", "user", "session", "model"])
def test_limit_per_agent_counts_each_agent(per: Any) -> None:
    """Calls without an agent are not limited."""
    watching = ThresholdMonitor([Threshold("calls", 1, per=per)])
    assert [watching.record(replace(CALL, **{per: name})) for name in ("a", "b", None, None)] == [()] * 4
    (alert,) = watching.record(replace(CALL, **{per: "b"}))
    assert (alert.key, alert.value) == ("b", 2)
    assert [one.key for one in watching.current()] == ["b"]
    assert " b " in alert.message("fr")


def test_names_in_a_message_are_escaped_and_shortened() -> None:
    """No name can put control characters into a message, or fill it."""
    watching = ThresholdMonitor([Threshold("cost", 1, per="agent")])
    (alert,) = watching.record(call(cost=2 * DOLLAR, agent="\x1b[31m{value}\n" + "x" * 1_000))
    text = alert.message("en")
    assert "\N{REPLACEMENT CHARACTER}[31m{value}\N{REPLACEMENT CHARACTER}xxx" in text
    assert len(text) < 200


def test_endless_keys_use_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys with recent calls are kept, the oldest ones are removed."""
    monkeypatch.setattr(monitor, "_KEYS", 10)
    watching = ThresholdMonitor([Threshold("calls", 50, per="session")])
    for number in range(1_000):
        watching.record(replace(CALL, session=f"s{number}"))
        rung = watching.record(replace(CALL, session="faithful"))
        assert kinds(rung) == (["calls"] if number == 50 else [])
        assert len(watching._groups[0]._young) + len(watching._groups[0]._old) <= 20
    assert [one.value for one in watching.current()] == [1_000]


def test_rolling_window_forgets_older_calls() -> None:
    """After a low value, exceeding the limit again is another alert."""
    now = [0.0]
    watching = ThresholdMonitor([Threshold("calls", 10, window=60)], clock=lambda: START.timestamp() + now[0])
    assert [kinds(watching.record(call(second))) for second in range(11)] == [[]] * 10 + [["calls"]]
    assert [one.value for one in watching.current()] == [11]
    now[0] = 59.5
    assert [one.value for one in watching.current()] == [11]
    now[0] = 61
    assert watching.current() == ()
    # At 61 seconds two are forgotten: 9 and this one are 10, then 11. It was 9, not below nine tenths of ten.
    assert watching.record(call(61)) == ()
    assert watching.record(call(61)) == ()
    (first,) = watching.current()
    # At 65 seconds there are 5 old ones and 2: the next alert is a new one.
    assert [kinds(watching.record(call(65))) for _ in range(5)] == [[], [], [], ["calls"], []]
    (second,) = watching.current()
    assert first.id != second.id
    assert second.at == START + timedelta(seconds=65)
    assert watching.record(call(10_000)) == ()
    assert watching.current() == ()


def test_alert_ends_below_nine_tenths_of_its_limit() -> None:
    """At nine tenths of the limit it is still the same alert."""
    for left, rung in ((9, []), (8, ["calls"])):
        watching = ThresholdMonitor([Threshold("calls", 10, window=60)])
        alerts = [*(call(0) for _ in range(11 - left)), *(call(30) for _ in range(left))]
        assert kinds([alert for one in alerts for alert in watching.record(one)]) == ["calls"]
        last = [watching.record(call(61)) for _ in range(11 - left)]
        assert kinds([alert for found in last for alert in found]) == rung


def test_lowered_average_can_exceed_its_limit_again() -> None:
    """In a window, whatever comes between."""
    watching = ThresholdMonitor([Threshold("tokens_per_call", 100, window=60)])
    made = [(0, 10), (1, 300), (1, 10), (1, 10), (60, 300)]
    rung = [kinds(watching.record(call(after, tokens=tokens))) for after, tokens in made]
    assert rung == [[], ["tokens_per_call"], [], [], ["tokens_per_call"]]


def test_message_names_its_window() -> None:
    """A message says in which time."""
    for window, text in [
        (timedelta(days=2), "2 days"), (3_600, "1 hour"), (90 * 60, "90 minutes"), (1, "1 second"),
    ]:  # fmt: skip
        (alert,) = ThresholdMonitor([Threshold("cost", 1, window=window)]).record(call(cost=2 * DOLLAR))
        assert f"within {text} (limit" in alert.message("en")
        assert alert.window == (window if isinstance(window, timedelta) else timedelta(seconds=window))


def test_window_keeps_sums_and_no_calls() -> None:
    """A window is sums, not calls."""
    watching = ThresholdMonitor([Threshold("calls", 10**6, window=60)])
    for number in range(5_000):
        watching.record(call(number / 10))
    (tally,) = watching._groups[0]._young.values()
    assert len(tally.buckets) == 60
    assert tally.sums.calls == 600


# --- a naive model ----------------------------------------------------------------------------------------------------

calls = st.builds(
    call,
    after=st.integers(0, 300),
    tokens=st.none() | st.integers(0, 5_000),
    cost=st.none() | st.integers(0, 3 * DOLLAR) | st.fractions(0, DOLLAR),
    status=st.sampled_from(["ok", "error", "failed", "aborted"]),
    agent=st.none() | st.sampled_from("ab"),
)
thresholds = st.builds(
    Threshold,
    st.sampled_from(sorted(METRICS)),
    st.integers(1, 20) | st.integers(1, 10_000) | st.decimals("0.01", 5, places=3),
    per=st.none() | st.just("agent"),
    window=st.none() | st.sampled_from([1, 60, timedelta(minutes=2)]),
)


def value_of(metric: str, many: list[Call]) -> Fraction:
    """What a metric is of a list of calls, the slow way."""
    tokens = [one.usage.total_tokens for one in many if one.usage.total_tokens is not None]
    found = {
        "calls": len(many),
        "errors": sum(one.failed for one in many),
        "tokens": sum(tokens),
        "tokens_per_call": Fraction(sum(tokens), len(tokens) or 1),
        "cost": sum(Fraction(one.cost_pico or 0) for one in many) / DOLLAR,
    }
    return Fraction(found[metric])


def shown(metric: str, value: Fraction) -> Any:
    """A value as an alert has it: an average is rounded up to a tenth."""
    if metric == "cost":
        return usd(value * DOLLAR)
    return Fraction(math.ceil(value * 10), 10)


@given(thresholds, st.lists(calls, max_size=60))
def test_alerts_equal_those_of_a_naive_model(threshold: Threshold, made: list[Call]) -> None:
    """Exactly one alert each time that a limit is exceeded, with the right value, whatever the order of the calls."""
    watching = ThresholdMonitor([threshold])
    limit = Fraction(Decimal(threshold.limit))
    width = threshold.window.total_seconds() / 60 if isinstance(threshold.window, timedelta) else None
    seen: dict[str | None, list[tuple[int, Call]]] = {}
    passed: dict[str | None, bool] = {}
    latest = 0
    for one in made:
        rung = watching.record(one)
        key = one.agent if threshold.per else None
        if threshold.per and key is None:
            assert rung == ()
            continue
        if width is not None:
            latest = max(latest, int(one.started_at.timestamp() // width))
        mine = [(place, old) for place, old in seen.get(key, []) if width is None or place > latest - 60]
        before = value_of(threshold.metric, [old for _, old in mine])
        mine.append((latest, one))
        seen[key] = mine
        value = value_of(threshold.metric, [old for _, old in mine])
        if width is not None and min(before, value) < limit * 9 / 10:
            passed[key] = False
        over = value >= limit if threshold.metric == "errors" else value > limit
        expected = over and not passed.get(key, False)
        assert len(rung) == expected
        if expected:
            passed[key] = True
            (alert,) = rung
            assert (alert.threshold, alert.key) == (threshold, key)
            assert alert.value == shown(threshold.metric, value)
            assert alert in watching.current() or width is not None  # the clock of now is far behind the windows


@given(st.lists(calls, max_size=40).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_order_of_calls_does_not_matter_without_a_window(both: tuple[list[Call], list[Call]]) -> None:
    """The same limits are exceeded, each once; only those on averages depend on the order."""
    limits = [Threshold(metric, limit) for metric in METRICS if metric != "tokens_per_call" for limit in (1, 7, 9_000)]
    rung = []
    for some in both:
        watching = ThresholdMonitor(limits)
        alerts = [alert.threshold for one in some for alert in watching.record(one)]
        assert len(set(alerts)) == len(alerts)
        rung.append(set(alerts))
        assert {alert.threshold for alert in watching.current()} == rung[-1]
        values = {alert.threshold: alert.value for alert in watching.current()}
        assert values == {one: shown(one.metric, value_of(one.metric, some)) for one in rung[-1]}
    assert rung[0] == rung[1]


# --- prices that come late --------------------------------------------------------------------------------------------


def test_late_price_is_added_and_can_exceed_the_limit() -> None:
    """A call that gets its price later adds it then, and can pass the limit by that."""
    for threshold in (Threshold("cost", 1), Threshold("cost", 1, per="model"), Threshold("cost", 1, window=60)):
        watching = ThresholdMonitor([threshold])
        before = call(cost=None)
        assert watching.record(before) == ()
        assert watching.repriced(before, before) == ()
        (alert,) = watching.repriced(before, call(cost=2 * DOLLAR))
        assert (alert.value, alert.at_least) == (2, False)
        assert watching.repriced(call(model="other", cost=None), call(model="other", cost=2 * DOLLAR)) == ()


def test_late_price_of_a_forgotten_call_changes_nothing() -> None:
    """The call has left the window."""
    watching = ThresholdMonitor([Threshold("cost", 1, window=60)])
    watching.record(call(cost=None))
    watching.record(call(100))
    assert watching.repriced(call(cost=None), call(cost=2 * DOLLAR)) == ()
    (alert,) = watching.record(call(101, cost=2 * DOLLAR))
    assert (alert.value, alert.at_least) == (2, False)


# --- alerts and settings ----------------------------------------------------------------------------------------------


def test_alert_as_json_has_the_fields_of_the_guide() -> None:
    """And further ones."""
    limit = Threshold("cost", Decimal("0.5"), per="agent", window=3_600)
    (alert,) = ThresholdMonitor([limit]).record(call(cost=DOLLAR, agent="a"))
    text = alert.to_dict("fr")
    assert json.loads(json.dumps(text)) == text
    assert list(text)[:2] == ["alert", "message"]
    assert text == {
        "alert": True,
        "message": "💰 Alerte : Coût de 1,00\xa0$ par l'agent a en 1 heure (limite : 0,50\xa0$)",
        "id": alert.id,
        "kind": "cost",
        "value": "1",
        "limit": "0.5",
        "per": "agent",
        "key": "a",
        "window": 3600.0,
        "at": "2026-11-22T12:00:00+00:00",
        "at_least": False,
    }
    (average,) = ThresholdMonitor([Threshold("tokens_per_call", 1)]).record(call(tokens=7))
    assert (average.to_dict("en")["value"], average.to_dict("en")["limit"]) == (7, 1)


@pytest.mark.parametrize("lang", languages())
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("per", [None, "agent", "user", "session", "model"])
@pytest.mark.parametrize("window", [None, 60])
def test_every_alert_has_a_sentence_in_each_language(lang: str, metric: str, per: Any, window: Any) -> None:
    """With its value and its limit."""
    one = call(tokens=12_345, cost=12_345 * DOLLAR, status="error", agent="n", user="n", session="n", model="n")
    watching = ThresholdMonitor([Threshold(metric, 1, per=per, window=window)])
    alert = [*watching.record(one), *watching.record(one)][0]
    text = alert.message(lang)
    assert f"{alert.value:,}".replace(",", {"en": ",", "fr": "\N{NARROW NO-BREAK SPACE}"}[lang]) in text
    assert "{" not in text
    assert text != alert.message(next(other for other in languages() if other != lang))


def test_alert_stays_the_same_while_its_limit_is_exceeded() -> None:
    """It has the current value; a reset ends it."""
    watching = ThresholdMonitor([Threshold("calls", 1)])
    watching.record(CALL)
    (alert,) = watching.record(CALL)
    watching.record(CALL)
    assert watching.current() == (replace(alert, value=3),)
    watching.reset()
    assert watching.current() == ()
    assert watching.record(CALL) == ()
    assert len(watching.record(CALL)) == 1


def test_invalid_call_is_counted_as_a_fault() -> None:
    """It is caught and skipped."""
    faults.reraise = False
    watching = ThresholdMonitor()
    assert watching.record(object()) == ()  # type: ignore[arg-type]
    assert watching.repriced(object(), object()) == ()  # type: ignore[arg-type]
    assert faults.count() == 2


def test_threshold_settings_are_read_from_common_forms() -> None:
    """Limits are read from what is natural to write."""
    assert read_thresholds() == read_thresholds(None) == read_thresholds(True) == DEFAULTS
    assert read_thresholds(False) == read_thresholds([]) == ()
    assert read_thresholds({"calls": None, "cost": "5", "tokens": 10}) == (
        Threshold("cost", 5), Threshold("tokens_per_call", 2_000), Threshold("errors", 5), Threshold("tokens", 10),
    )  # fmt: skip
    one = Threshold("calls", 5, per="user", window=60)
    assert read_thresholds(one) == read_thresholds([one, one]) == (one,)
    assert [(limit.metric, limit.limit) for limit in DEFAULTS] == [
        ("calls", 100), ("cost", 1), ("tokens_per_call", 2_000), ("errors", 5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"call": 5}, "no threshold on 'call'; there are those on calls, cost"),
        ({3: 5}, "no threshold on 3"),
        ({"call": None}, "no threshold on 'call'"),
        ({"calls": "many"}, "the limit of calls is 'many', which is no number"),
        ({"calls": 0}, "has to be above 0"),
        ({"calls": -1}, "not below 0"),
        ({"calls": float("nan")}, "finite"),
        ({"calls": True}, "the limit of calls is True"),
        ([5], "thresholds has 5, which is not a Threshold"),
        ("cost", "thresholds='cost' cannot be used"),
        (3, "thresholds=3 cannot be used"),
    ],
)
def test_wrong_threshold_settings_raise(text: Any, message: str) -> None:
    """The sentence names what can be used."""
    with pytest.raises(ConfigurationError, match=message):
        read_thresholds(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"per": "team"}, "per='team' is nothing to limit by; use one of model, agent"),
        ({"window": 0}, "window=0 is not a duration"),
        ({"window": "1h"}, "window='1h' is not a duration"),
        ({"window": True}, "window=True is not a duration"),
        ({"window": float("nan")}, "window=nan is not a duration"),
        ({"window": float("inf")}, "window=inf is not a duration"),
        ({"window": timedelta(seconds=-1)}, "is not a duration"),
        ({"metric": ["calls"]}, "no threshold on"),
    ],
)
def test_wrong_threshold_raises(arguments: dict[str, Any], message: str) -> None:
    """So is a threshold."""
    with pytest.raises(ConfigurationError, match=message):
        Threshold(**{"metric": "calls", "limit": 1, **arguments})
