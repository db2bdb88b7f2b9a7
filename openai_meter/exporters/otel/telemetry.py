"""Records calls in instruments of OpenTelemetry, whenever metrics are collected."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from openai_meter.core import faults, fork_safety
from openai_meter.core.background import worker
from openai_meter.core.call import Call
from openai_meter.core.native import Lock
from openai_meter.errors import ConfigurationError
from openai_meter.exporters.otel.names import SAID, Namer
from openai_meter.exporters.otel.spans import Spans
from openai_meter.metering.call_in_flight import OPEN, WORK, finish_open_streams
from openai_meter.metering.meter import Meter

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

__all__ = ["Telemetry", "attach", "attached", "detach", "switch"]

_BATCH = 1_000
"""Calls from which on nobody waits for a collection."""
_LIMIT = 50_000
"""Calls that wait at most."""

_TOKENS = tuple(4**n for n in range(14))
_SECONDS = tuple(0.01 * 2**n for n in range(14))
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_DOLLARS = tuple(float(f"{one}e{n}") for n in range(-6, 2) for one in (1, 2.5, 5))


class Telemetry:
    """Records the calls of a meter in instruments of OpenTelemetry. A sink; made by :func:`attach`."""

    def __init__(self, provider: MeterProvider | None, namer: Namer) -> None:
        self._provider = provider
        self._namer = namer
        self._queue: deque[Call] = deque()
        self._before: list[weakref.WeakMethod[Callable[[], None]]] = []
        self.dropped = 0
        """Calls that came when the queue was full, and are in no metric."""
        self._make_instruments()

    def _make_instruments(self) -> None:
        meter = metrics.get_meter("openai_meter", _version(), self._provider)

        def histogram(name: str, unit: str, bounds: tuple[float, ...], description: str) -> Any:
            return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

        def counter(name: str) -> Any:
            return meter.create_counter(f"gen_ai.client.inference.usage.{name}", "{token}", f"Used {name}.")

        self._duration = histogram(
            "gen_ai.client.operation.duration", "s", _SECONDS, "Seconds from the request to the end of the answer."
        )
        self._first = histogram(
            "gen_ai.client.operation.time_to_first_chunk", "s", _FIRST, "Seconds until the first event of a stream."
        )
        self._cost = histogram(
            "gen_ai.client.operation.cost", "{USD}", _DOLLARS, "The cost of a call, as far as its price is known."
        )
        self._unpriced = meter.create_counter(
            "openai_meter.unpriced_calls", "{call}", "Calls whose cost is unknown, or known only in part."
        )
        if self._namer.latest:
            self._used = {name: counter(name) for name in self._namer.PARTS}
        else:
            self._tokens = histogram(
                "gen_ai.client.token.usage", "{token}", _TOKENS, "Input and output tokens of a call."
            )
        # Asking for this one is how it is known that metrics are being collected.
        meter.create_observable_up_down_counter(
            "openai_meter.open_calls", [_collect], "{call}", "Calls that have begun and not ended."
        )

    # --- a sink -------------------------------------------------------------------------------------------------------

    def put(self, call: Call) -> None:
        """Takes a call, to be recorded when metrics are collected."""
        waiting = len(self._queue)
        if waiting >= _LIMIT:
            self.dropped += 1
            return
        self._queue.append(call)
        if waiting % _BATCH == _BATCH - 1:
            worker.submit(self.record)

    def before_finish(self, do: Callable[[], None]) -> None:
        """Has a method called before the last calls are recorded."""
        self._before.append(weakref.WeakMethod(do))

    def flush(self, timeout: float = 10.0) -> bool:
        """Records all calls so far. They are exported when the program's reader does that."""
        self.record()
        return worker.drain(timeout)

    def finish(self) -> None:
        """Records what is left. Never raises."""
        for reference in self._before:
            try:
                if (do := reference()) is not None:
                    do()
            except Exception as error:
                faults.caught(error, "recording the last calls for OpenTelemetry")
        self.record()

    def record(self) -> None:
        """Records what is in the queue. Never raises. Without a lock: whoever does it takes calls one by one."""
        while self._queue:
            try:
                call = self._queue.popleft()
            except IndexError:  # somebody else was quicker
                return
            try:
                self._record(call)
            except Exception as error:
                faults.caught(error, "recording a call for OpenTelemetry")

    @property
    def alone(self) -> bool:
        """Whether nobody is left who puts calls."""
        return not any(reference() for reference in self._before)

    def start_over_in_child(self) -> None:
        """Forgets what belongs to the parent."""
        self._queue.clear()
        self.dropped = 0

    # --- recording ----------------------------------------------------------------------------------------------------

    def _record(self, call: Call) -> None:
        namer = self._namer
        common = namer.attributes(call)
        error = namer.error(call)
        self._duration.record(call.duration, common if error is None else {**common, "error.type": error})
        if call.time_to_first_token is not None:
            self._first.record(call.time_to_first_token, common)
        marked = namer.marked(common, estimated=call.estimated)
        if namer.latest:
            for name, modality, tokens in namer.parts(call.usage):
                self._used[name].add(tokens, {**marked, "gen_ai.token.modality": modality})
        else:
            for kind, number in (("input", call.usage.input_tokens), ("output", call.usage.output_tokens)):
                if number:  # unknown is not 0, and embeddings have no output
                    self._tokens.record(number, {**marked, "gen_ai.token.type": kind})
        if call.cost is not None and call.cost_status != "free":
            self._cost.record(
                float(call.cost), namer.marked({**common, **namer.cost(call)}, estimated=call.cost_estimated)
            )
        if call.cost_status in ("unpriced", "partial"):
            self._unpriced.add(1, common)


# --- when metrics are collected ---------------------------------------------------------------------------------------

_attached: set[Telemetry] = set()
"""Not weak: what the calls of a meter that is gone used has still to be told."""
_exiting = False


def _collect(_: CallbackOptions) -> Iterable[Observation]:
    """Records all that waits. The values are part of the very collection that asks, the last one at exit included."""
    global _exiting  # noqa: PLW0603 - the process ends once
    try:
        if not _exiting and not threading.main_thread().is_alive():
            _exiting = True
            finish_open_streams()  # a provider that shuts down before our own handler comes is not asked again
        for telemetry in list(_attached):
            telemetry.finish()
            if telemetry.alone:
                _attached.discard(telemetry)
    except Exception as error:
        faults.caught(error, "collecting metrics for OpenTelemetry")
    yield metrics.Observation(len(OPEN) + len(WORK))


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


# --- who is attached --------------------------------------------------------------------------------------------------

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
    """Sends the calls of a meter to OpenTelemetry from now on; attaching again changes the settings. Thread-safe.

    Args:
        meter: whose calls.
        meter_provider: where metrics go; by default the program's own (``opentelemetry.metrics``), now or later.
        attributes: what is to be said of calls besides: ``agent``, ``operation``, ``user``, ``session``, ``block`` or
            ``tag:NAME``. Nothing by default: the texts of a program may be personal, and without end.
        spans: whether usage and cost are set on the span that is current when a call is made.
        values: how many values each attribute can have; later ones are ``other``.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    if not isinstance(meter, Meter):
        raise ConfigurationError(f"{meter!r} is no meter; pass openai_meter.get_meter(), for example")
    if meter_provider is not None and not hasattr(meter_provider, "get_meter"):
        raise ConfigurationError(
            f"meter_provider={meter_provider!r} is none of OpenTelemetry's; leave it out for its own"
        )
    if not isinstance(spans, bool):
        raise ConfigurationError(f"spans={spans!r} is neither True nor False")
    if isinstance(values, bool) or not isinstance(values, int) or values < 1:
        raise ConfigurationError(f"values={values!r} is no number of values; use a whole number from 1 up")
    names = (attributes,) if isinstance(attributes, str) else tuple(attributes)
    for name in names:
        if name not in SAID and not (isinstance(name, str) and name.startswith("tag:") and len(name) > 4):
            raise ConfigurationError(
                f'attributes={names!r}: {name!r} is none; use agent, operation, user, session, block or "tag:NAME"'
            )
    telemetry = Telemetry(meter_provider, Namer(names, values, latest=_wants_latest()))
    with _attaching:
        _end(meter)
        _of_meters[meter] = telemetry
        _attached.add(telemetry)
        meter.add_sink(telemetry)
        _spans.watch(meter, wanted=spans)
    return telemetry


def detach(meter: Meter) -> None:
    """Sends no more calls of a meter to OpenTelemetry, after those so far. Harmless if none were sent."""
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
    """Attaches a meter that is not attached yet; of one that is, changes what happens to spans.

    Args:
        meter: whose calls.
        spans: as for :func:`attach`; ``None`` leaves it as it is.
        only: whether a meter that is not attached is left alone.
    """
    if meter in _of_meters:
        if spans is not None:
            _spans.watch(meter, wanted=spans)
    elif not only:
        attach(meter, spans=bool(spans))


def attached(meter: Meter) -> Telemetry | None:
    """What sends the calls of a meter, if anything does."""
    return _of_meters.get(meter)


def _wants_latest() -> bool:
    wanted = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")
    return "gen_ai_latest_experimental" in [one.strip() for one in wanted]


def _version() -> str:
    from openai_meter.core.version import __version__  # noqa: PLC0415 - the package is complete by now

    return __version__
