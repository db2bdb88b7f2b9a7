"""What was called in a stretch of a test or a notebook, by whatever client, thread or task."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self, overload

from openai_meter.api import get_meter
from openai_meter.core.call import Call
from openai_meter.instrumentation.listening import listening
from openai_meter.metering.meter import Meter, Readable

__all__ = ["Capture", "capture"]

_RECENT = 100_000


class Capture(Readable):
    """The calls that begin in a stretch of code: a sequence of ``Call`` with all readings of a meter; see `capture`.

    ``calls[0]``, ``len(calls)`` and loops see the calls that have ended, in the order of their ends; as a meter has
    them, there are also ``calls.totals``, ``calls.cost``, ``calls.by("model")``, ``calls.print_summary()``.
    Thread-safe.
    """

    def __init__(self, meter: Meter) -> None:
        super().__init__(_RECENT)
        self._meter = meter

    @property
    def meter(self) -> Meter:
        """The meter whose prices the calls have."""
        return self._meter

    def start(self) -> None:
        """Begins to listen, or goes on; harmless if it listens already."""
        with listening.lock:
            if not self.listening:
                listening.captures = (*listening.captures, self)
                listening.settle()

    def stop(self) -> None:
        """Stops listening; calls that are open count when they end. Harmless if it does not listen."""
        with listening.lock:
            if self.listening:
                listening.captures = tuple(one for one in listening.captures if one is not self)
                listening.settle()

    def hand_over(self) -> Capture:
        """A new capture that hears in place of this one from now on: each call is heard by one of the two."""
        fresh = Capture(self._meter)
        with listening.lock:
            listening.captures = tuple(fresh if one is self else one for one in listening.captures)
            listening.settle()
        return fresh

    @property
    def listening(self) -> bool:
        """Whether calls that begin now are heard."""
        return any(one is self for one in listening.captures)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __len__(self) -> int:
        return len(self.calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self.calls)

    @overload
    def __getitem__(self, place: int) -> Call: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Call, ...]: ...
    def __getitem__(self, place: int | slice) -> Call | tuple[Call, ...]:
        return self.calls[place]

    def __repr__(self) -> str:
        return f"<Capture: {self.summary(lang='en')}>"


def capture() -> Capture:
    """Makes a block that gives the calls made in it: ``with`` (or ``async with``) ``capture() as calls:``.

    It captures the calls of all clients, threads and tasks of the process, whether the meter is installed or not. A
    stream that is opened in the block and read after it counts. An installed meter goes on counting the same calls.
    Leaving the block restores everything. Prices are those of the installed meter. Captures may be nested.
    """
    return Capture(listening.installed or get_meter())
