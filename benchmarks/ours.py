"""The ways that need no rival: nothing at all, a wrapper that does nothing, the meter with more and more of it on.

To add one, add a function to `OURS`; it instruments the SDK and returns what tells what was recorded.
"""

# ruff: noqa: PLC0415 - the extras of the meter are needed for everything only

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import openai
import wrapt
from openai._base_client import AsyncAPIClient, SyncAPIClient

import openai_meter


class Nothing:
    """Records nothing."""

    def client(self, plain: Any) -> Any:
        return plain

    def seen(self) -> list[Any]:
        return []

    def forget(self) -> None:
        pass

    def flush(self) -> None:
        pass


class Metered(Nothing):
    """What a meter has counted; it goes on counting, as it does in a program."""

    def __init__(self, meter: openai_meter.Meter, *flushed: Callable[[], object]) -> None:
        self._meter = meter
        self._flushed = flushed
        self._before = 0

    def seen(self) -> list[Any]:
        return list(range(self._meter.totals.calls - self._before))

    def forget(self) -> None:
        self._before = self._meter.totals.calls

    def flush(self) -> None:
        self._meter.settle()
        for one in self._flushed:
            one()


def bare() -> Nothing:
    """The bare SDK once more: what is added to it by nothing is the noise."""
    return Nothing()


def no_op() -> Nothing:
    """Patches what the meter patches with a wrapper that does nothing."""

    def nothing(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    for owner in (SyncAPIClient, AsyncAPIClient):
        wrapt.wrap_function_wrapper(owner, "request", nothing)
    return Nothing()


def idle() -> Nothing:
    """The meter's patches, for another client than the one that calls."""
    openai_meter.wrap(openai.OpenAI(api_key="none"))
    return Nothing()


def metered() -> Metered:
    """``install()``: usage, price, attribution, the default thresholds, in memory."""
    return Metered(openai_meter.install())


def everything() -> Metered:
    """``install()`` with a ledger in SQLite and metrics of OpenTelemetry in memory, under a tag."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from openai_meter import otel

    reader = InMemoryMetricReader()
    meter = openai_meter.install(ledger=f"sqlite:///{tempfile.mkdtemp()}/usage.db")
    otel.attach(meter, MeterProvider([reader]))
    openai_meter.tag(agent="concierge", operation="greet", user="u1", session="s1", hotel="north").__enter__()
    return Metered(meter, meter.flush, reader.get_metrics_data)


NO_OP = "no-op wrapper"
OURS: dict[str, Callable[[], Nothing]] = {
    "bare, again": bare,
    NO_OP: no_op,
    "idle": idle,
    "metered": metered,
    "everything on": everything,
}
