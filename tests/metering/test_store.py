"""Totals and the ring of recent calls."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from openai_meter import Call, Usage
from openai_meter.core import dimensions
from openai_meter.core.usage import COUNTS
from openai_meter.metering.store import DIMENSIONS, OTHER_MODELS, UNKNOWN_MODEL, Store

START = datetime(2026, 1, 1, tzinfo=UTC)
BASE = Call("id", START, 0.1, "chat.completions", "openai", "m", "m", "ok", Usage(1, 2, 3), "api")

calls = st.builds(
    lambda model, status, one, two, cached, known, after, cost: replace(
        BASE,
        model=model,
        status=status,
        started_at=START + timedelta(seconds=after),
        usage=Usage(one, two, one + two, cached_input_tokens=cached) if known else Usage(),
        cost_pico=cost,
        cost_status="unpriced" if cost is None else "priced",
    ),
    st.sampled_from(["a", "b", None]),
    st.sampled_from(["ok", "error", "failed", "aborted"]),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.booleans(),
    st.integers(0, 10**6),
    st.none() | st.integers(0, 10**15) | st.fractions(0, 10**9),
)


def grouped(snapshot, *dimensions):
    """The totals of a snapshot, and those by some dimensions."""
    return snapshot.totals, snapshot.by(*dimensions)


@given(st.lists(calls, max_size=40), st.integers(0, 10))
def test_totals_are_the_sums_over_all_calls(made: list[Call], recent: int) -> None:
    """Totals include every call, those by model sum up to them, and the ring has the last ones."""
    store = Store(recent)
    for call in made:
        store.add(call)
    totals, models = grouped(store.read(), "model")
    assert totals.calls == len(made) == sum(one.calls for one in models.values())
    assert totals.errors == sum(call.failed for call in made) == sum(one.errors for one in models.values())
    for name in ("input_tokens", "output_tokens", "total_tokens", *COUNTS):
        assert getattr(totals, name) == sum(getattr(call.usage, name) or 0 for call in made)
        assert getattr(totals, name) == sum(getattr(one, name) for one in models.values())
    assert totals.unmeasured_calls == sum(not call.usage.known for call in made)
    costs = [call.cost_pico for call in made if call.cost_pico is not None]
    assert totals.unpriced_calls == len(made) - len(costs) == sum(one.calls for one in store.read().unpriced)
    assert (totals.cost_pico or 0) == sum(costs) == sum(one.cost_pico or 0 for one in models.values())
    assert (totals.cost is None) == (len(costs) < len(made) and not sum(costs))
    assert totals.first_call_at == min((call.started_at for call in made), default=None)
    assert totals.last_call_at == max((call.started_at for call in made), default=None)
    assert set(models) == {(call.model or UNKNOWN_MODEL,) for call in made}
    assert store.calls() == (tuple(made)[-recent:] if recent else ())
    assert store.reset() == totals
    assert grouped(store.read(), "model") == (Store().totals(), {})


def test_free_call_is_not_unmeasured() -> None:
    """A moderation has no tokens: it is counted, and nothing about it is unknown."""
    store = Store()
    store.add(replace(BASE, endpoint="moderations", usage=Usage(), cost_status="free", cost_pico=0))
    store.add(replace(BASE, endpoint="audio.speech", usage=Usage(characters=14)))
    assert (store.totals().calls, store.totals().unmeasured_calls, store.totals().characters) == (2, 0, 14)


def test_endless_model_names_use_bounded_memory() -> None:
    """Beyond a thousand models the rest share a row, and the sums stay exact."""
    store = Store(10)
    for number in range(dimensions.VALUES + 50):
        store.add(replace(BASE, model=f"model-{number}"))
    totals, models = grouped(store.read(), "model")
    assert len(models) == dimensions.VALUES + 1
    assert models[OTHER_MODELS,].calls == 50
    assert totals.calls == sum(one.calls for one in models.values()) == dimensions.VALUES + 50


def test_adding_never_waits_for_a_reader() -> None:
    """While another thread holds the lock, a call is taken at once and counted by the next reader."""
    store = Store()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with store._lock:
            held.set()
            release.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    store.add(BASE)
    assert len(store._inbox) == 1
    release.set()
    holder.join()
    assert store.totals().calls == 1


def test_call_added_while_another_is_added_is_counted() -> None:
    """A finalizer may add a call while its own thread is counting another: both are counted, nothing blocks."""
    store = Store()

    class Nosy(str):
        __slots__ = ()

        def __hash__(self) -> int:  # runs in the middle of counting, as a finalizer would
            if len(store._inbox) < 2 and len(store._ring) < 2:
                store.add(BASE)
            return super().__hash__()

    store.add(replace(BASE, model=Nosy("nosy")))
    totals, models = grouped(store.read(), "model")
    assert totals.calls == sum(one.calls for one in models.values()) >= 2


def test_resizing_keeps_the_most_recent() -> None:
    """A ring made smaller keeps the newest calls."""
    store = Store(5)
    for number in range(5):
        store.add(replace(BASE, id=str(number)))
    store.resize(2)
    assert [call.id for call in store.calls()] == ["3", "4"]
    assert store.recent == 2


@given(st.lists(calls, max_size=30), st.integers(30, 40))
def test_repricing_gives_the_totals_of_calls_priced_at_first(made: list[Call], recent: int) -> None:
    """Totals after repricing are those of calls that had the price from the beginning, and the ring has them too."""
    late, early = Store(recent), Store(recent)
    numbered = [replace(call, id=str(number)) for number, call in enumerate(made)]

    def price(call: Call) -> Call:
        return replace(call, cost_pico=7, cost_status="priced") if call.cost_pico is None else call

    for call in numbered:
        late.add(call)
        early.add(price(call))
    assert late.reprice(price) == sum(call.cost_pico is None for call in numbered)
    assert grouped(late.read(), *DIMENSIONS) == grouped(early.read(), *DIMENSIONS)
    assert late.calls() == early.calls()
    assert late.read().unpriced == ()
