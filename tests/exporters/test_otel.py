"""OpenTelemetry: metrics by its conventions, read by its real SDK and sent over its real protocol; and spans."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import contract
import openai
import pytest
from contract import MODEL, chat
from metric_calls import call

import openai_meter
from openai_meter import ConfigurationError, Meter, Usage
from openai_meter.core import faults
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer

pytest.importorskip("opentelemetry.sdk.metrics", reason="no SDK of OpenTelemetry: its metrics are NOT tested")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from openai_meter import otel
from openai_meter.exporters.otel import telemetry
from openai_meter.metering.sinks import ObserverSlot

LATEST = "gen_ai_latest_experimental"
MINE = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": MODEL,
    "gen_ai.response.model": MODEL, "server.address": "127.0.0.1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean_telemetry(monkeypatch):
    """Nothing stays attached, and nothing in the environment chooses the conventions."""
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    yield
    for meter in list(telemetry._of_meters):
        otel.detach(meter)
    assert ObserverSlot.observer is None


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


@pytest.fixture
def metered():
    """The installed meter, with the prices of the API for the stand-in."""
    return openai_meter.install(hosts={"127.0.0.1": "openai", "test": "openai"})


@pytest.fixture
def reader():
    made = InMemoryMetricReader()
    made.provider = MeterProvider([made], shutdown_on_exit=False)
    yield made
    made.provider.shutdown()


@pytest.fixture
def tracer():
    return TracerProvider(shutdown_on_exit=False).get_tracer("tests")


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """The data points of each metric of ours."""
    data = reader.get_metrics_data()
    return {
        metric.name: list(metric.data.data_points)
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        if scope.scope.name == "openai_meter"
        for metric in scope.metrics
    }


def sums(found: Mapping[str, list[Any]], name: str, *labels: str) -> dict[tuple[Any, ...], Any]:
    """The sum of a metric, by the values of some attributes."""
    rows: dict[tuple[Any, ...], Any] = {}
    for point in found.get(name, ()):
        key = tuple(point.attributes.get(label) for label in labels)
        rows[key] = rows.get(key, 0) + (point.sum if hasattr(point, "sum") else point.value)
    return rows


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_call_has_names_units_and_buckets_of_the_conventions(api, metered, reader):
    """Names, units, attributes and buckets are those of the conventions; the values are those of the call."""
    otel.attach(metered, reader.provider)
    with contract.sync_client(api) as client:
        chat(client)
    found = points(reader)
    (one,) = metered.calls
    assert {*found} == {
        "gen_ai.client.token.usage", "gen_ai.client.operation.duration", "gen_ai.client.operation.cost",
        "openai_meter.open_calls",
    }  # fmt: skip
    for point in found["gen_ai.client.token.usage"]:
        kind = point.attributes["gen_ai.token.type"]
        assert dict(point.attributes) == {**MINE, "gen_ai.token.type": kind}
        assert (point.count, point.sum) == (1, getattr(one.usage, f"{kind}_tokens"))
        assert list(point.explicit_bounds) == [4**n for n in range(14)]
    assert len(found["gen_ai.client.token.usage"]) == 2
    (duration,) = found["gen_ai.client.operation.duration"]
    assert (dict(duration.attributes), duration.sum) == (MINE, one.duration)
    assert list(duration.explicit_bounds) == [0.01 * 2**n for n in range(14)]
    (cost,) = found["gen_ai.client.operation.cost"]
    assert cost.sum == float(one.cost)
    assert dict(cost.attributes) == {
        **MINE, "gen_ai.usage.cost.currency": "USD", "gen_ai.usage.cost.source": "local",
    }  # fmt: skip
    assert [point.value for point in found["openai_meter.open_calls"]] == [0]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_streams_errors_and_embeddings_are_recorded_once(api, metered, reader, kind):
    """Streams have a time to the first chunk, errors their type, endpoints their operation; nothing counts twice."""
    otel.attach(metered, reader.provider)

    async def program(client: Any) -> None:
        await contract.streamed_with_usage(client)
        await contract.responses(client)
        await contract.embeddings(client)
        for fault in ("400", "429"):
            with pytest.raises(Exception, match="refused"):
                await contract.got(chat(client, model=f"{MODEL}+{fault}"))

    if kind == "sync":
        with contract.sync_client(api) as client:
            contract.run(program(client))
    else:

        async def main() -> None:
            async with contract.async_client(api) as client:
                await program(client)

        asyncio.run(main())
    found = points(reader)
    counts = {
        (point.attributes["gen_ai.operation.name"], point.attributes.get("error.type")): point.count
        for point in found["gen_ai.client.operation.duration"]
    }
    assert sum(counts.values()) == metered.totals.calls == 5
    assert (counts["chat", "BadRequestError"], counts["chat", "RateLimitError"], counts["embeddings", None]) == (
        1,
        1,
        1,
    )
    (first,) = found["gen_ai.client.operation.time_to_first_chunk"]
    assert first.sum == next(one.time_to_first_token for one in metered.calls if one.stream)
    usage = metered.totals.usage
    assert sums(found, "gen_ai.client.token.usage", "gen_ai.token.type") == {
        ("input",): usage.input_tokens, ("output",): usage.output_tokens,
    }  # fmt: skip
    assert sums(found, "gen_ai.client.token.usage", "gen_ai.operation.name", "gen_ai.token.type").get(
        ("embeddings", "output")
    ) is None  # fmt: skip
    failed = next(point for point in found["gen_ai.client.operation.duration"] if "error.type" in point.attributes)
    assert "gen_ai.response.model" not in failed.attributes


def test_estimated_values_have_the_estimated_attribute(api, metered, reader):
    """Tokens that the API did not report are marked, and so is their cost; others are not."""
    otel.attach(metered, reader.provider)
    with contract.sync_client(api) as client:
        chat(client, model=f"{MODEL}+silent")
        chat(client)
    found = points(reader)
    (mine,) = [one for one in metered.calls if one.estimated]
    answer = sums(found, "gen_ai.client.token.usage", "gen_ai.token.type", "openai_meter.estimated")
    assert answer["input", True] == mine.usage.input_tokens
    assert ("input", None) in answer
    assert (True,) in sums(found, "gen_ai.client.operation.cost", "openai_meter.estimated")


def test_unknown_tokens_and_cost_are_not_recorded(metered, reader):
    """The call is counted as unpriced."""
    otel.attach(metered, reader.provider)
    metered._take(
        call(usage=Usage(), usage_source="none", cost_pico=None, cost_status="unpriced", model=None, host=None)
    )
    found = points(reader)
    assert "gen_ai.client.token.usage" not in found
    assert "gen_ai.client.operation.cost" not in found
    assert sums(found, "openai_meter.unpriced_calls") == {(): 1}
    (duration,) = found["gen_ai.client.operation.duration"]
    assert "server.address" not in duration.attributes


@pytest.mark.parametrize("latest", [False, True])
def test_extreme_counts_can_be_exported(metered, reader, monkeypatch, latest):
    """A count and a cost that OTLP has no room for are sent as the largest ones; later calls are recorded."""
    if latest:
        monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", LATEST)
    otel.attach(metered, reader.provider)
    metered._take(call(usage=Usage(10**400, 2**70, 10**400 + 2**70), cost_pico=10**420))
    metered._take(call())
    encode = pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.common.metrics_encoder",
        reason="the OTLP encoder is not installed: this is NOT tested",
    ).encode_metrics
    encode(reader.get_metrics_data())
    assert faults.count() == 0


def test_latest_conventions_by_environment_use_counters_by_modality(metered, reader, monkeypatch):
    """The standard variable asks for them: counters by modality, whose parts of one counter never overlap."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", f"http, {LATEST}")
    otel.attach(metered, reader.provider)
    metered._take(call(usage=Usage(
        100, 50, 150, cached_input_tokens=30, cache_write_tokens=7, reasoning_tokens=9, input_audio_tokens=20,
        output_audio_tokens=40, input_image_tokens=10, cached_audio_tokens=5,
    )))  # fmt: skip
    metered._take(call(usage=Usage(5, 5, 10, input_audio_tokens=9, inconsistent=True)))  # never less than nothing
    found = points(reader)
    assert "gen_ai.client.token.usage" not in found
    name, by = "gen_ai.client.inference.usage.{}".format, "gen_ai.token.modality"
    assert sums(found, name("input_tokens"), by) == {("text",): 70, ("audio",): 29, ("image",): 10}
    assert sums(found, name("output_tokens"), by) == {("text",): 15, ("audio",): 40}
    assert sums(found, name("cache_read.input_tokens"), by) == {("text",): 25, ("audio",): 5}
    assert sums(found, name("cache_write.input_tokens"), by) == {("text",): 7}
    assert sums(found, name("reasoning.output_tokens"), by) == {("text",): 9}


def test_provider_names_follow_the_conventions(metered, reader):
    """Azure and well-known hosts have the names of the conventions; a price from a host has its own."""
    otel.attach(metered, reader.provider)
    metered._take(call(provider="azure"))
    metered._take(call(provider="api.groq.com"))
    metered._take(call(provider="llm.example.com", price_source="provider"))
    found = points(reader)
    names = {one for (one,) in sums(found, "gen_ai.client.operation.duration", "gen_ai.provider.name")}
    assert names == {"azure.ai.openai", "groq", "llm.example.com"}
    assert {("llm.example.com", "provider"), ("groq", "local")} <= {
        *sums(found, "gen_ai.client.operation.cost", "gen_ai.provider.name", "gen_ai.usage.cost.source")
    }


def test_attribution_is_sent_only_for_named_attributes(metered, reader):
    """Agents, users and tags are not attributes unless they are selected."""
    otel.attach(metered, reader.provider)
    answer = {"agent": "writer", "user": "ann@example.com", "tags": {"team": "forms", "secret": "x"}, "session": "s"}
    metered._take(call(**answer))
    for many in points(reader).values():
        assert all({*point.attributes} <= {*MINE, "gen_ai.token.type", "gen_ai.usage.cost.currency",
            "gen_ai.usage.cost.source"} for point in many)  # fmt: skip
    otel.attach(metered, reader.provider, attributes=("agent", "tag:team"))
    metered._take(call(**answer))
    found = points(reader)
    rows = sums(found, "gen_ai.client.operation.duration", "gen_ai.agent.name", "openai_meter.tag.team", "user.id")
    assert {*rows} == {(None, None, None), ("writer", "forms", None)}


def test_attribute_values_beyond_the_limit_become_other(metered, reader):
    """Values without end are one value beyond the bound, in sums that lose nothing."""
    otel.attach(metered, reader.provider, attributes="user", values=3)
    for n in range(20):
        metered._take(call(user=f"u{n}", model=f"m{n}", requested_model="one"))
    found = points(reader)
    counts = {
        (point.attributes["user.id"], point.attributes["gen_ai.response.model"]): point.count
        for point in found["gen_ai.client.operation.duration"]
    }
    assert counts == {("u0", "m0"): 1, ("u1", "m1"): 1, ("u2", "m2"): 1, ("other", "other"): 17}


@pytest.mark.parametrize(
    "wrong",
    [
        {"attributes": ("nobody",)}, {"attributes": ("tag",)}, {"attributes": ("tag:",)}, {"attributes": (7,)},
        {"spans": 1}, {"values": 0}, {"values": True}, {"meter_provider": "otlp"},
    ],
)  # fmt: skip
def test_settings_are_checked(metered, wrong):
    """A setting that cannot be used is an error with a sentence, and nothing is attached."""
    with pytest.raises(ConfigurationError):
        otel.attach(metered, **wrong)
    with pytest.raises(ConfigurationError, match="not a meter"):
        otel.attach(object())  # type: ignore[arg-type]
    assert otel.attached(metered) is None


def test_install_otel_attaches_and_detaches(reader, monkeypatch):
    """``install(otel=True)`` uses the program's provider; a second call changes nothing, and False detaches."""
    monkeypatch.setattr("opentelemetry.metrics._internal.get_meter_provider", lambda: reader.provider)
    meter = openai_meter.install(otel_spans=False)
    assert otel.attached(meter) is None
    assert openai_meter.install(otel=True) is meter
    made = otel.attached(meter)
    meter._take(call())
    assert openai_meter.install(otel=True, otel_spans=True) is meter
    assert openai_meter.install() is meter
    assert otel.attached(meter) is made
    assert ObserverSlot.observer is not None
    openai_meter.install(otel_spans=False)
    assert ObserverSlot.observer is None
    openai_meter.install(otel=False)
    meter._take(call())
    assert otel.attached(meter) is None
    assert sums(points(reader), "gen_ai.client.operation.duration") == {(): 0.5}
    for wrong in ({"otel": 1}, {"otel_spans": "yes"}, {"otel": False, "otel_spans": True}):
        with pytest.raises(ConfigurationError):
            openai_meter.install(**wrong)


def test_queue_records_in_batches_and_counts_drops(metered, reader, monkeypatch):
    """A call is only put into a queue; a long queue is emptied in the background, a full one counts its drops."""
    made = otel.attach(metered, reader.provider)
    recorded = []
    monkeypatch.setattr(made, "_record", recorded.append)
    for _ in range(999):
        made.put(call())
    assert not recorded
    made.put(call())
    assert made.flush()
    assert len(recorded) == 1000
    monkeypatch.setattr(telemetry, "_MAX_QUEUE", 5)
    for _ in range(7):
        made.put(call())
    assert (made.dropped, len(made._queue)) == (2, 5)


def test_two_meters_on_one_provider_record_each_call_once(reader):
    """Whichever meter counted it; the last calls of a closed meter are recorded."""
    one, other = Meter(), Meter()
    for meter in (one, other):
        otel.attach(meter, reader.provider)
        meter._take(call())
    gone = weakref.ref(other)
    del other, meter
    gc.collect()
    assert gone() is None
    assert sums(points(reader), "gen_ai.client.operation.duration") == {(): 1.0}
    assert len(telemetry._attached) == 1


def test_instrument_that_raises_loses_one_record_only(metered, reader, monkeypatch):
    """What the SDK raises is caught and counted; the calls after it are recorded."""
    faults.reraise = False
    made = otel.attach(metered, reader.provider)
    monkeypatch.setattr(made._duration, "record", lambda *_: 1 / 0)
    metered._take(call())
    metered._take(call())
    points(reader)
    assert faults.kinds() == {"recording a call for OpenTelemetry: ZeroDivisionError": 2}


def test_otel_without_its_api_names_the_extra():
    """A missing extra is one sentence with the line that installs it, also from install()."""
    code, output, errors = contract.python("""
import sys
sys.modules["opentelemetry"] = sys.modules["opentelemetry.metrics"] = None
import openai_meter
for attempt in (lambda: openai_meter.install(otel=True), lambda: __import__("openai_meter.otel")):
    try:
        attempt()
    except openai_meter.MissingExtraError as error:
        print(error)
openai_meter.install(otel=False)
""")
    assert (code, output.count('pip install "openai-meter[otel]"')) == (0, 2), errors


# --- over the wire, at exit, in children ------------------------------------------------------------------------------


class Receiver(LoopbackServer):
    """Takes metrics over OTLP, and reads its protobuf."""

    def __init__(self) -> None:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        self.counts: dict[str, float] = {}
        self._message = ExportMetricsServiceRequest
        super().__init__(self._take)

    def _take(self, request: Any) -> Answer:
        import gzip

        body = gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
        message = self._message.FromString(body)
        for resource in message.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    many = metric.histogram.data_points or metric.sum.data_points
                    amount = sum(point.sum if metric.HasField("histogram") else point.as_int for point in many)
                    self.counts[metric.name] = amount
        return Answer(200, {"content-type": "application/x-protobuf"}, b"")


def otlp_reader(receiver: Receiver, **settings: Any) -> PeriodicExportingMetricReader:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    exporter = OTLPMetricExporter(endpoint=f"{receiver.url}/v1/metrics", timeout=10)
    return PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000, **settings)


def test_metrics_reach_an_otlp_receiver(api, metered):
    """The real exporter sends what was counted; the exporter's own HTTP calls are none of ours."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="no OTLP exporter: the protocol is NOT tested")
    with Receiver() as receiver:
        provider = MeterProvider([otlp_reader(receiver)], shutdown_on_exit=False)
        otel.attach(metered, provider)
        with contract.sync_client(api) as client:
            for _ in range(3):
                chat(client)
        assert provider.force_flush()
        answer = metered.totals
        assert receiver.counts["gen_ai.client.token.usage"] == answer.usage.total_tokens
        assert receiver.counts["gen_ai.client.operation.cost"] == pytest.approx(float(answer.cost or 0))
        assert receiver.counts["openai_meter.open_calls"] == 0
        provider.shutdown()
        assert not receiver.faults
    assert answer.calls == 3


EXIT = """
import contract, openai_meter
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader

class Exporter(MetricExporter):
    def export(self, data, *more, **settings):
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == "gen_ai.client.operation.duration":
                        print(sum(point.count for point in metric.data.data_points))
        return MetricExportResult.SUCCESS
    def force_flush(self, *more, **settings):
        return True
    def shutdown(self, *more, **settings):
        pass

def provide():
    reader = PeriodicExportingMetricReader(Exporter(), export_interval_millis=3_600_000)
    metrics.set_meter_provider(MeterProvider([reader]))

FIRST
meter = openai_meter.install(otel=True)
THEN
api = contract.Api().__enter__()
client = contract.sync_client(api)
contract.chat(client)
stream = client.chat.completions.create(model=contract.MODEL, messages=contract.HELLO, stream=True)
next(iter(stream))
contract.chat(client)
"""


@pytest.mark.parametrize("first", [True, False])
def test_process_exit_exports_queued_calls_and_open_streams(first):
    """Calls that were never collected, and a stream still open, are in the last export, whoever was set up first."""
    program = EXIT.replace("FIRST", "provide()" if first else "").replace("THEN", "" if first else "provide()")
    code, output, errors = contract.python(program)
    assert (code, errors) == (0, "")
    assert output.split() == ["3"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here: a child's metrics are NOT tested")
def test_forked_child_records_its_own_calls_only():
    """What waited at the fork is the parent's; the child's calls are its own."""
    code, output, errors = contract.python("""
import os
import openai_meter
from openai_meter import otel
from metric_calls import call
meter = openai_meter.Meter()
made = otel.attach(meter, spans=True)
meter._take(call())
child = os.fork()
if not child:
    meter._take(call())
    meter._take(call())
    print(len(made._queue), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(len(made._queue))
""")
    assert (code, output.split()) == (0, ["2", "1"]), errors


# --- spans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_current_span_has_usage_and_cost(api, metered, tracer, stream):
    """Those of the calls that were made while the span was current, wherever they ended."""
    metered.prices.warm()
    metered._price_loader.load()
    otel.attach(metered, spans=True)
    with contract.sync_client(api) as client, tracer.start_as_current_span("outer") as outer:
        with tracer.start_as_current_span("inner") as inner:
            more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
            answer = chat(client, **more)
            if stream:
                with use_span(outer):  # read elsewhere
                    list(answer)
        first = metered.totals
        assert dict(inner.attributes) == {
            "openai_meter.calls": 1,
            "gen_ai.usage.input_tokens": first.usage.input_tokens,
            "gen_ai.usage.output_tokens": first.usage.output_tokens,
            "gen_ai.usage.cost.amount": float(first.cost or 0),
            "gen_ai.usage.cost.currency": "USD",
            "gen_ai.usage.cost.source": "local",
        }
        assert not outer.attributes
        chat(client)
        chat(client)
    assert outer.attributes["openai_meter.calls"] == 2
    assert outer.attributes["gen_ai.usage.input_tokens"] == (metered.totals.usage.input_tokens or 0) - (
        first.usage.input_tokens or 0
    )


def test_async_calls_set_their_own_spans(api, metered, tracer):
    """Of tasks that run at once, each has the span that was current in it."""
    otel.attach(metered, spans=True)
    spans = {}

    async def task(client: Any, n: int) -> None:
        with tracer.start_as_current_span(f"task {n}") as span:
            spans[n] = span
            for _ in range(n):
                await chat(client)

    async def main() -> None:
        async with contract.async_client(api) as client:
            await asyncio.gather(*(task(client, n) for n in range(1, 5)))

    asyncio.run(main())
    assert {n: span.attributes["openai_meter.calls"] for n, span in spans.items()} == {1: 1, 2: 2, 3: 3, 4: 4}


def test_ended_span_is_not_changed(api, metered, tracer, caplog):
    """A stream that is read after its span has ended does not change it, and logs no warning."""
    otel.attach(metered, spans=True)
    with contract.sync_client(api) as client:
        with tracer.start_as_current_span("short") as span:
            stream = client.chat.completions.create(model=MODEL, messages=contract.HELLO, stream=True)
        list(stream)
    assert metered.totals.calls == 1
    assert not span.attributes
    assert not caplog.records


def test_spans_are_not_kept_alive(api, metered, tracer):
    """A call that is open, or was counted, keeps no span in memory."""
    otel.attach(metered, spans=True)
    with contract.sync_client(api) as client:
        with tracer.start_as_current_span("short") as span:
            chat(client)
            stream = client.chat.completions.create(model=MODEL, messages=contract.HELLO, stream=True)
        gone = weakref.ref(span)
        del span
        gc.collect()
        assert gone() is None
        list(stream)
    assert metered.totals.calls == 2


def test_missing_or_non_recording_span_is_ignored(api, metered):
    """Without a recording span, calls are counted as usual."""
    otel.attach(metered, spans=True)
    with contract.sync_client(api) as client:
        chat(client)
        with use_span(NonRecordingSpan(SpanContext(1, 2, is_remote=False))):
            chat(client)
    assert metered.totals.calls == 2


def test_failed_call_is_set_on_its_span(api, metered, tracer):
    """A call that raised counts as a call of the span, and has neither tokens nor a cost."""
    metered._price_loader.load()
    otel.attach(metered, spans=True)
    client = contract.sync_client(api)
    with client, tracer.start_as_current_span("failing") as span, pytest.raises(openai.BadRequestError):
        chat(client, model=f"{MODEL}+400")
    assert span.attributes["openai_meter.calls"] == 1
    assert "gen_ai.usage.input_tokens" not in span.attributes


def test_span_set_inside_the_span_lock_does_not_hang(metered, tracer):
    """Where the interrupted code holds the SDK's own lock, a worker sets the attributes later."""
    otel.attach(metered, spans=True)
    with tracer.start_as_current_span("busy") as span:
        seen = telemetry._spans.call_started()
        with span._lock:  # as if interrupted in the middle of set_attribute
            done = threading.Thread(target=telemetry._spans.call_ended, args=(seen, metered, call()), daemon=True)
            done.start()
            done.join(60)
            assert not done.is_alive()
            assert not span._attributes
        assert openai_meter.core.background.worker.drain()
        assert span.attributes["openai_meter.calls"] == 1


def test_call_that_ends_while_the_worker_writes_its_span_is_not_overwritten(metered, tracer):
    """The worker writes older sums after the newer ones of another thread: the span ends with the newer ones."""
    otel.attach(metered, spans=True)
    writing, go_on = threading.Event(), threading.Event()
    with tracer.start_as_current_span("busy") as span:
        write = span.set_attributes

        def parked(attributes: Mapping[str, Any]) -> None:
            if threading.current_thread() is not threading.main_thread() and not writing.is_set():
                writing.set()
                assert go_on.wait(60)
            write(attributes)

        span.set_attributes = parked
        with span._lock:  # as if interrupted in the middle of set_attribute
            telemetry._spans.call_ended(telemetry._spans.call_started(), metered, call())
        assert writing.wait(60)
        telemetry._spans.call_ended(telemetry._spans.call_started(), metered, call())
        assert span.attributes["openai_meter.calls"] == 2
        go_on.set()
        assert openai_meter.core.background.worker.drain()
        assert span.attributes["openai_meter.calls"] == 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here: interrupted spans are NOT tested")
def test_calls_in_signal_handlers_are_all_set_on_spans(api, metered, tracer):
    """Calls from a handler that interrupts the main thread anywhere, the setting of attributes included, all count."""
    otel.attach(metered, spans=True)
    made = 0

    def handler(*_: Any) -> None:
        nonlocal made
        telemetry._spans.call_ended(telemetry._spans.call_started(), metered, call())
        made += 1

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with tracer.start_as_current_span("interrupted") as span:
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            plain = 0
            while made < 50:
                telemetry._spans.call_ended(telemetry._spans.call_started(), metered, call())
                span.set_attribute("own", plain)
                plain += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert openai_meter.core.background.worker.drain()
            telemetry._spans._empty_inbox()
            assert span.attributes["openai_meter.calls"] == made + plain
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_disabled_spans_are_not_read(api, metered):
    """Where no span is wanted, nobody looks for one."""
    assert ObserverSlot.observer is None
    with contract.sync_client(api) as client:
        chat(client)
    made = otel.attach(metered, spans=True)
    assert ObserverSlot.observer is telemetry._spans
    otel.detach(metered)
    assert ObserverSlot.observer is None
    assert made not in telemetry._attached
