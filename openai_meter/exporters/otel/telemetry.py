"""Records calls in OpenTelemetry instruments, each time metrics are collected."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from openai_meter.core import faults, fork_safety
from openai_meter.core.background import worker
from openai_meter.core.call import Call
from openai_meter.core.money import to_float
from openai_meter.core.native import Lock
from openai_meter.errors import ConfigurationError
from openai_meter.exporters.otel.names import ATTRIBUTION, AttributeMaker
from openai_meter.exporters.otel.spans import Spans
from openai_meter.metering.call_in_flight import OPEN, WORK, finish_open_streams
from openai_meter.metering.meter import Meter

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

    from openai_meter.budgets import BudgetStatus

__all__ = ["Telemetry", "attach", "attached", "detach", "switch"]

_BATCH = 1_000
"""Each time so many calls are queued, they are recorded without waiting for a collection."""
_MAX_QUEUE = 50_000
"""Queued calls; further calls are dropped and counted."""

_MAX_COUNT = 2**53
"""Tokens of one call. OTLP has 64 bits for a sum; an answer may state any number."""

_TOKENS = tuple(4**n for n in range(14))
_SECONDS = tuple(0.01 * 2**n for n in range(14))
_FIRST_CHUNK = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_DOLLARS = tuple(float(f"{digits}e{n}") for n in range(-6, 2) for digits in (1, 2.5, 5))


class Telemetry:
    """A sink that records the calls of a meter in OpenTelemetry instruments; made by :func:`attach`."""

    def __init__(self, provider: MeterProvider | None, attribute_maker: AttributeMaker) -> None:
        self._provider = provider
        self._attributes = attribute_maker
        self._queue: deque[Call] = deque()
        self._before_finish: list[weakref.WeakMethod[Callable[[], None]]] = []
        self.dropped = 0
        """Calls that were dropped because the queue was full."""
        self._make_instruments()

    def _make_instruments(self) -> None:
        meter = metrics.get_meter("openai_meter", _version(), self._provider)

        def histogram(name: str, unit: str, bounds: tuple[float, ...], description: str) -> Any:
            return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

        def counter(name: str) -> Any:
            return meter.create_counter(f"gen_ai.client.inference.usage.{name}", "{token}", f"Used {name}.")

        self._duration = histogram(
            "gen_ai.client.operation.duration", "s", _SECONDS, "Seconds from the request to the end of the response."
        )
        self._first_chunk = histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            _FIRST_CHUNK,
            "Seconds until the first event of a stream.",
        )
        self._cost = histogram(
            "gen_ai.client.operation.cost",
            "{USD}",
            _DOLLARS,
            "The cost of a call in US dollars, as far as its price is known.",
        )
        self._unpriced = meter.create_counter(
            "openai_meter.unpriced_calls", "{call}", "Calls whose cost is unknown, or known only in part."
        )
        if self._attributes.latest:
            self._used = {name: counter(name) for name in self._attributes.PARTS}
        else:
            self._tokens = histogram(
                "gen_ai.client.token.usage", "{token}", _TOKENS, "Input and output tokens of a call."
            )
        # The callback of this instrument runs at each collection, and records the queued calls.
        meter.create_observable_up_down_counter("openai_meter.open_calls", [_collect], "{call}", "Calls in flight.")
        for figure, text in (("limit", "What a budget can spend in its window."),
                             ("spent", "What a budget has spent in its window."),
                             ("held", "The most that open calls of a budget can cost.")):  # fmt: skip
            meter.create_observable_gauge(
                f"openai_meter.budget.{figure}", [partial(_budgets, weakref.ref(self), figure)], "1", text
            )

    # --- a sink -------------------------------------------------------------------------------------------------------

    def put(self, call: Call) -> None:
        """Queues a call until metrics are collected."""
        waiting = len(self._queue)
        if waiting >= _MAX_QUEUE:
            self.dropped += 1
            return
        self._queue.append(call)
        if waiting % _BATCH == _BATCH - 1:
            worker.submit(self.record)
            worker.start()

    def before_finish(self, do: Callable[[], None]) -> None:
        """Registers a method that :meth:`finish` calls first. Keeps only a weak reference."""
        self._before_finish.append(weakref.WeakMethod(do))

    def flush(self, timeout: float = 10.0) -> bool:
        """Records all queued calls. The program's metric reader exports them."""
        self.record()
        return worker.drain(timeout)

    def finish(self) -> None:
        """Records all remaining calls. Never raises."""
        for reference in self._before_finish:
            try:
                if (do := reference()) is not None:
                    do()
            except Exception as error:
                faults.caught(error, "recording the last calls for OpenTelemetry")
        self.record()

    def record(self) -> None:
        """Records the queued calls. Never raises. Several threads may do it: each takes calls one by one."""
        while self._queue:
            try:
                call = self._queue.popleft()
            except IndexError:  # another thread has taken it
                return
            try:
                self._record(call)
            except Exception as error:
                faults.caught(error, "recording a call for OpenTelemetry")

    @property
    def orphaned(self) -> bool:
        """Whether the meter that puts calls is gone."""
        return not any(reference() for reference in self._before_finish)

    def start_over_in_child(self) -> None:
        """Drops the queue in a forked child: its calls belong to the parent."""
        self._queue.clear()
        self.dropped = 0

    # --- recording ----------------------------------------------------------------------------------------------------

    def _record(self, call: Call) -> None:
        make = self._attributes
        common = make.attributes(call)
        error = make.error(call)
        self._duration.record(call.duration, common if error is None else {**common, "error.type": error})
        if call.time_to_first_token is not None:
            self._first_chunk.record(call.time_to_first_token, common)
        marked = make.marked(common, estimated=call.estimated)
        if make.latest:
            for name, modality, tokens in make.parts(call.usage):
                self._used[name].add(min(tokens, _MAX_COUNT), {**marked, "gen_ai.token.modality": modality})
        else:
            for kind, count in (("input", call.usage.input_tokens), ("output", call.usage.output_tokens)):
                if count:  # an unknown count is not 0, and embeddings have no output
                    self._tokens.record(min(count, _MAX_COUNT), {**marked, "gen_ai.token.type": kind})
        if call.cost is not None and call.cost_status != "free":
            self._cost.record(
                to_float(call.cost), make.marked({**common, **make.cost(call)}, estimated=call.cost_estimated)
            )
        if call.cost_status in ("unpriced", "partial"):
            self._unpriced.add(1, common)


# --- collecting -------------------------------------------------------------------------------------------------------

_attached: set[Telemetry] = set()
"""Strong references: the queued calls of a meter that is gone are still recorded."""
_exiting = False


def _collect(_: CallbackOptions) -> Iterable[Observation]:
    """Records all queued calls. Their values are part of this same collection, also of the last one at exit."""
    global _exiting  # noqa: PLW0603 - the process ends once
    try:
        if not _exiting and not threading.main_thread().is_alive():
            _exiting = True
            finish_open_streams()  # if the provider shuts down before our own exit handler, this is its last collection
        for telemetry in list(_attached):
            telemetry.finish()
            if telemetry.orphaned:
                _attached.discard(telemetry)
    except Exception as error:
        faults.caught(error, "collecting metrics for OpenTelemetry")
    yield metrics.Observation(len(OPEN) + len(WORK))


_BUDGET_UNITS = {"usd": "USD", "tokens": "{token}", "calls": "{call}"}
_BUDGET_KEYS = 100
"""Keys of one budget that have a value of their own: those that have spent the most."""


def _budgets(telemetry: weakref.ref[Telemetry], figure: str, _: CallbackOptions) -> Iterable[Observation]:
    """One figure of each budget of a meter, by budget, key and unit."""
    found: list[Observation] = []
    try:
        for meter in [one for one, exporter in list(_of_meters.items()) if exporter is telemetry()]:
            for status in _statuses(meter):
                attributes = {
                    "openai_meter.budget": status.name,
                    "openai_meter.budget.unit": _BUDGET_UNITS[status.unit],
                }
                if status.key is not None:
                    attributes["openai_meter.budget.key"] = status.key
                found.append(metrics.Observation(float(getattr(status, figure)), attributes))
    except Exception as error:
        faults.caught(error, "collecting budgets for OpenTelemetry")
    return found


def _statuses(meter: Meter) -> Iterable[BudgetStatus]:
    for view in meter.budgets.values():
        yield from sorted(view.all(), key=lambda status: status.spent, reverse=True)[:_BUDGET_KEYS]


def _at_exit() -> None:
    for telemetry in list(_attached):
        telemetry.finish()


def _start_over_in_child(_: object) -> None:
    global _attaching  # noqa: PLW0603 - a child has one of its own
    _attaching = Lock()
    for telemetry in list(_attached):
        telemetry.start_over_in_child()
    _spans.start_over_in_child()


atexit.register(_at_exit)
fork_safety.on_fork("opentelemetry", after_in_child=_start_over_in_child)


# --- attaching --------------------------------------------------------------------------------------------------------

_spans = Spans()
_of_meters: weakref.WeakKeyDictionary[Meter, Telemetry] = weakref.WeakKeyDictionary()
_attaching = Lock()


def attach(
    meter: Meter,
    meter_provider: MeterProvider | None = None,
    *,
    attributes: Iterable[str] = (),
    spans: bool = False,
    values: int = 100,
) -> Telemetry:
    """Sends the calls of a meter to OpenTelemetry from now on. A second call changes the settings. Thread-safe.

    Args:
        meter: the meter.
        meter_provider: the provider of the instruments. Default: the global one (``opentelemetry.metrics``), which the
            program may set up before or after this call.
        attributes: fields of attribution to add: ``agent``, ``operation``, ``user``, ``session``, ``block`` or
            ``tag:NAME``. Default: none, because they may be personal data and may have any number of values.
        spans: whether usage and cost are set on the span that is current when a call starts.
        values: the number of values that each attribute can have; further values are sent as ``other``.

    Raises:
        ConfigurationError: a setting is not valid.
    """
    if not isinstance(meter, Meter):
        raise ConfigurationError(f"{meter!r} is not a meter; pass openai_meter.get_meter(), for example")
    if meter_provider is not None and not hasattr(meter_provider, "get_meter"):
        raise ConfigurationError(
            f"meter_provider={meter_provider!r} is not an OpenTelemetry MeterProvider; leave it out for the global one"
        )
    if not isinstance(spans, bool):
        raise ConfigurationError(f"spans={spans!r} is not valid; pass True or False")
    if isinstance(values, bool) or not isinstance(values, int) or values < 1:
        raise ConfigurationError(f"values={values!r} is not valid; pass a whole number from 1 up")
    names = (attributes,) if isinstance(attributes, str) else tuple(attributes)
    for name in names:
        if name not in ATTRIBUTION and not (isinstance(name, str) and name.startswith("tag:") and len(name) > 4):
            raise ConfigurationError(
                f"attributes={names!r}: {name!r} is not a field of attribution; "
                'use agent, operation, user, session, block or "tag:NAME"'
            )
    telemetry = Telemetry(meter_provider, AttributeMaker(names, values, latest=_wants_latest()))
    with _attaching:
        _end(meter)
        _of_meters[meter] = telemetry
        _attached.add(telemetry)
        meter.add_sink(telemetry)
        _spans.watch(meter, wanted=spans)
    return telemetry


def detach(meter: Meter) -> None:
    """Stops sending the calls of a meter, after the calls so far. Harmless if the meter is not attached."""
    with _attaching:
        _end(meter)
        _spans.watch(meter, wanted=False)


def _end(meter: Meter) -> None:
    telemetry = _of_meters.pop(meter, None)
    if telemetry is not None:
        meter.remove_sink(telemetry)
        telemetry.finish()
        _attached.discard(telemetry)


def switch(meter: Meter, *, spans: bool | None, only: bool = False) -> None:
    """Attaches a meter; if it is attached already, changes its setting for spans.

    Args:
        meter: the meter.
        spans: as for :func:`attach`; ``None`` leaves it unchanged.
        only: if ``True``, a meter that is not attached stays so.
    """
    if meter in _of_meters:
        if spans is not None:
            _spans.watch(meter, wanted=spans)
    elif not only:
        attach(meter, spans=bool(spans))


def attached(meter: Meter) -> Telemetry | None:
    """The exporter of a meter; ``None`` if the meter is not attached."""
    return _of_meters.get(meter)


def _wants_latest() -> bool:
    wanted = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")
    return "gen_ai_latest_experimental" in [name.strip() for name in wanted]


def _version() -> str:
    from openai_meter.core.version import __version__  # noqa: PLC0415 - needed here only

    return __version__
