"""The families that Prometheus is given, made of totals."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from openai_meter.core import faults
from openai_meter.core.dimensions import checked
from openai_meter.core.money import usd
from openai_meter.core.totals import Totals
from openai_meter.errors import ConfigurationError
from openai_meter.exporters.prometheus.sources import SERIES, Other, face_of

if TYPE_CHECKING:
    from openai_meter.exporters.prometheus.sources import Source

__all__ = ["COUNTERS", "LABELS", "SERIES", "Collector", "exposition"]

LABELS = ("model", "endpoint", "provider")
"""The dimensions that are labels if nothing is said."""
NAMESPACE = "openai_meter"
"""What all names begin with."""
CACHE = 5.0
"""Seconds for which the totals of a ledger are shown again before it is asked anew."""

Parts = Iterable[tuple[str, float]]
"""The values of one counter, by the value of its own label (``""`` if it has none)."""


class _Counter(NamedTuple):
    name: str
    """Without ``_total``."""
    help: str
    label: str | None
    """What tells its parts from each other; no call's amount is in two of them."""
    parts: Callable[[Totals], Parts]


def _cost(totals: Totals) -> Parts:
    if totals.cost_pico is not None:  # unknown is not 0
        yield "measured", float(usd(totals.cost_pico - totals.estimated_cost_pico))
        yield "estimated", float(usd(totals.estimated_cost_pico))


def _counts(**names: str) -> Callable[[Totals], Parts]:
    """Counts of the usage, where there are any."""
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
        "What kinds of tokens were among the input and output tokens: parts of them, none beside them.",
        "part",
        _counts(
            cached_input="cached_input_tokens", cache_write="cache_write_tokens", reasoning="reasoning_tokens",
            input_audio="input_audio_tokens", output_audio="output_audio_tokens", input_image="input_image_tokens",
            output_image="output_image_tokens",
        ),
    ),
    _Counter("cost_usd", "Cost in US dollars of calls whose price is known, by what it rests on.", "basis", _cost),
    _Counter(
        "estimated_calls",
        "Calls whose tokens are estimates, as the API did not say them.",
        None,
        lambda totals: [("", totals.estimated_calls)],
    ),
    _Counter(
        "unmeasured_calls",
        "Calls that may be billed, and of which nobody knows what they used.",
        None,
        lambda totals: [("", totals.unmeasured_calls)],
    ),
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
"""The counters of calls; each has the labels of the collector, and its own."""


class Collector:
    """What a ``prometheus_client`` registry asks for metrics. Thread-safe; never raises when it is scraped.

    Args:
        source: a meter, a block, or a ledger (then the totals are those of all processes that have written to it).
        labels: the dimensions that are labels (see ``Meter.by``). A ledger is asked for its roll-ups, which know
            neither sessions nor tags.
        namespace: what all names begin with. Two collectors in one registry need two.
        cache: seconds for which the totals of a ledger are shown again before it is asked anew.

    Raises:
        ConfigurationError: that is no source, there is no such dimension, or two labels would have the same name.
    """

    def __init__(
        self,
        source: Source,
        *,
        labels: Iterable[str] = LABELS,
        namespace: str = NAMESPACE,
        cache: float = CACHE,
    ) -> None:
        names = (labels,) if isinstance(labels, str) else tuple(labels)
        if not isinstance(namespace, str) or not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", namespace):
            raise ConfigurationError(
                f"namespace={namespace!r} cannot begin the names of metrics; use letters, digits, _"
            )
        self._labels = _label_names(names)
        self._namespace = namespace
        self._source = source  # whoever counts stays for as long as it is shown
        self._face = face_of(source, names, cache)

    def describe(self) -> Iterator[Metric]:
        """The families, without samples: a registry finds out by this whether two collectors collide."""
        for counter in COUNTERS:
            yield self._family(counter)
        yield from self._gauges({}, ())

    def collect(self) -> Iterator[Metric]:
        """The families as they are now."""
        try:
            families = [*self._collect()]
        except Exception as error:
            faults.caught(error, "making metrics for Prometheus")
            return
        yield from families

    def _collect(self) -> Iterator[Metric]:
        face = self._face
        with face.lock:
            ever, now = face.read()
            for counter in COUNTERS:
                family = self._family(counter)
                for row, totals in ever.items():
                    for part, value in counter.parts(totals):
                        own = () if counter.label is None else (part,)
                        family.add_metric(
                            [*map(_written, row), *own], face.past.rising((counter.name, part, *row), value)
                        )
                yield family
            yield from self._gauges(now, face.others())

    def _family(self, counter: _Counter) -> CounterMetricFamily:
        own = () if counter.label is None else (counter.label,)
        return CounterMetricFamily(f"{self._namespace}_{counter.name}", counter.help, labels=[*self._labels, *own])

    def _gauges(self, now: Mapping[tuple[str, ...], Totals], others: Iterable[Other]) -> Iterator[Metric]:
        unpriced = GaugeMetricFamily(
            f"{self._namespace}_unpriced_calls",
            "Calls whose cost is unknown now, or known only in part; fewer when a price is set.",
            labels=self._labels,
        )
        for row, totals in now.items():
            unpriced.add_metric([*map(_written, row)], totals.unpriced_calls)
        yield unpriced
        latest = max((one.last_call_at for one in now.values() if one.last_call_at), default=None)
        last = GaugeMetricFamily(f"{self._namespace}_last_call_timestamp_seconds", "When the latest call began.")
        if latest is not None:
            last.add_metric((), latest.timestamp())
        yield last
        yield InfoMetricFamily(
            f"{self._namespace}_build",
            "The version of openai_meter.",
            {"version": _version(), "python_version": platform.python_version()},
        )
        for other in others:
            family: Any = CounterMetricFamily if other.counter else GaugeMetricFamily
            metric = family(f"{self._namespace}_{other.name}", other.help, labels=other.labels)
            for values, value in other.samples:
                metric.add_metric(values, value)
            yield metric


def exposition(
    source: Source,
    accept: str | None = None,
    *,
    labels: Iterable[str] = LABELS,
    namespace: str = NAMESPACE,
    cache: float = CACHE,
) -> tuple[bytes, str]:
    """The metrics as Prometheus reads them, for a ``/metrics`` route: the body, and its content type.

    Args:
        source: as for :class:`Collector`.
        accept: the ``Accept`` header of the request: OpenMetrics where it asks for that, else the text format 0.0.4.
        labels: as for :class:`Collector`.
        namespace: as for :class:`Collector`.
        cache: as for :class:`Collector`.

    Raises:
        ConfigurationError: as for :class:`Collector`.
    """
    registry = CollectorRegistry()
    registry.register(Collector(source, labels=labels, namespace=namespace, cache=cache))
    encode, content_type = choose_encoder(accept or "")
    return encode(registry), content_type


def _written(value: str) -> str:
    """A label as UTF-8 can hold it: a program may name something by half a character."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _label_names(dimensions: tuple[str, ...]) -> tuple[str, ...]:
    if dimensions:
        checked(dimensions)
    names = tuple(re.sub(r"[^a-zA-Z0-9_]", "_", dimension) for dimension in dimensions)
    if len({*names}) < len(names):
        raise ConfigurationError(f"labels={dimensions!r} would be two labels of one name")
    return names


def _version() -> str:
    from openai_meter.core.version import __version__  # noqa: PLC0415 - the package is complete by now

    return __version__
