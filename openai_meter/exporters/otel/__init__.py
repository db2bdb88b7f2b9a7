"""Metrics for OpenTelemetry by its conventions for GenAI. Needs ``openai-meter[otel]``, which is the API package alone.

::

    openai_meter.install(otel=True)                        # to the program's own MeterProvider, now or later
    openai_meter.exporters.otel.attach(meter, attributes=("agent", "tag:team"), spans=True)   # or by hand

Metrics, by default those that backends take today:

- ``gen_ai.client.token.usage``, a histogram of the tokens of each call, by ``gen_ai.token.type`` (input, output)
- ``gen_ai.client.operation.duration`` and, of streams, ``gen_ai.client.operation.time_to_first_chunk``, in seconds
- ``gen_ai.client.operation.cost``, a histogram of the US dollars of each call, as far as its price is known
- ``openai_meter.unpriced_calls``, how many have no full price, and ``openai_meter.open_calls``, how many are open now

With ``OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental`` the first is replaced by the counters
``gen_ai.client.inference.usage.*`` (input, output, and as parts of them cache reads, cache writes, reasoning), by
``gen_ai.token.modality``. Input tokens include cached ones, output tokens include reasoning. What rests on an estimate
says ``openai_meter.estimated=true``.

Attributes are operation, provider, models, host and error type, and of what the program says of its calls only what is
named. Each has a bounded number of values; what comes later is ``other``.

A call's path costs one put into a queue, which is emptied whenever the metrics are collected: by the reader's own
thread, and by the last collection of a provider that shuts down at exit, whoever's exit handler comes first.

**Spans.** With ``spans=True`` a call's usage and cost are set on the span that was current when it was made, summed up
over its calls; also in OpenTelemetry's own openai instrumentation, whose span that is then. It happens where the call
ends, as the span may end right after it; a span that has ended gets nothing. A call whose tokens have to be estimated
may come too late, and one that ends before the prices are read has no cost there.

**Counted twice?** OpenTelemetry's own openai instrumentation sends ``gen_ai.client.token.usage`` and ``...duration``
too, in a scope of its own: with both, ask for those of the scope ``openai_meter``, or switch one of them off.
"""

from openai_meter.errors import MissingExtraError

try:
    import opentelemetry.metrics  # noqa: F401 - only to know whether it is there
except ImportError:
    raise MissingExtraError(
        'metrics for OpenTelemetry need its API; install it with: pip install "openai-meter[otel]"'
    ) from None

from openai_meter.exporters.otel.telemetry import Telemetry, attach, attached, detach, switch

__all__ = ["Telemetry", "attach", "attached", "detach", "switch"]
