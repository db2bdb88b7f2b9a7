"""Where calls go: each sink gets each call once, with its price, and nobody's trouble is another's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import contract
import pytest
from contract import chat

import openai_meter
from openai_meter import Call, Meter
from openai_meter.core import faults
from openai_meter.metering.sinks import Sink
from openai_meter.pricing.loading import WAITING


class Heap:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.before: list[Callable[[], None]] = []
        self.finished = 0

    def put(self, call: Call) -> None:
        self.calls.append(call)

    def before_finish(self, do: Callable[[], None]) -> None:
        self.before.append(do)

    def flush(self, timeout: float) -> bool:
        return timeout > 1

    def finish(self) -> None:
        self.finished += 1


class Broken(Heap):
    """A sink that can do nothing."""

    def put(self, call: Call) -> None:
        raise RuntimeError

    def finish(self) -> None:
        raise RuntimeError


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


def test_each_sink_gets_each_call_once_and_priced(api):
    """Also calls that ended before the prices were read come with their price, in every sink."""
    meter = openai_meter.install(hosts={"127.0.0.1": "openai"})
    one, other = Heap(), Heap()
    sinks: tuple[Sink, ...] = (one, other)
    for sink in sinks:
        meter.add_sink(sink)
    with contract.sync_client(api) as client:
        for _ in range(5):
            chat(client)
    assert meter.flush()
    one.calls.sort(key=lambda call: call.id)
    other.calls.sort(key=lambda call: call.id)
    assert one.calls == other.calls == sorted(meter.calls, key=lambda call: call.id)
    assert len(one.calls) == 5
    assert all(call.cost is not None and call.cost_reason is not WAITING for call in one.calls)


def test_sink_gets_the_calls_between_add_sink_and_remove_sink(meter):
    """A call that had to wait for its price until after remove_sink() is included."""
    heap = Heap()
    with contract.in_process(_answer) as client:
        chat(client)
        meter.settle()
        meter.add_sink(heap)
        chat(client)
        chat(client)
        meter.remove_sink(heap)
        chat(client)
    assert meter.flush()
    assert (len(heap.calls), meter.totals.calls) == (2, 4)
    meter.remove_sink(heap)
    meter.add_sink(heap)
    meter.add_sink(heap)  # once more changes nothing
    with contract.in_process(_answer) as client:
        chat(client)
    assert meter.flush()
    assert len(heap.calls) == 3


def _answer(request: Any) -> Any:
    return contract.http_library().Response(200, json=contract.usage_body())


def test_call_in_a_block_goes_to_a_sink_once(api, meter):
    """A call that a block counts too goes to the sinks of the meter once."""
    heap = Heap()
    meter.add_sink(heap)
    with contract.sync_client(api) as client, openai_meter.track("outer"), openai_meter.track("inner"):
        chat(client)
    assert meter.flush()
    assert [call.block for call in heap.calls] == ["inner"]


def test_sink_that_raises_affects_no_other_sink(meter):
    """No other sink loses a call, and the program gets no error."""
    faults.reraise = False
    heap, broken = Heap(), Broken()
    meter.add_sink(broken)
    meter.add_sink(heap)
    with contract.in_process(_answer) as client:
        assert chat(client).choices[0].message.content == "ok"
    assert meter.flush()
    assert len(heap.calls) == 1
    assert faults.kinds() == {"passing a call to Broken: RuntimeError": 1}
    meter._finish_sinks()
    assert heap.finished == 1
    assert faults.kinds()["finishing Broken: RuntimeError"] == 1


def test_flush_is_done_when_every_sink_is_done(meter):
    """One that is not done makes the result False; without a sink it is True."""
    assert Meter().flush()
    meter.add_sink(Heap())
    assert meter.flush(2.0)
    assert not meter.flush(0.5)


def test_sink_gets_waiting_calls_before_the_end(meter):
    """Calls that wait for their price are passed on by the function that a sink gets to call before the end."""
    heap = Heap()
    meter.add_sink(heap)
    with contract.in_process(_answer) as client:
        chat(client)
    for do in heap.before:
        do()
    assert [call.cost_reason is WAITING for call in heap.calls] == [False]


def test_sink_that_can_hold_gets_a_call_before_and_with_its_price(meter, monkeypatch):
    """A call that ends while the prices are read is held at once, and put once when they are read."""

    class Holder(Heap):
        def __init__(self) -> None:
            super().__init__()
            self.held: list[Call] = []

        def hold(self, call: Call) -> None:
            self.held.append(call)

    go_on, warm = threading.Event(), type(meter.prices).warm
    monkeypatch.setattr(type(meter.prices), "warm", lambda book: go_on.wait(60) and warm(book))
    holder, heap = Holder(), Heap()
    meter.add_sink(holder)
    meter.add_sink(heap)
    with contract.in_process(_answer) as client:
        chat(client)
        assert [call.cost_reason for call in holder.held] == [WAITING]
        assert holder.calls == heap.calls == []
        go_on.set()
        assert meter.flush()
        chat(client)
    assert holder.calls == heap.calls
    assert [call.cost_reason == WAITING for call in holder.calls] == [False, False]
    assert [call.id for call in holder.held] == [holder.calls[0].id]


def test_sink_gets_every_call_while_others_are_added_and_removed(meter):
    """A sink that stays gets every call, whatever others do meanwhile."""
    stays, calls = Heap(), 40
    meter.add_sink(stays)
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            heap = Heap()
            meter.add_sink(heap)
            meter.remove_sink(heap)

    other = threading.Thread(target=come_and_go)
    other.start()
    with contract.in_process(_answer) as client:
        for _ in range(calls):
            chat(client)
    done.set()
    other.join(60)
    assert meter.flush()
    assert len(stays.calls) == calls


def test_program_without_sinks_loads_no_exporter():
    """Without sinks, neither OpenTelemetry nor Prometheus nor SQLAlchemy is loaded by installing and calling."""
    code, output, errors = contract.python(
        """
import sys
import contract, openai_meter
meter = openai_meter.install()
with contract.Api() as api, contract.sync_client(api) as client:
    contract.chat(client)
print(meter.totals.calls, [name for name in ("opentelemetry.metrics", "prometheus_client", "sqlalchemy",
    "openai_meter.otel", "openai_meter.prometheus", "openai_meter.ledger") if name in sys.modules])
""",
        fresh=True,
    )
    assert (code, output.strip()) == (0, "1 []"), errors
