"""Usage and cost on the span that was current when a call was made."""

from __future__ import annotations

import weakref
from collections import deque
from functools import partial
from typing import Any, NamedTuple

from opentelemetry import trace

from openai_meter.core import faults
from openai_meter.core.background import worker
from openai_meter.core.call import Call
from openai_meter.core.money import Amount, usd
from openai_meter.core.native import Lock
from openai_meter.metering.meter import Meter
from openai_meter.metering.sinks import Watched

__all__ = ["Spans"]


class _Sums(NamedTuple):
    """What the calls of one span used."""

    calls: int = 0
    input: int | None = None
    output: int | None = None
    cost: Amount | None = None
    estimated: bool = False
    stated: bool = False
    """Whether a host named the price itself."""

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
        """What is known of the calls; unknown is not 0."""
        found: dict[str, Any] = {"openai_meter.calls": self.calls}
        if self.input is not None:
            found["gen_ai.usage.input_tokens"] = self.input
        if self.output is not None:
            found["gen_ai.usage.output_tokens"] = self.output
        if self.cost is not None:
            found["gen_ai.usage.cost.amount"] = float(usd(self.cost))
            found["gen_ai.usage.cost.currency"] = "USD"
            found["gen_ai.usage.cost.source"] = "provider" if self.stated else "local"
        if self.estimated:
            found["openai_meter.estimated"] = True
        return found


def _plus(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else one + other


class Spans:
    """Stands beside the calls of some meters. Holds no span alive; never waits for one, never raises."""

    def __init__(self) -> None:
        self._meters: weakref.WeakSet[Meter] = weakref.WeakSet()
        self._sums: weakref.WeakKeyDictionary[Any, _Sums] = weakref.WeakKeyDictionary()
        self._inbox: deque[tuple[weakref.ref[Any], Call]] = deque()
        self._lock = Lock()

    def watch(self, meter: Meter, *, wanted: bool) -> None:
        """Begins to watch a meter, or ends it; where no meter is watched, calls cost nothing."""
        (self._meters.add if wanted else self._meters.discard)(meter)
        if len(self._meters):
            Watched.beside = self
        elif Watched.beside is self:
            Watched.beside = None

    def look(self) -> weakref.ref[Any] | None:
        """The span that is current, if it records."""
        try:
            span = trace.get_current_span()
            return weakref.ref(span) if span.is_recording() else None
        except Exception as error:
            faults.caught(error, "looking at the current span")
            return None

    def ended(self, seen: object, meter: Meter, call: Call) -> None:
        """Sets what a call used on its span. What interrupts another setting leaves its call to that."""
        if meter in self._meters and isinstance(seen, weakref.ref):
            self._inbox.append((seen, call))
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

    def _set(self, seen: weakref.ref[Any], call: Call) -> None:
        span = seen()
        if span is None or not span.is_recording():
            return
        sums = self._sums[span] = self._sums.get(span, _Sums()).plus(call)
        # The SDK sets attributes under a lock. This may be a finalizer, or a signal handler, in the middle of that.
        lock = getattr(span, "_lock", None)
        if lock is not None and getattr(lock, "locked", bool)():
            worker.submit(partial(self._set_later, seen))
        else:
            span.set_attributes(sums.attributes())

    def _set_later(self, seen: weakref.ref[Any]) -> None:
        span = seen()
        if span is not None and span.is_recording():
            span.set_attributes(self._sums[span].attributes())

    def start_over_in_child(self) -> None:
        """A thread of the parent may have held the lock."""
        self._lock = Lock()
        self._inbox.clear()
