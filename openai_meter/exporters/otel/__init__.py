"""Metrics for OpenTelemetry by its GenAI conventions. Needs ``openai-meter[otel]`` (OpenTelemetry's API package).

::

    openai_meter.install(otel=True)             # to the program's own MeterProvider, set up before or after this line
    openai_meter.otel.attach(meter, attributes=("agent", "tag:team"), spans=True)          # with more settings

The metrics, by default those that backends understand today:

- ``gen_ai.client.token.usage``, a histogram of the tokens of each call, by ``gen_ai.token.type`` (input, output)
- ``gen_ai.client.operation.duration`` and, of streams, ``gen_ai.client.operation.time_to_first_chunk``, in seconds
- ``gen_ai.client.operation.cost``, a histogram of the cost of each call in US dollars; without calls of unknown price
- ``openai_meter.unpriced_calls``, the number of calls without a full price, and ``openai_meter.open_calls``, the number
  of calls in flight
- ``openai_meter.budget.limit``, ``.spent`` and ``.held``, gauges by ``openai_meter.budget`` (its name),
  ``openai_meter.budget.key`` and ``openai_meter.budget.unit`` (``USD``, ``{token}``, ``{call}``)

With ``OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental`` the first one is replaced by the counters
``gen_ai.client.inference.usage.*`` (input, output, and as parts of them cache reads, cache writes, reasoning), by
``gen_ai.token.modality``. Input tokens include cached ones, output tokens include reasoning. Values that contain an
estimate have the attribute ``openai_meter.estimated=true``.

The attributes are operation, provider, models, host and error type. Attribution (agent, user, tags, ...) is added only
where ``attributes`` names it. Each attribute has a limited number of values; further values are sent as ``other``.

A call puts one item into a queue. The queue is emptied whenever metrics are collected, in the thread of the metric
reader. A provider that shuts down at exit collects once more, so the last calls are sent whatever the order of the exit
handlers.

**Spans.** With ``spans=True``, usage and cost are set on the span that was current when the call started, summed over
the calls of the span. With OpenTelemetry's own openai instrumentation, that is the span of that instrumentation. They
are set when the call ends; a span that has ended already is not changed. A call whose tokens are estimated may be too
late, and a call that ends while the price files are being read has no cost on its span.

**Counted twice?** OpenTelemetry's own openai instrumentation also sends ``gen_ai.client.token.usage`` and
``...duration``, in another scope. With both, select the scope ``openai_meter`` in queries, or switch one of them off.
"""

from openai_meter.core.version import install_command
from openai_meter.errors import MissingExtraError

try:
    import opentelemetry.metrics  # noqa: F401 - checks that it is installed
except ImportError:
    raise MissingExtraError(
        f"metrics for OpenTelemetry need its API; install it with: {install_command('otel')}"
    ) from None

from openai_meter.exporters.otel.telemetry import Telemetry, attach, attached, detach, switch

__all__ = ["Telemetry", "attach", "attached", "detach", "switch"]
