"""Where calls go once they are counted: to a ledger, to OpenTelemetry, to whatever takes them in the same way.

A sink is anything with the methods of :class:`Sink`. A meter feeds its sinks in the order in which they came, each
call once it has its price: ``meter.add_sink(sink)``, and ``meter.remove_sink(sink)``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from openai_meter.core import faults
from openai_meter.pricing.loading import WAITING, PriceLoader

if TYPE_CHECKING:
    from openai_meter.core.call import Call

__all__ = ["Beside", "Feed", "Sink", "Watched"]


class Sink(Protocol):
    """What takes the calls of a meter."""

    def put(self, call: Call) -> None:
        """Takes a call. Never waits, never raises; may run in a finalizer, and must not start a thread then."""

    def before_finish(self, do: Callable[[], None]) -> None:
        """Is given a method to be called before the end, which puts what has waited for its price; holds no object."""

    def flush(self, timeout: float) -> bool:
        """Waits until what was put is where it goes; says whether it is."""

    def finish(self) -> None:
        """Brings what was put to where it goes, at the end of the process. Never raises."""


class Feed:
    """Passes the calls of one meter on to its sinks. Thread-safe; never waits.

    A call that ended while the price files were being read has no price yet: it is passed on when it has.

    Args:
        tariff: prices what had to wait.
        settle: does what has to be done before the last call can be passed on.
    """

    def __init__(self, tariff: PriceLoader, settle: Callable[[], None]) -> None:
        self.sinks: tuple[Sink, ...] = ()
        self._price_loader = tariff
        self._waiting: deque[Call] = deque()
        self._settle = settle

    def change(self, old: Sink | None, new: Sink | None) -> None:
        """Takes a sink out, after all calls so far have gone to it, and another one in."""
        if old is not None:
            self.pass_on_all()
        sinks = tuple(sink for sink in self.sinks if sink is not old and sink is not new)
        if new is not None:
            new.before_finish(self.pass_on_all)
            sinks = (*sinks, new)
        self.sinks = sinks

    def record(self, call: Call) -> None:
        """Takes a call. ``worker.start()`` has to follow, where a thread may be started."""
        if call.cost_reason is not WAITING:
            self._put(call)
            return
        self._waiting.append(call)
        if not self._price_loader.reading:  # it came after all others had been priced
            self.pass_on()

    def _put(self, call: Call) -> None:
        for sink in self.sinks:
            try:
                sink.put(call)
            except Exception as error:
                faults.caught(error, f"passing a call on to {type(sink).__name__}")

    def pass_on(self) -> None:
        """Passes on what had to wait for prices; without one, if they cannot be read."""
        while self._waiting:
            try:
                call = self._waiting.popleft()
            except IndexError:  # somebody else was quicker
                return
            self._put(self._priced(call))

    def _priced(self, call: Call) -> Call:
        try:
            return call if self._price_loader.reading or self._price_loader.failed else self._price_loader.again(call)
        except Exception as error:
            faults.caught(error, "pricing a call for the sinks")
            return call

    def pass_on_all(self) -> None:
        """Passes on everything; waits for the price files. Runs before a sink is finished."""
        self._settle()
        self.pass_on()

    def flush(self, timeout: float) -> bool:
        """Waits until all calls so far are where they go; says whether they are."""
        self.pass_on_all()
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
        """Forgets what belongs to the parent; the sinks see to themselves."""
        self._waiting.clear()


class Beside(Protocol):
    """Who looks at what stands around a call when it begins, and hears of its end where it ends. Neither may raise."""

    def look(self) -> object | None:
        """What is to be remembered of the beginning, if anything."""

    def ended(self, seen: object, meter: Any, call: Call) -> None:
        """Hears that the call has ended; may run in a finalizer."""


class Watched:
    """The place of the one who stands beside the calls of this process, if there is one."""

    beside: Beside | None = None
