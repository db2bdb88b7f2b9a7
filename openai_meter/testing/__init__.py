"""For tests of metered programs: their calls, an API without key or network, a fixed clock and prices.

::

    from openai_meter import Price
    from openai_meter.testing import capture, fake_client, fixed_prices

    def test_answers_are_cheap():
        client = fake_client(input_tokens=1_000, output_tokens=200)
        with fixed_prices({"gpt-5-mini": Price(input=1, output=10)}), capture() as calls:
            answer(client, "How do we get rid of the paper forms?")
        assert len(calls) == 1
        assert calls.totals.total_tokens == 1_200
        assert calls.cost == Decimal("0.003")
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any

from openai_meter import tracker
from openai_meter.api import get_meter
from openai_meter.budgets import account, admission, bound, guard
from openai_meter.errors import ConfigurationError
from openai_meter.instrumentation import retries
from openai_meter.instrumentation.listening import registry
from openai_meter.metering import call_in_flight, manual, quick_path, store
from openai_meter.reports import report
from openai_meter.testing.capture import Capture, capture
from openai_meter.testing.fake_api.in_process import FakeAPI, fake_async_client, fake_client
from openai_meter.testing.fake_api.loopback import Answer, Request

if TYPE_CHECKING:
    from openai_meter.metering.meter import Meter
    from openai_meter.pricing import Price

__all__ = [
    "Answer", "Capture", "FakeAPI", "FixedClock", "Request", "capture", "fake_async_client", "fake_client",
    "fixed_clock", "fixed_prices",
]  # fmt: skip


class FixedClock:
    """A clock that stands still until it is moved; made by `fixed_clock`. Thread-safe."""

    def __init__(self, at: datetime) -> None:
        self._start = at
        self.passed = 0.0
        """The seconds by which it was moved."""

    @property
    def now(self) -> datetime:
        """The time that it shows, in UTC."""
        return self._start + timedelta(seconds=self.passed)

    def move(self, seconds: float) -> None:
        """Moves it by some seconds, forward or back."""
        self.passed += seconds


class _Time:
    """Replaces the module ``time`` where the meter reads it."""

    def __init__(self, clock: FixedClock) -> None:
        self._clock = clock

    def time(self) -> float:
        return self._clock.now.timestamp()

    def perf_counter(self) -> float:
        return self._clock.passed

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


# The modules of the meter that read the time, by the name that they use. To add a module, add it here.
_TIMES: tuple[ModuleType, ...] = (account, admission, bound, call_in_flight, guard, manual, quick_path, retries)
_DATETIMES: tuple[ModuleType, ...] = (store, report, tracker)


@contextmanager
def fixed_clock(at: datetime) -> Iterator[FixedClock]:
    """Fixes the meter's clock, and no other: when calls begin, how long they take, by which day's prices they cost.

    All other code gets the real time. It holds for the whole process, until the block is left; blocks may be nested.
    Alerts with a time window are not affected in meters that were made before.

    Args:
        at: the time; UTC where it has no zone. The clock that the block gives can be moved.

    Raises:
        ConfigurationError: ``at`` is not a datetime.
    """
    if not isinstance(at, datetime):
        raise ConfigurationError(f"fixed_clock({at!r}) is not a datetime; pass one such as datetime(2026, 1, 1)")
    clock = FixedClock(at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC))

    class FixedDatetime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return clock.now if tz is not None else clock.now.astimezone().replace(tzinfo=None)

    with ExitStack() as undo:
        for module in _TIMES:
            _put(undo, module, "time", _Time(clock))
        for module in _DATETIMES:
            _put(undo, module, "datetime", FixedDatetime)
        yield clock


def _put(undo: ExitStack, place: object, name: str, value: object) -> None:
    """Sets an attribute, and restores its old value later."""
    undo.callback(setattr, place, name, getattr(place, name))
    setattr(place, name, value)


@contextmanager
def fixed_prices(prices: Mapping[str, Price], meter: Meter | None = None) -> Iterator[None]:
    """Fixes the prices of models, independent of the price lists of the day; other models have no price.

    Calls that end in the block keep that cost. When the block is left, the meter has its own prices again, and those
    that were set in the block are gone.

    Args:
        prices: by model: ``{"gpt-5-mini": Price(input=1, output=10)}``.
        meter: whose prices; the installed meter's (or :func:`get_meter`'s) by default, which are also those of
            `capture` and ``track()``.

    Raises:
        ConfigurationError: a price cannot be used.
    """
    from openai_meter.pricing import PriceBook  # noqa: PLC0415 - the fixed clock does not need them

    book = PriceBook.only(prices)
    chosen = meter or registry.installed or get_meter()
    chosen.settle()  # calls that have ended get the prices from before
    loader = chosen._price_loader
    with ExitStack() as undo:
        _put(undo, chosen, "_settings", chosen._settings)
        _put(undo, loader, "_failed", value=False)
        _put(undo, loader, "_ready", value=True)
        _put(undo, loader, "_book", book)
        undo.callback(chosen.settle)
        yield
