"""Records the calls of a part of a test or a notebook, of all clients, threads and tasks."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self, overload

from openai_meter.api import get_meter
from openai_meter.core.call import Call
from openai_meter.instrumentation.listening import registry
from openai_meter.metering.meter import Meter, Readable

__all__ = ["Capture", "capture"]

_RECENT = 100_000


class Capture(Readable):
    """The calls that begin in a part of the code: a sequence of ``Call`` with all figures of a meter; see `capture`.

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
        """Starts listening; harmless if it listens already."""
        with registry.lock:
            if not self.listening:
                registry.captures = (*registry.captures, self)
                registry.update()

    def stop(self) -> None:
        """Stops listening; calls that are open count when they end. Harmless if it does not listen."""
        with registry.lock:
            if self.listening:
                registry.captures = tuple(capture for capture in registry.captures if capture is not self)
                registry.update()

    def hand_over(self) -> Capture:
        """Returns a new capture that takes the place of this one: each call is recorded by one of the two."""
        fresh = Capture(self._meter)
        with registry.lock:
            registry.captures = tuple(fresh if capture is self else capture for capture in registry.captures)
            registry.update()
        return fresh

    @property
    def listening(self) -> bool:
        """Whether calls that begin now are recorded."""
        return any(capture is self for capture in registry.captures)

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
    return Capture(registry.installed or get_meter())
