"""Totals by any dimension: every breakdown adds up to the totals, whatever is asked for and however much there is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import contract
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import openai_meter
from openai_meter import Call, ConfigurationError, Usage, track
from openai_meter.core import dimensions
from openai_meter.core.usage import COUNTS
from openai_meter.metering.store import DIMENSIONS, UNATTRIBUTED, Store

START = datetime(2026, 1, 1, tzinfo=UTC)
BASE = Call("id", START, 0.1, "chat.completions", "openai", "m", "m", "ok", Usage(1, 2, 3), "api")
ASKED = (*DIMENSIONS, "tag:team", "tag:env", "tag:none")
FEW = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

names = st.sampled_from([None, "", "a", "b", "c", "d", "(other users)", "(unattributed)"])
tags = st.dictionaries(st.sampled_from(["team", "env", "run", "x", "y"]), st.sampled_from("abcde"), max_size=4)
calls = st.builds(
    lambda said, status, one, cached, after, cost, estimated: replace(
        BASE,
        **said,
        status=status,
        started_at=START + timedelta(seconds=after),
        usage=Usage() if one is None else Usage(one, 1, one + 1, cached_input_tokens=cached, images=cached % 3),
        cost_pico=cost,
        cost_status="unpriced" if cost is None else "priced",
        cost_estimated=cost is not None and estimated,
    ),
    st.fixed_dictionaries({
        **dict.fromkeys(("model", "agent", "operation", "user", "session", "block"), names),
        "tags": tags,
        "endpoint": st.sampled_from(["chat.completions", "responses"]),
        "provider": st.sampled_from(["openai", "azure"]),
    }),
    st.sampled_from(["ok", "error", "aborted"]),
    st.none() | st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.none() | st.integers(0, 10**15) | st.fractions(0, 10**9),
    st.booleans(),
)  # fmt: skip
questions = st.lists(st.sampled_from(ASKED), min_size=1, max_size=4)


def grouped(snapshot, *dimensions):
    """The totals of a snapshot, and those by some dimensions."""
    return snapshot.totals, snapshot.by(*dimensions)


@pytest.fixture(params=[(1_000, 100, 10_000), (2, 2, 10_000), (1_000, 100, 3), (2, 1, 2), (0, 0, 0)], ids=str)
def bounds(request, monkeypatch):
    """The bounds as they are, and such as the simplest program exceeds."""
    for name, value in zip(("VALUES", "NAMES", "COMBINATIONS"), request.param, strict=True):
        monkeypatch.setattr(dimensions, name, value)
    return request.param


def adds_up(whole, parts):
    """Whether the parts are those of the whole, count by count."""
    for name in ("calls", "errors", "unmeasured_calls", "unpriced_calls", "input_tokens", "total_tokens", *COUNTS):
        assert getattr(whole, name) == sum(getattr(one, name) for one in parts), name
    assert (whole.cost_pico or 0) == sum(one.cost_pico or 0 for one in parts)
    assert whole.estimated_cost_pico == sum(one.estimated_cost_pico for one in parts)
    assert whole.first_call_at == min((one.first_call_at for one in parts if one.calls), default=None)
    assert whole.last_call_at == max((one.last_call_at for one in parts if one.calls), default=None)


def every_breakdown_adds_up(store, *more):
    for asked in (*itertools.combinations(DIMENSIONS, 1), *itertools.combinations(ASKED, 2), ASKED, *more):
        totals, rows = grouped(store.read(), *asked)
        adds_up(totals, rows.values())
        assert all(len(row) == len(asked) and all(type(one) is str for one in row) for row in rows)
        assert all(one.calls for one in rows.values())


# --- what is in which row ---------------------------------------------------------------------------------------------


def filled(*said):
    """A meter with one call for each of what is said."""
    meter = openai_meter.Meter()
    for place, one in enumerate(said):
        meter._take(replace(BASE, id=str(place), usage=Usage(1, 0, 1 + place), **one))
    return meter


def counted(rows):
    return {row: one.calls for row, one in rows.items()}


def test_dimension_has_a_row_for_each_value():
    """Calls without a value have a row of their own."""
    meter = filled(
        {"agent": "a", "operation": "o", "user": "u", "session": "s", "block": "b", "tags": {"team": "x", "env": "p"}},
        {
            "agent": "a",
            "organization": "org",
            "project": "p",
            "model": "n",
            "endpoint": "responses",
            "provider": "azure",
            "tags": {"env": "p"},
        },
        {"model": None, "tags": {"team": "x", "env": "p"}},
    )
    assert {name: counted(meter.by(name)) for name in DIMENSIONS} == {
        "model": {"m": 1, "n": 1, "(unknown model)": 1},
        "agent": {"a": 2, UNATTRIBUTED: 1},
        "operation": {"o": 1, UNATTRIBUTED: 2},
        "user": {"u": 1, UNATTRIBUTED: 2},
        "session": {"s": 1, UNATTRIBUTED: 2},
        "tag": {"env=p, team=x": 2, "env=p": 1},
        "endpoint": {"chat.completions": 2, "responses": 1},
        "provider": {"openai": 2, "azure": 1},
        "block": {"b": 1, "(no block)": 2},
        "organization": {"org": 1, UNATTRIBUTED: 2},
        "project": {"p": 1, UNATTRIBUTED: 2},
    }
    assert counted(meter.by("tag:team")) == {"x": 2, UNATTRIBUTED: 1}
    assert counted(meter.by("tag:env")) == {"p": 3}
    assert counted(meter.by("tag:no such")) == {UNATTRIBUTED: 3}
    assert counted(meter.by("agent", "model")) == {("a", "m"): 1, ("a", "n"): 1, (UNATTRIBUTED, "(unknown model)"): 1}
    assert meter.by("model")["n"].total_tokens == 2
    assert meter.overflow_calls == 0
    totals, rows = grouped(meter.snapshot(), "agent")
    assert (totals, counted(rows)) == (meter.totals, {("a",): 2, (UNATTRIBUTED,): 1})
    assert grouped(meter.snapshot(), "model", "agent") == (meter.totals, meter.by("model", "agent"))


def test_order_of_tags_does_not_matter():
    """The same tags in another order are the same tags."""
    meter = filled({"tags": {"a": "1", "b": "2"}}, {"tags": {"b": "2", "a": "1"}})
    assert counted(meter.by("tag")) == {"a=1, b=2": 2}


@pytest.mark.parametrize("wrong", ["colour", "tag:", "TAG", "", 3, None, ("model",)])
def test_unknown_dimension_raises_with_the_known_ones(wrong):
    """Asked for a dimension that there is not, the meter names those that there are."""
    meter = filled()
    for ask in (meter.by, meter.snapshot().by):
        with pytest.raises(ConfigurationError, match=r"there are no totals by .*\"model\", \"agent\".*\"tag:NAME\""):
            ask("model", wrong)
    with pytest.raises(ConfigurationError, match="name what the totals are to be by"):
        meter.by()


def test_empty_meter_has_no_rows():
    """Without calls there are no rows, by any dimension."""
    meter = filled()
    assert all(meter.by(name) == {} for name in ASKED)
    assert grouped(meter.snapshot(), *DIMENSIONS) == (openai_meter.Totals(), {})


def test_nested_blocks_have_their_own_rows():
    """The name of the innermost block is that of the call."""
    openai_meter.install(meter=openai_meter.Meter())

    def answer(request):
        return contract.http_library().Response(200, json=contract.usage_body())

    with contract.in_process(answer) as client, track("outer", agent="a") as outer:
        contract.chat(client)
        with track("inner", agent="b") as inner:
            contract.chat(client)
    assert counted(outer.by("block", "agent")) == {("outer", "a"): 1, ("inner", "b"): 1}
    assert counted(inner.by("block", "agent")) == {("inner", "b"): 1}


# --- everything adds up -----------------------------------------------------------------------------------------------


@FEW
@given(st.lists(calls, max_size=40), questions)
def test_every_breakdown_sums_up_to_the_totals(bounds, made, asked):
    """Whatever the calls, the dimensions and the bounds."""
    store = Store(5)
    for call in made:
        store.add(call)
    every_breakdown_adds_up(store, tuple(asked))
    assert store.totals().calls == len(made)
    totals = store.totals()
    assert totals.total_tokens == sum(call.usage.total_tokens or 0 for call in made)
    assert totals.images == sum(call.usage.images for call in made)
    assert totals.errors == sum(call.failed for call in made)
    assert totals.unpriced_calls == sum(call.cost_pico is None for call in made)
    assert (totals.cost_pico or 0) == sum(call.cost_pico or 0 for call in made)
    assert totals.estimated_cost_pico == sum(call.cost_pico for call in made if call.cost_estimated)
    assert store.overflow_calls() <= len(made)
    assert store.reset().calls == len(made)
    assert grouped(store.read(), *asked) == (Store().totals(), {})
    assert store.overflow_calls() == 0


@FEW
@given(st.lists(calls, max_size=40))
def test_each_row_has_exactly_its_calls(made):
    """Within the bounds."""
    store = Store()
    for call in made:
        store.add(call)
    for place, name in enumerate(("model", "agent", "user", "session")):
        missing = "(unknown model)" if place == 0 else UNATTRIBUTED
        expected = {}
        for call in made:
            row = (getattr(call, name) or missing,)
            expected[row] = expected.get(row, 0) + 1
        assert counted(store.by(name)) == expected
    teams = {}
    for call in made:
        row = (call.tags.get("team", UNATTRIBUTED), call.model or "(unknown model)")
        teams[row] = teams.get(row, 0) + 1
    assert counted(store.by("tag:team", "model")) == teams
    assert store.overflow_calls() == 0


@FEW
@given(st.lists(calls, max_size=30))
def test_repriced_calls_stay_in_their_rows(bounds, made):
    """Calls that are priced later are in the same rows as if they had been priced at first, folded or not."""
    late, early = Store(), Store()

    def price(call):
        return replace(call, cost_pico=Fraction(7, 3), cost_status="priced") if call.cost_pico is None else call

    numbered = [replace(call, id=str(number)) for number, call in enumerate(made)]
    for call in numbered[:20]:
        late.add(call)
        early.add(price(call))
    late.reprice(price)
    for call in numbered[20:]:
        late.add(call)
        early.add(price(call))
    late.reprice(price)
    every_breakdown_adds_up(late)
    assert grouped(late.read(), *ASKED) == grouped(early.read(), *ASKED)
    assert (late.calls(), late.read().unpriced, late.overflow_calls()) == (early.calls(), (), early.overflow_calls())


def test_breakdowns_sum_up_while_threads_add(bounds):
    """While many threads add, every reading adds up; at the end nothing is missing."""
    store = Store(10)

    def work(place):
        for number in range(100):
            store.add(replace(
                BASE, model=f"m{number % 3}", agent=f"a{place}", session=f"s{number}", tags={"run": str(number % 7)},
                cost_pico=None if number % 5 else 3, cost_status="unpriced" if number % 5 else "priced",
            ))  # fmt: skip
            if number % 20 == place:
                totals, rows = grouped(store.read(), "agent", "session", "tag:run")
                adds_up(totals, rows.values())
            if number % 50 == place:
                store.reprice(lambda call: replace(call, cost_pico=3, cost_status="priced"))

    assert contract.threads(8, work) == []
    assert store.totals().calls == 800
    every_breakdown_adds_up(store)
    store.reprice(lambda call: replace(call, cost_pico=3, cost_status="priced"))
    every_breakdown_adds_up(store)


# --- names without end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model", "agent", "operation", "user", "session", "block", "endpoint", "provider"])
def test_values_beyond_the_bounds_share_a_row(monkeypatch, name):
    """Beyond the bound, new values count as others, and the known ones stay exact; the number of folded
    calls is shown."""
    monkeypatch.setattr(dimensions, "VALUES", 3)
    meter = filled(*({name: f"v{number}"} for number in (0, 1, 2, 3, 4, 0, 3, 2)))
    assert counted(meter.by(name)) == {("v0"): 2, "v1": 1, "v2": 2, f"(other {name}s)": 3}
    assert meter.overflow_calls == 3
    assert meter.totals.calls == 8


def test_tag_with_endless_values_does_not_fold_other_tags(monkeypatch):
    """A tag with another value for each call is folded alone: totals by the other tags stay exact."""
    monkeypatch.setattr(dimensions, "VALUES", 3)
    meter = filled(*({"tags": {"request": str(number), "team": f"t{number % 2}"}} for number in range(10)))
    assert counted(meter.by("tag:team")) == {"t0": 5, "t1": 5}
    assert counted(meter.by("tag:request")) == {"0": 1, "1": 1, "2": 1, "(other tags)": 7}
    assert counted(meter.by("tag")) == {
        "request=0, team=t0": 1,
        "request=1, team=t1": 1,
        "request=2, team=t0": 1,
        "request=(other), team=t1": 4,
        "request=(other), team=t0": 3,
    }
    assert meter.overflow_calls == 7


def test_endless_tag_names_are_folded(monkeypatch):
    """Beyond the bound of names, tags count as others."""
    monkeypatch.setattr(dimensions, "NAMES", 2)
    meter = filled(*({"tags": {"team": "x", f"t{number}": "1"}} for number in range(4)))
    assert counted(meter.by("tag")) == {"t0=1, team=x": 1, "team=x, (other tags)": 3}
    assert counted(meter.by("tag:team")) == {"x": 4}
    assert counted(meter.by("tag:t3")) == {UNATTRIBUTED: 1, "(other tags)": 3}
    assert meter.overflow_calls == 3


def test_full_table_folds_sessions_first(monkeypatch):
    """Beyond the bound of combinations, new ones lose their session, then their user, then tags; known ones
    stay exact."""
    monkeypatch.setattr(dimensions, "COMBINATIONS", 40)  # and two more for each that is given up
    meter = filled(*({"session": f"s{number}", "user": "u", "agent": "a"} for number in range(100)))
    assert meter.by("session")["(other sessions)"].calls == meter.overflow_calls == 60
    assert counted(meter.by("user", "agent")) == {("u", "a"): 100}
    for number in range(100):
        meter._take(replace(BASE, session=f"s{number}", user=f"u{number}", agent="a", tags={"run": "1"}))
    assert counted(meter.by("agent", "tag:run")) == {("a", UNATTRIBUTED): 100, ("a", "1"): 100}
    assert len(meter.by("session")) == 41
    assert meter.by("user")["(other users)"].calls == 99
    assert meter.totals.calls == 200
    meter._take(replace(BASE, session="s7", user="u", agent="a"))
    assert meter.by("session")["s7"].calls == 2


@FEW
@given(st.lists(calls, max_size=60))
def test_number_of_combinations_is_bounded(made):
    """However different the calls are, the number of combinations is bounded, with the folded ones added."""
    kept, dimensions.COMBINATIONS = dimensions.COMBINATIONS, 5
    try:
        store = Store()
        for call in made:
            store.add(call)
        # Beyond the bound only what is not said at all can still differ: nine dimensions that are there or not.
        assert sum(dimensions._OTHER not in key for key in store._table.sums) <= 5 + 2
        every_breakdown_adds_up(store)
    finally:
        dimensions.COMBINATIONS = kept


def test_interrupt_during_repricing_changes_nothing():
    """Ctrl-C in the middle leaves every sum, and the next repricing does all of it."""
    store = Store()
    for number in range(4):
        store.add(replace(BASE, id=str(number), session=str(number)))
    before = grouped(store.read(), *ASKED)

    def interrupted(call):
        if call.id == "2":
            raise KeyboardInterrupt
        return replace(call, cost_pico=5, cost_status="priced")

    with pytest.raises(KeyboardInterrupt):
        store.reprice(interrupted)
    assert grouped(store.read(), *ASKED) == before
    assert store.reprice(lambda call: replace(call, cost_pico=5, cost_status="priced")) == 4
    assert store.totals().cost_pico == 20


def test_signal_handler_during_repricing_leaves_correct_sums():
    """It may add a call, reprice, or reset."""

    def priced(call):
        return replace(call, cost_pico=5, cost_status="priced")

    for act, calls_then, cost in (
        (lambda store: store.add(replace(BASE, id="new", cost_pico=1, cost_status="priced")), 4, 16),
        (lambda store: store.reprice(priced), 3, 15),
        (lambda store: store.reset(), 0, 0),
    ):
        store, waiting = Store(), [act]
        for number in range(3):
            store.add(replace(BASE, id=str(number)))

        def price(call, store=store, waiting=waiting):
            if waiting:
                waiting.pop()(store)
            return priced(call)

        store.reprice(price)
        every_breakdown_adds_up(store)
        assert (store.totals().calls, store.totals().cost_pico or 0, store.read().unpriced) == (calls_then, cost, ())
        assert len(store.calls()) == calls_then


def test_repricing_in_a_handler_during_counting_loses_nothing(monkeypatch):
    """Neither the prices nor the call."""
    store = Store()
    store.add(BASE)
    plus, waiting = dimensions.Sum.plus, [True]

    def interrupted(self, call):
        added = plus(self, call)
        if waiting:
            waiting.pop()
            store.reprice(lambda call: replace(call, cost_pico=5, cost_status="priced"))
        return added

    monkeypatch.setattr(dimensions.Sum, "plus", interrupted)
    store.add(replace(BASE, cost_pico=2, cost_status="priced"))
    assert (store.totals().calls, store.totals().cost_pico) == (2, 7)
    every_breakdown_adds_up(store)
