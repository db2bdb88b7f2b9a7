"""Sinks: the places that calls go to once they are counted, such as a ledger or OpenTelemetry.

A sink is anything with the methods of :class:`Sink`. A meter passes each call to its sinks once, in the order in which
they were added, as soon as the call has its price: ``meter.add_sink(sink)``, and ``meter.remove_sink(sink)``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from openai_meter.core import faults
from openai_meter.pricing.loading import WAITING, PriceLoader

if TYPE_CHECKING:
    from openai_meter.core.call import Call

__all__ = ["CallObserver", "ObserverSlot", "Sink", "Sinks"]


class Sink(Protocol):
    """Takes the calls of a meter.

    A sink may have a method ``hold(call)`` too, under the rules of :meth:`put`. It is given a call that ended while the
    price files were being read, so that the sink can keep it on the disk. :meth:`put` gets the call with its price.
    """

    def put(self, call: Call) -> None:
        """Takes a call. Must not wait or raise. May run in a finalizer, and must not start a thread then."""

    def before_finish(self, do: Callable[[], None]) -> None:
        """Takes a function that :meth:`finish` has to call first. It calls :meth:`put` with the last calls.

        Refer to it weakly: it belongs to the meter. A sink that is never finished may ignore it.
        """

    def flush(self, timeout: float) -> bool:
        """Waits at most ``timeout`` seconds until all calls so far are stored; returns whether they are."""

    def finish(self) -> None:
        """Stores or sends the remaining calls, at the end of the process. Must not raise."""


class Sinks:
    """The sinks of one meter. Thread-safe; recording a call never waits.

    A call that ended while the price files were being read has no price yet: it is delivered when it has one.

    Args:
        price_loader: prices the calls that had to wait.
        settle: finishes estimates and prices before the last call is delivered.
    """

    def __init__(self, price_loader: PriceLoader, settle: Callable[[], None]) -> None:
        self.sinks: tuple[Sink, ...] = ()
        self._price_loader = price_loader
        self._waiting: deque[Call] = deque()
        self._settle = settle

    def replace(self, old: Sink | None, new: Sink | None) -> None:
        """Removes a sink, after all calls so far were delivered to it, and adds another one."""
        if old is not None:
            self.deliver_all()
        sinks = tuple(sink for sink in self.sinks if sink is not old and sink is not new)
        if new is not None:
            new.before_finish(self.deliver_all)
            sinks = (*sinks, new)
        self.sinks = sinks

    def record(self, call: Call) -> None:
        """Delivers a call, or keeps it until it has a price. Call ``worker.start()`` next where threads may start."""
        if call.cost_reason is not WAITING:
            self._put(call)
            return
        self._put(call, at_once=True)
        self._hold(call)
        self._waiting.append(call)
        if not self._price_loader.reading:  # it came after all others were priced
            self.deliver_waiting()

    def _put(self, call: Call, *, at_once: bool | None = None) -> None:
        """Passes a call to the sinks.

        Args:
            call: the call.
            at_once: ``True``: only to sinks that take calls before they have a price (their attribute ``at_once`` is
                true). ``False``: only to the others. ``None``: to all.
        """
        for sink in self.sinks:
            if at_once is not None and getattr(sink, "at_once", False) is not at_once:
                continue
            try:
                sink.put(call)
            except Exception as error:
                faults.caught(error, f"passing a call to {type(sink).__name__}")

    def _hold(self, call: Call) -> None:
        for sink in self.sinks:
            try:
                if (hold := getattr(sink, "hold", None)) is not None:
                    hold(call)
            except Exception as error:
                faults.caught(error, f"holding a call for {type(sink).__name__}")

    def deliver_waiting(self) -> None:
        """Delivers the calls that waited for prices; without a price, if the price files cannot be read."""
        while self._waiting:
            try:
                call = self._waiting.popleft()
            except IndexError:  # another thread has delivered them
                return
            self._put(self._priced(call), at_once=False)

    def _priced(self, call: Call) -> Call:
        try:
            return call if self._price_loader.reading else self._price_loader.again(call)
        except Exception as error:
            faults.caught(error, "pricing a call for the sinks")
            return call

    def deliver_all(self) -> None:
        """Delivers everything; waits for the price files. Runs before a sink is finished."""
        self._settle()
        self.deliver_waiting()

    def flush(self, timeout: float) -> bool:
        """Waits until all sinks have stored all calls so far; returns whether they have."""
        self.deliver_all()
        done = [sink.flush(timeout) for sink in self.sinks]
        return all(done)

    def finish(self) -> None:
        """Finishes every sink, at the end of the process."""
        for sink in self.sinks:
            try:
                sink.finish()
            except Exception as error:
                faults.caught(error, f"finishing {type(sink).__name__}")

    def start_over_in_child(self) -> None:
        """Forgets the calls of the parent process. Sinks have fork hooks of their own."""
        self._waiting.clear()


class CallObserver(Protocol):
    """Is notified when a call begins, where it begins, and when it has ended. Its methods must not raise."""

    def call_started(self) -> object | None:
        """Returns the facts of the start for :meth:`call_ended`, such as the current span."""

    def call_ended(self, started: object, meter: Any, call: Call) -> None:
        """Takes the finished call, and the result of :meth:`call_started`. May run in a finalizer."""


class ObserverSlot:
    """Holds the observer of the calls of this process, if there is one."""

    observer: CallObserver | None = None
