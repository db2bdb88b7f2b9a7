"""The metric families, made of totals."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from openai_meter.alerts import parsed_limits
from openai_meter.core import faults
from openai_meter.core.dimensions import checked
from openai_meter.core.money import to_float, usd
from openai_meter.core.totals import Totals
from openai_meter.errors import ConfigurationError
from openai_meter.exporters.prometheus.limits import with_limits
from openai_meter.exporters.prometheus.sources import SERIES, ExtraFamily, reader_of
from openai_meter.metering.meter import Readable

if TYPE_CHECKING:
    from openai_meter.alerts import Threshold
    from openai_meter.exporters.prometheus.sources import Source

__all__ = ["COUNTERS", "LABELS", "SERIES", "Collector", "exposition"]

LABELS = ("model", "endpoint", "provider")
"""The dimensions that are labels by default."""
NAMESPACE = "openai_meter"
"""The prefix of all names."""
CACHE = 5.0
"""Seconds for which the totals of a ledger are reused before they are read again."""

Parts = Iterable[tuple[str, float]]
"""The values of one counter, each with the value of the counter's own label (``""`` without one)."""


class _Counter(NamedTuple):
    name: str
    """The name without prefix and ``_total``."""
    help: str
    label: str | None
    """A label of the counter's own, which divides its amounts into disjoint parts."""
    parts: Callable[[Totals], Parts]


def _cost(totals: Totals) -> Parts:
    if totals.cost_pico is not None:  # unknown is not 0
        yield "measured", to_float(usd(totals.cost_pico - totals.estimated_cost_pico))
        yield "estimated", to_float(usd(totals.estimated_cost_pico))


def _counts(**names: str) -> Callable[[Totals], Parts]:
    """Counts of the usage that are not zero."""
    return lambda totals: ((part, count) for part, name in names.items() if (count := getattr(totals.usage, name)))


COUNTERS = (
    _Counter("calls", "Calls that have ended.", None, lambda totals: [("", totals.calls)]),
    _Counter("errors", "Calls that raised or failed.", None, lambda totals: [("", totals.errors)]),
    _Counter(
        "tokens",
        "Tokens of calls whose usage is known. Input includes cached tokens, output includes reasoning.",
        "type",
        lambda totals: [("input", totals.usage.input_tokens or 0), ("output", totals.usage.output_tokens or 0)],
    ),
    _Counter(
        "token_parts",
        "Kinds of tokens that are included in the input and output tokens.",
        "part",
        _counts(
            cached_input="cached_input_tokens", cache_write="cache_write_tokens", reasoning="reasoning_tokens",
            input_audio="input_audio_tokens", output_audio="output_audio_tokens", input_image="input_image_tokens",
            output_image="output_image_tokens",
        ),
    ),
    _Counter("cost_usd", "Cost in US dollars of calls with a known price, by its basis.", "basis", _cost),
    _Counter(
        "estimated_calls",
        "Calls whose tokens are estimates, because the API did not report them.",
        None,
        lambda totals: [("", totals.estimated_calls)],
    ),
    _Counter(
        "unmeasured_calls",
        "Calls that may be billed and whose usage is unknown.",
        None,
        lambda totals: [("", totals.unmeasured_calls)],
    ),
    _Counter("retries", "Requests that the SDK sent again.", None, lambda totals: [("", totals.retries)]),
    _Counter("media_seconds", "Seconds of audio or video that are billed by time.", None, _counts(**{"": "seconds"})),
    _Counter("speech_characters", "Characters that are billed by length.", None, _counts(**{"": "characters"})),
    _Counter("images", "Images made.", None, _counts(**{"": "images"})),
    _Counter(
        "tool_uses",
        "Uses of hosted tools that have a fee.",
        "tool",
        _counts(web_search="web_searches", file_search="file_searches", container="container_sessions"),
    ),
)  # fmt: skip
"""The counters of calls; each has the labels of the collector and its own label."""


class Collector:
    """A collector for a ``prometheus_client`` registry. Thread-safe; a scrape never raises.

    Args:
        source: a meter, a block, or a ledger (the totals of all processes that have written to it).
        labels: the dimensions that are labels (see ``Meter.by``). The roll-ups of a ledger have neither sessions nor
            tags.
        namespace: the prefix of all names. Two collectors in one registry need different ones.
        cache: seconds for which the totals of a ledger are reused before they are read again.
        limits: limits of a ledger, shown as ``threshold_use_ratio`` and ``thresholds_passed``: texts such as
            ``cost=50/month``, or thresholds. A meter has the thresholds of its own.

    Raises:
        ConfigurationError: the source, a dimension or a limit is not valid, or two labels would have the same name.
    """

    def __init__(
        self,
        source: Source,
        *,
        labels: Iterable[str] = LABELS,
        namespace: str = NAMESPACE,
        cache: float = CACHE,
        limits: Iterable[Threshold | str] = (),
    ) -> None:
        names = (labels,) if isinstance(labels, str) else tuple(labels)
        if not isinstance(namespace, str) or not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", namespace):
            raise ConfigurationError(
                f"namespace={namespace!r} is not a valid prefix of a metric; use letters, digits and _"
            )
        self._labels = _label_names(names)
        self._namespace = namespace
        self._source = source  # keeps the source alive as long as the collector
        self._reader = reader_of(source, names, cache)
        self._limits = parsed_limits(limits)
        if self._limits and isinstance(source, Readable) and getattr(source, "ledger", None) is None:
            raise ConfigurationError("limits are of a ledger; give a meter its thresholds by install(thresholds=...)")

    def describe(self) -> Iterator[Metric]:
        """The families without samples. A registry uses them to detect collectors with the same names."""
        for counter in COUNTERS:
            yield self._family(counter)
        yield from self._gauges({}, {}, ())
        yield self._start(None)

    def collect(self) -> Iterator[Metric]:
        """The families with their current values."""
        try:
            families = [*self._collect()]
        except Exception as error:
            faults.caught(error, "making metrics for Prometheus")
            return
        yield from families

    def _collect(self) -> Iterator[Metric]:
        reader = self._reader
        with reader.lock:
            since_start, now = reader.read()
            for counter in COUNTERS:
                family = self._family(counter)
                for row, totals in since_start.items():
                    for part, value in counter.parts(totals):
                        own = () if counter.label is None else (part,)
                        family.add_metric(
                            [*map(_utf8, row), *own],
                            to_float(reader.past.rising((counter.name, part, *row), value)),
                        )
                yield family
            starts = {row: reader.starts.rows[row] for row in since_start}
            extra_families = [*reader.extra_families()]
            if self._limits:
                extra_families = with_limits(extra_families, self._source, self._limits)
            yield from self._gauges(now, starts, extra_families)
            yield self._start(reader.starts.source)

    def _family(self, counter: _Counter) -> CounterMetricFamily:
        own = () if counter.label is None else (counter.label,)
        return CounterMetricFamily(f"{self._namespace}_{counter.name}", counter.help, labels=[*self._labels, *own])

    def _start(self, at: float | None) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._namespace}_start_timestamp_seconds", "When counting began, in Unix time.", at)

    def _gauges(
        self,
        now: Mapping[tuple[str, ...], Totals],
        starts: Mapping[tuple[str, ...], float],
        extra_families: Iterable[ExtraFamily],
    ) -> Iterator[Metric]:
        unpriced = GaugeMetricFamily(
            f"{self._namespace}_unpriced_calls",
            "Calls whose cost is unknown or known only in part; goes down when a missing price is set.",
            labels=self._labels,
        )
        for row, totals in now.items():
            unpriced.add_metric([*map(_utf8, row)], totals.unpriced_calls)
        yield unpriced
        start = GaugeMetricFamily(
            f"{self._namespace}_series_start_timestamp_seconds",
            "When the counters with these labels began, in Unix time.",
            labels=self._labels,
        )
        for row, at in starts.items():
            start.add_metric([*map(_utf8, row)], at)
        yield start
        latest = max((totals.last_call_at for totals in now.values() if totals.last_call_at), default=None)
        last = GaugeMetricFamily(f"{self._namespace}_last_call_timestamp_seconds", "When the newest call started.")
        if latest is not None:
            last.add_metric((), latest.timestamp())
        yield last
        yield InfoMetricFamily(
            f"{self._namespace}_build",
            "The version of openai_meter.",
            {"version": _version(), "python_version": platform.python_version()},
        )
        for extra in extra_families:
            family: Any = CounterMetricFamily if extra.counter else GaugeMetricFamily
            metric = family(f"{self._namespace}_{extra.name}", extra.help, labels=extra.labels)
            for values, value in extra.samples:
                metric.add_metric(values, to_float(value))
            yield metric


def exposition(
    source: Source,
    accept: str | None = None,
    *,
    labels: Iterable[str] = LABELS,
    namespace: str = NAMESPACE,
    cache: float = CACHE,
    limits: Iterable[Threshold | str] = (),
) -> tuple[bytes, str]:
    """The body and the content type of a ``/metrics`` route.

    Args:
        source: as for :class:`Collector`.
        accept: the ``Accept`` header of the request. It selects OpenMetrics or the text format 0.0.4.
        labels: as for :class:`Collector`.
        namespace: as for :class:`Collector`.
        cache: as for :class:`Collector`.
        limits: as for :class:`Collector`.

    Raises:
        ConfigurationError: as for :class:`Collector`.
    """
    registry = CollectorRegistry()
    registry.register(Collector(source, labels=labels, namespace=namespace, cache=cache, limits=limits))
    encode, content_type = choose_encoder(accept or "")
    return encode(registry), content_type


def _utf8(value: str) -> str:
    """A label that UTF-8 can encode: names may contain lone surrogates."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _label_names(dimensions: tuple[str, ...]) -> tuple[str, ...]:
    if dimensions:
        checked(dimensions)
    names = tuple(re.sub(r"[^a-zA-Z0-9_]", "_", dimension) for dimension in dimensions)
    if len({*names}) < len(names):
        raise ConfigurationError(f"labels={dimensions!r} would make two labels of the same name; leave one out")
    return names


def _version() -> str:
    from openai_meter.core.version import __version__  # noqa: PLC0415 - needed here only

    return __version__
