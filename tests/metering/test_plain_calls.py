"""Plain calls are counted in batches, and every figure is what it would be one by one."""

from __future__ import annotations

import sys
import threading
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import PYTHON, execute

from openai_meter import Threshold
from openai_meter.alerts.dispatch import AlertDispatcher
from openai_meter.core.call import Call
from openai_meter.metering.attribution import Attribution
from openai_meter.metering.plain_calls import PlainCall, PlainKind, call_of
from openai_meter.metering.store import BATCH, Store
from openai_meter.pricing import PriceBook

BOOK = PriceBook.only({})
START = 1_790_000_000.0
LIMITS = (
    Threshold("calls", 40), Threshold("cost", 2), Threshold("tokens", 30_000), Threshold("tokens_per_call", 900),
    Threshold("errors", 1),
)  # fmt: skip


def kind(model: str = "m", user: str | None = None) -> PlainKind:
    """A kind of plain calls."""
    return PlainKind(
        endpoint="chat.completions", provider="openai", host="api.openai.com", model=model, requested_model=model,
        service_tier="default", attribution=Attribution(user=user, tags={"env": "test"}), block=None,
        day=START // 86_400 * 86_400, state=None, book=BOOK, text_amount=None, price_reason=None,
        price_source="override", owner=(b"org-a", b"proj_a"),
    )  # fmt: skip


KINDS = (kind(), kind("n"), kind("n", "ada"))


def plain(number: int = 0, tokens: int = 10, cost: int = 5, of: PlainKind = KINDS[0]) -> PlainCall:
    """A plain call whose output is half of its tokens."""
    made = tokens // 2
    headers = (b"org-a", b"proj_a", b"req_%d" % number, b"200", None, b"9000")
    return PlainCall(
        of, START + number, 0.25, None, f"id-{number}", tokens - made, made, tokens, made // 2, 0, made // 3, cost,
        headers,
    )  # fmt: skip


plain_calls = st.lists(
    st.builds(
        plain,
        st.integers(0, 1_000),
        st.integers(1, 3_000),
        st.integers(0, 2 * 10**11) | st.fractions(0, 10**9, max_denominator=7),
        st.sampled_from(KINDS),
    ),
    max_size=3 * BATCH,
)
same_as_ever = [field.name for field in fields(Call) if field.name != "id"]


class Noting(AlertDispatcher):
    """Notes each alert with the number of calls that were added until then."""

    def __init__(self, limits: tuple[Threshold, ...], added: list[int]) -> None:
        super().__init__(list(limits))
        self.noted: list[tuple[object, ...]] = []
        self._added = added

    def _pass_on(self, alerts) -> None:
        self.noted += [(self._added[0], alert.threshold, alert.value, alert.at) for alert in alerts]


@given(plain_calls, st.sets(st.sampled_from(LIMITS)), st.integers(0, 200))
def test_batches_give_the_figures_of_single_calls(made, limits, recent) -> None:
    """Sums, recent calls and alerts are equal, and each alert is raised by the same call with the same value."""
    added = [0]
    together, singly = (Store(recent, Noting(tuple(limits), added)) for _ in range(2))
    for number, call in enumerate(made):
        added[0] = number
        together.add_plain(call)
        singly.add(call_of(call))
    assert together.dispatcher.noted == singly.dispatcher.noted
    one, other = together.read(), singly.read()
    assert one.sums == other.sums
    assert one.threshold_usage == other.threshold_usage
    assert [(alert.threshold, alert.value, alert.at) for alert in one.alerts] == [
        (alert.threshold, alert.value, alert.at) for alert in other.alerts
    ]
    for name in same_as_ever:
        assert [getattr(call, name) for call in one.calls] == [getattr(call, name) for call in other.calls]


def test_every_reader_counts_the_waiting_calls() -> None:
    """A single plain call waits in the inbox, and is in every figure that is read."""
    store = Store()
    store.add(call_of(plain()))
    for number in range(1, 3):  # the first is counted at once, and finds out what room there is
        store.add_plain(plain(number))
    assert len(store._inbox) == 1
    assert store.totals().calls == 3
    store.add_plain(plain(3))
    assert store.by("model")["m",].calls == 4
    store.add_plain(plain(4))
    assert [call.response_id for call in store.calls()] == [f"id-{number}" for number in range(5)]
    store.add_plain(plain(5))
    assert store.reset().calls == 6


def test_call_that_was_read_stays_the_same_object() -> None:
    """A call, its usage and its id are made at the first read, and are the same objects for every reader."""
    store = Store(100)
    for number in range(5):
        store.add_plain(plain(number))
    before = store.calls()
    store.add(call_of(plain(5)))
    for number in range(6, 9):
        store.add_plain(plain(number))
    after = store.read().calls
    assert len(after) == 9
    assert all(one is other for one, other in zip(before, after, strict=False))
    assert all(type(call) is Call for call in after)
    assert after[0].usage is after[0].usage
    assert len({call.id for call in after}) == 9


def test_changed_limits_count_the_calls_that_waited_before() -> None:
    """Calls that waited count for the limits of their time, and for no later ones."""
    store = Store(10, AlertDispatcher([Threshold("tokens", 10**6)]))
    for number in range(10):
        store.add_plain(plain(number))
    store.use(AlertDispatcher([Threshold("calls", 3)]))
    for number in range(3):
        store.add_plain(plain(number))
    assert store.read().alerts == ()
    store.add_plain(plain(4))
    (alert,) = store.read().alerts
    assert alert.value == 4


def test_calls_that_come_in_while_those_of_others_are_added_count_for_the_limits() -> None:
    """Only the calls of other processes raise no alert; those that this process makes meanwhile do."""
    added = [0]
    store = Store(10, Noting((Threshold("calls", 4),), added))
    store.add(call_of(plain()))

    def rows():
        for number in range(2):
            store.add_plain(plain(number))  # as another thread does
            yield call_of(plain(number))
            store.add(call_of(plain(number)))
            store.catch_up()

    assert store.add_others(rows()) == 2
    assert [alert.value for alert in store.read().alerts] == [5]
    for number in range(6):
        added[0] = number
        store.add_plain(plain(number))
    assert [noted[0] for noted in store.dispatcher.noted] == [0]
    assert store.totals().calls == 1 + 6 + 6


def test_limits_that_a_signal_handler_sets_while_a_batch_is_counted_are_checked_at_every_call(monkeypatch) -> None:
    """The room of the earlier limits is not used for the new ones."""
    added = [0]
    store = Store(10, AlertDispatcher(False))
    store.add(call_of(plain()))
    store.add_plain(plain())  # finds out what room there is
    watch = store.dispatcher.watch
    room = type(watch).room

    def interrupted(monitor, calls):
        found = room(monitor, calls)
        if monitor is watch:
            store.use(Noting((Threshold("calls", 2),), added))
        return found

    monkeypatch.setattr(type(watch), "room", interrupted)
    store.add_plain(plain())
    store.catch_up()
    for number in range(4):
        added[0] = number
        store.add_plain(plain())
    assert [noted[0] for noted in store.dispatcher.noted] == [2]


@pytest.mark.parametrize("window", [60, "day"])
def test_limits_with_a_window_are_checked_at_every_call(window) -> None:
    """Where a limit has a window, or is per user, no call waits."""
    for limit in (Threshold("calls", 10**6, window=window), Threshold("tokens", 10**6, per="user")):
        store = Store(10, AlertDispatcher([limit]))
        for number in range(5):
            store.add_plain(plain(number))
            assert not store._inbox


def test_batches_of_many_threads_are_exact() -> None:
    """32 threads add plain and other calls while others read: nothing is lost, and nothing counted twice."""
    store = Store(50, AlertDispatcher([Threshold("calls", 10**9), Threshold("cost", 10**9)]))
    threads, each = 32, 100

    def add(number: int) -> None:
        for turn in range(each):
            call = plain(turn, tokens=10 + number, of=KINDS[turn % 3])
            if turn % 10:
                store.add_plain(call)
            else:
                store.add(call_of(call))
            if turn % 25 == 0:
                snapshot = store.read()
                assert snapshot.totals.calls == sum(one.calls for one in snapshot.by("model").values())

    workers = [threading.Thread(target=add, args=(number,)) for number in range(threads)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
    finally:
        sys.setswitchinterval(before)
    totals = store.totals()
    assert totals.calls == threads * each
    assert totals.total_tokens == sum((10 + number) * each for number in range(threads))
    assert {usage.threshold.metric: usage.used for usage in store.read().threshold_usage}["calls"] == totals.calls


def test_interrupt_anywhere_in_a_batch_counts_all_or_nothing() -> None:
    """Wherever Ctrl-C comes while a batch is counted, each call is counted once: in sums, limits and recent calls."""
    code, output, errors = execute([*PYTHON, "interrupted_batches.py"])
    assert (code, errors) == (0, b"")
    assert int(output) > 50


def test_interrupt_anywhere_in_a_store_leaves_its_lock_free() -> None:
    """Wherever Ctrl-C comes while a call is added or figures are read, other threads can go on to do the same."""
    code, output, errors = execute([*PYTHON, "interrupted_stores.py"])
    assert (code, errors) == (0, b"")
    places = dict(line.split() for line in output.decode().splitlines())
    assert set(places) == {"add", "add_plain", "add_others", "read", "calls", "totals", "reprice", "reset"}
    assert all(int(number) > 5 for number in places.values())
