"""Other instrumentation beside us: put on before and after us, and taken off in either order.

The name of one of :data:`OTHERS` is the argument.
"""

import sys

import openai
from openai import AsyncOpenAI, OpenAI
from stage import MODEL, Stage, run

import openai_meter


class OpenTelemetry:
    """An instrumentor by OpenTelemetry's rules; what it sees are spans."""

    def __init__(self, module, name):
        from importlib import import_module

        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.kept = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.kept))
        self.instrumentor = getattr(import_module(module), name)()

    def on(self):
        self.instrumentor.instrument(tracer_provider=self.provider)

    def off(self):
        self.instrumentor.uninstrument()

    def seen(self):
        number = len(self.kept.get_finished_spans())
        self.kept.clear()
        return number


class Sentry:
    """Sentry's integration, which cannot be taken off; what it sees are spans of transactions."""

    def __init__(self):
        self.events = []

    def on(self):
        import sentry_sdk
        from sentry_sdk.integrations.openai import OpenAIIntegration

        sentry_sdk.init(
            dsn="http://key@127.0.0.1:9/1", traces_sample_rate=1.0, before_send_transaction=self._keep,
            integrations=[OpenAIIntegration()], default_integrations=False,
        )  # fmt: skip

    def _keep(self, event, _):
        self.events.extend(event["spans"])

    def off(self):
        pass

    def seen(self):
        number, self.events = len(self.events), []
        return number


OTHERS = {
    "openinference-instrumentation-openai": lambda: OpenTelemetry(
        "openinference.instrumentation.openai", "OpenAIInstrumentor"
    ),
    "opentelemetry-instrumentation-openai": lambda: OpenTelemetry(
        "opentelemetry.instrumentation.openai", "OpenAIInstrumentor"
    ),
    "opentelemetry-instrumentation-openai-v2": lambda: OpenTelemetry(
        "opentelemetry.instrumentation.openai_v2", "OpenAIInstrumentor"
    ),
    "sentry-sdk": Sentry,
}
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "How?"}]}
name = sys.argv[1]
stage = Stage(name, name)
other = OTHERS[name]()
openai_meter.uninstall()
request, create = vars(openai._base_client.SyncAPIClient)["request"], openai.resources.chat.Completions.create
"""The functions of the SDK, which have to be there again in the end."""


def meter_on():
    openai_meter.install(meter=stage.meter, hosts={"127.0.0.1": "openai"}, thresholds=False)


def calls():
    import contextlib

    around = contextlib.nullcontext()
    if name == "sentry-sdk":
        import sentry_sdk

        around = sentry_sdk.start_transaction(name="calls")
    given = {"base_url": stage.url, "api_key": "demo", "max_retries": 0}
    with around:
        client = OpenAI(**given)
        client.chat.completions.create(**ASK)
        list(client.chat.completions.create(**ASK, stream=True))

        async def main():
            client = AsyncOpenAI(**given)
            await client.chat.completions.create(**ASK)
            async for _ in await client.chat.completions.create(**ASK, stream=True):
                pass

        run(main)


def both(way):
    with stage.way(way, expected=4):
        calls()
    seen = other.seen()
    stage.check(seen >= 4, f"the other one saw {seen} of 4")


for step in (other.on, calls, other.off):
    step()
other.seen()
calls()
TAKES_ITSELF_OFF = other.seen() == 0
"""Whether it is off after having been taken off, where there never was a meter: not all of them are."""


def in_order(first, on, last, off):
    """Puts both on and takes both off, in one of the four orders."""
    for step in on:
        step()
    both(f"{first} on first, {last} off last")
    off[0]()
    if off[0] == openai_meter.uninstall:
        before = stage.meter.totals.calls
        calls()
        stage.check(stage.meter.totals.calls == before, "still counts after uninstall()")
        seen = other.seen()
        stage.check(seen >= 4, f"after uninstall() the other one saw {seen} of 4")
    elif TAKES_ITSELF_OFF:
        alone = f"{first} on first, {last} off last: meter alone"
        if name.startswith("openinference") and first == "other":
            # It puts back the function that it found, over ours, which came later: we have to be put on again.
            meter_on()
            alone += ", after install() again"
        with stage.way(alone, expected=4):
            calls()
        stage.check(other.seen() == 0, "the other one is not off")
    off[1]()
    stage.check(vars(openai._base_client.SyncAPIClient)["request"] is request, "request is not restored")
    if TAKES_ITSELF_OFF:
        stage.check(openai.resources.chat.Completions.create is create, "create is not restored")


for first, on in (("other", (other.on, meter_on)), ("meter", (meter_on, other.on))):
    for last, off in (("other", (openai_meter.uninstall, other.off)), ("meter", (other.off, openai_meter.uninstall))):
        in_order(first, on, last, off)
stage.end()
