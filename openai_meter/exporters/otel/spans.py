"""Sets usage and cost on the span that was current when a call started."""

from __future__ import annotations

import weakref
from collections import deque
from functools import partial
from typing import Any, NamedTuple

from opentelemetry import trace

from openai_meter.core import faults
from openai_meter.core.background import worker
from openai_meter.core.call import Call
from openai_meter.core.money import Amount, to_float, usd
from openai_meter.core.native import Lock
from openai_meter.metering.meter import Meter
from openai_meter.metering.sinks import ObserverSlot

__all__ = ["Spans"]


class _Sums(NamedTuple):
    """The sums over the calls of one span."""

    calls: int = 0
    input: int | None = None
    output: int | None = None
    cost: Amount | None = None
    estimated: bool = False
    stated: bool = False
    """Whether a provider stated the cost of a call."""

    def plus(self, call: Call) -> _Sums:
        return _Sums(
            self.calls + 1,
            _plus(self.input, call.usage.input_tokens),
            _plus(self.output, call.usage.output_tokens),
            _plus(self.cost, call.cost_pico),
            self.estimated or call.estimated or call.cost_estimated,
            self.stated or call.price_source == "provider",
        )

    def attributes(self) -> dict[str, Any]:
        """The attributes of the span; unknown values are left out."""
        attributes: dict[str, Any] = {"openai_meter.calls": self.calls}
        if self.input is not None:
            attributes["gen_ai.usage.input_tokens"] = self.input
        if self.output is not None:
            attributes["gen_ai.usage.output_tokens"] = self.output
        if self.cost is not None:
            attributes["gen_ai.usage.cost.amount"] = to_float(usd(self.cost))
            attributes["gen_ai.usage.cost.currency"] = "USD"
            attributes["gen_ai.usage.cost.source"] = "provider" if self.stated else "local"
        if self.estimated:
            attributes["openai_meter.estimated"] = True
        return attributes


def _plus(first: Any, second: Any) -> Any:
    return second if first is None else first if second is None else first + second


class Spans:
    """Observes the calls of some meters. Keeps no span alive, never waits for the lock of a span, never raises."""

    def __init__(self) -> None:
        self._meters: weakref.WeakSet[Meter] = weakref.WeakSet()
        self._sums: weakref.WeakKeyDictionary[Any, _Sums] = weakref.WeakKeyDictionary()
        self._inbox: deque[tuple[weakref.ref[Any], Call]] = deque()
        self._lock = Lock()

    def watch(self, meter: Meter, *, wanted: bool) -> None:
        """Starts or stops observing a meter. While no meter is observed, calls have no extra cost."""
        (self._meters.add if wanted else self._meters.discard)(meter)
        if len(self._meters):
            ObserverSlot.observer = self
        elif ObserverSlot.observer is self:
            ObserverSlot.observer = None

    def call_started(self) -> weakref.ref[Any] | None:
        """A weak reference to the current span, if it is recording."""
        try:
            span = trace.get_current_span()
            return weakref.ref(span) if span.is_recording() else None
        except Exception as error:
            faults.caught(error, "reading the current span")
            return None

    def call_ended(self, span: object, meter: Meter, call: Call) -> None:
        """Adds a call to its span. In a finalizer or a signal handler, the interrupted code may set the attributes."""
        if meter in self._meters and isinstance(span, weakref.ref):
            self._inbox.append((span, call))
            self._empty_inbox()

    def _empty_inbox(self) -> None:
        while self._inbox and self._lock.acquire(blocking=False):
            try:
                while self._inbox:
                    self._set(*self._inbox.popleft())
            except Exception as error:
                faults.caught(error, "setting attributes of a span")
            finally:
                self._lock.release()

    def _set(self, reference: weakref.ref[Any], call: Call) -> None:
        span = reference()
        if span is None or not span.is_recording():
            return
        sums = self._sums[span] = self._sums.get(span, _Sums()).plus(call)
        # The SDK sets attributes under the span's lock. This thread may hold it: a finalizer can run at any point.
        lock = getattr(span, "_lock", None)
        if lock is not None and getattr(lock, "locked", bool)():
            worker.submit(partial(self._set_later, reference))
            worker.start()
        else:
            span.set_attributes(sums.attributes())

    def _set_later(self, reference: weakref.ref[Any]) -> None:
        span = reference()
        written = None
        # A call that ends while the span is written sets newer sums: then this write has overwritten them.
        while span is not None and span.is_recording() and (sums := self._sums[span]) is not written:
            span.set_attributes(sums.attributes())
            written = sums

    def start_over_in_child(self) -> None:
        """Replaces the lock in a forked child: a thread of the parent may hold it."""
        self._lock = Lock()
        self._inbox.clear()
