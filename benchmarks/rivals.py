"""The packages that the meter is held against, each set up as its own documents advise for plain use of openai.

What they record stays in memory, and content is not captured where that can be said. `RIVALS` is the table; to add
one, add a function that instruments openai and returns a `Recorder`, and a row. ``begin()`` runs in the environment of
the rival (`environments.python_for`), so only these functions may import what they are about.
"""

# ruff: noqa: PLC0415 - what a rival needs is there in its own environment only

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

Tokens = tuple[int | None, int | None]
"""Input and output tokens of one record; ``None`` where it says nothing."""


class Recorder(Protocol):
    """A rival that has begun."""

    def client(self, plain: Any) -> Any:
        """The client that a program is to use in place of this one; the same one where classes are patched."""

    def seen(self) -> list[Tokens]:
        """What was recorded since `forget`, one for each call that it speaks of."""

    def forget(self) -> None:
        """Lets go of what was recorded."""

    def flush(self) -> None:
        """Ends what was put off."""


class Rival(NamedTuple):
    """A package that records calls of openai."""

    packages: tuple[str, ...]
    """What to install: the package itself first."""
    begin: Callable[[], Recorder]


# --- no network -------------------------------------------------------------------------------------------------------

REACHED: list[str] = []
"""Who on the network was asked for; each was refused."""


def stay_here() -> None:
    """Refuses all connections of this process to the network from here on."""

    def look(event: str, args: tuple[Any, ...]) -> None:
        # A local socket's address is a path; a host's is a name or a tuple.
        if event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(args[1], tuple)):
            where = str(args[0] if event == "socket.getaddrinfo" else args[1])
            REACHED.append(where)
            raise ConnectionRefusedError(f"no network in benchmarks: {where}")

    sys.addaudithook(look)


# --- OpenTelemetry ----------------------------------------------------------------------------------------------------


class Spans:
    """Finished spans of OpenTelemetry, kept in memory by its own exporter."""

    def __init__(self, *names: tuple[str, str], only: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> None:
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._names = names
        self._only = only
        self.exporter = InMemorySpanExporter()
        self.processor = SimpleSpanProcessor(self.exporter)

    def provider(self) -> Any:
        """A tracer provider that has its spans kept here."""
        from opentelemetry.sdk.trace import TracerProvider

        provider = TracerProvider()
        provider.add_span_processor(self.processor)
        return provider

    def client(self, plain: Any) -> Any:
        return plain

    def seen(self) -> list[Tokens]:
        spans = [span.attributes or {} for span in self.exporter.get_finished_spans()]
        return [self._tokens(attributes) for attributes in spans if self._only(attributes)]

    def forget(self) -> None:
        self.exporter.clear()

    def flush(self) -> None:
        pass

    def _tokens(self, attributes: Mapping[str, Any]) -> Tokens:
        for names in self._names:
            given, made = (attributes.get(name) for name in names)
            if given is not None or made is not None:
                return given, made
        return None, None


GEN_AI = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
"""What the conventions of OpenTelemetry call tokens."""


def opentelemetry() -> Recorder:
    """OpenLLMetry's instrumentation, by Traceloop."""
    os.environ["TRACELOOP_TRACE_CONTENT"] = "false"
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    older = ("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens")
    spans = Spans(GEN_AI, older)
    OpenAIInstrumentor().instrument(tracer_provider=spans.provider())
    return spans


def opentelemetry_genai() -> Recorder:
    """The instrumentation by OpenTelemetry itself, formerly ``opentelemetry-instrumentation-openai-v2``."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    # Looking up a response is told as an operation of its own that uses nothing: no record of a call.
    spans = Spans(GEN_AI, only=lambda attributes: attributes.get("gen_ai.operation.name") != "fetch_response")
    OpenAIInstrumentor().instrument(tracer_provider=spans.provider())
    return spans


def openinference() -> Recorder:
    """Arize's instrumentation."""
    from openinference.instrumentation import TraceConfig
    from openinference.instrumentation.openai import OpenAIInstrumentor

    spans = Spans(("llm.token_count.prompt", "llm.token_count.completion"))
    hidden = TraceConfig(hide_inputs=True, hide_outputs=True)
    OpenAIInstrumentor().instrument(tracer_provider=spans.provider(), config=hidden)
    return spans


class _LogfireSpans(Spans):
    """Logfire tells the tokens of a stream in a log that comes after the request's span, which then has none."""

    def seen(self) -> list[Tokens]:
        spans = [span.attributes for span in self.exporter.get_finished_spans()]
        logs = [attributes for attributes in spans if attributes["logfire.span_type"] == "log"]
        calls = [attributes for attributes in spans if attributes["logfire.span_type"] != "log"]
        telling = [attributes for attributes in calls if GEN_AI[0] in attributes]
        silent = [attributes for attributes in calls if GEN_AI[0] not in attributes]
        return [self._tokens(attributes) for attributes in (*telling, *logs, *silent[len(logs) :])]


def logfire() -> Recorder:
    """Pydantic's. It has no way not to capture content."""
    import logfire

    spans = _LogfireSpans(GEN_AI)
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[spans.processor])
    logfire.instrument_openai()
    return spans


class _LangfuseSpans(Spans):
    """Langfuse tells all kinds of tokens in one attribute."""

    flushed: Any

    def flush(self) -> None:
        self.flushed.flush()

    def _tokens(self, attributes: Mapping[str, Any]) -> Tokens:
        usage = json.loads(str(attributes.get("langfuse.observation.usage_details", "{}")))
        # It hands on what openai says, in openai's words.
        given = (usage[name] for name in ("input", "prompt_tokens", "input_tokens") if name in usage)
        made = (usage[name] for name in ("output", "completion_tokens", "output_tokens") if name in usage)
        return next(given, None), next(made, None)


def langfuse() -> Recorder:
    """Langfuse's wrapper, which patches openai as it is imported."""
    from langfuse import Langfuse

    spans = _LangfuseSpans(only=lambda attributes: "langfuse.observation.type" in attributes)
    spans.flushed = Langfuse(
        public_key="pk-lf-none", secret_key="sk-lf-none", base_url="http://127.0.0.1:9",
        span_exporter=spans.exporter, mask=lambda **_: "masked",
    )  # fmt: skip
    import langfuse.openai  # noqa: F401

    return spans


# --- packages with a form of their own --------------------------------------------------------------------------------


class Kept:
    """Records that the rival's own client would have sent, kept in a list instead."""

    def __init__(self, wrap: Callable[[Any], Any] = lambda plain: plain, flush: Callable[[], object] = int) -> None:
        self.records: list[Any] = []
        self._wrap = wrap
        self._flush = flush

    def client(self, plain: Any) -> Any:
        return self._wrap(plain)

    def seen(self) -> list[Tokens]:
        return [found for record in self.records if (found := self.tokens(record)) is not None]

    def forget(self) -> None:
        self.records.clear()

    def flush(self) -> None:
        self._flush()

    def tokens(self, record: Any) -> Tokens | None:
        """The tokens of a record; ``None`` if it is not one of a call."""
        return record


def langsmith() -> Recorder:
    """LangChain's wrapper of clients. Its runs are kept where they would be queued for sending."""
    os.environ["LANGSMITH_TRACING"] = "true"
    os.environ["LANGSMITH_API_KEY"] = "none"
    from langsmith import Client
    from langsmith.wrappers import wrap_openai

    class Memory(Client):
        """Takes runs as any client does; sends none."""

        def create_run(self, *_: Any, run_type: str, **run: Any) -> None:
            kept.runs[str(run.get("id"))] = run_type

        def update_run(self, run_id: Any, *, outputs: Any = None, **_: Any) -> None:
            if kept.runs.pop(str(run_id), "llm") == "llm":
                told = outputs or {}
                kept.records.append(told.get("usage_metadata") or told.get("usage") or {})

    class Runs(Kept):
        runs: dict[str, str]

        def tokens(self, record: Any) -> Tokens:
            given = record.get("input_tokens", record.get("prompt_tokens"))
            return given, record.get("output_tokens", record.get("completion_tokens"))

    memory = Memory(api_key="none", auto_batch_tracing=False, hide_inputs=True, info={})
    kept = Runs(lambda plain: wrap_openai(plain, tracing_extra={"client": memory}))
    kept.runs = {}
    return kept


def braintrust() -> Recorder:
    """Braintrust's, which patches openai for all of a program. The logger of its own tests keeps the spans."""
    os.environ["BRAINTRUST_API_KEY"] = "none"
    import braintrust
    from braintrust import logger
    from braintrust.util import LazyValue

    memory = logger._MemoryBackgroundLogger()
    # In every thread, not only in this one.
    logger._state._global_bg_logger = LazyValue(lambda: memory, use_mutex=False)
    braintrust.auto_instrument()
    project = logger.ObjectMetadata("benchmarks", "benchmarks", {})
    found = logger.OrgProjectMetadata("benchmarks", project)
    braintrust.init_logger("benchmarks")._lazy_metadata = LazyValue(lambda: found, use_mutex=False)

    class Logged(Kept):
        def seen(self) -> list[Tokens]:
            self.records += memory.pop()
            return super().seen()

        def forget(self) -> None:
            memory.pop()
            super().forget()

        def tokens(self, record: Any) -> Tokens | None:
            if record.get("span_attributes", {}).get("type") != "llm":
                return None
            metrics = record.get("metrics") or {}
            return metrics.get("prompt_tokens"), metrics.get("completion_tokens")

    return Logged()


def opik() -> Recorder:
    """Comet's wrapper of clients. Its messages are kept where its own thread would send them."""
    os.environ |= {"OPIK_URL_OVERRIDE": "http://127.0.0.1:9", "OPIK_SENTRY_ENABLE": "false"}
    from opik import get_global_client
    from opik.integrations.openai import track_openai
    from opik.message_processing.processors.online_message_processor import OpikMessageProcessor

    def keep(_: Any, message: Any) -> None:
        kept.records += getattr(message, "batch", None) or [message]

    class Messages(Kept):
        def seen(self) -> list[Tokens]:
            spans: dict[str, list[Any]] = {}
            for message in self.records:
                # A span is told as it begins and as it ends, alone or with attachments to look for.
                span = getattr(message, "original_message", message)
                if hasattr(span, "usage"):
                    spans.setdefault(getattr(span, "span_id", None) or span.id, []).append(span)
            calls = [told for told in spans.values() if any(getattr(one, "type", None) == "llm" for one in told)]
            usages = [next((one.usage for one in reversed(told) if one.usage), {}) for told in calls]
            return [(usage.get("prompt_tokens"), usage.get("completion_tokens")) for usage in usages]

    OpikMessageProcessor.process = keep
    kept = Messages(track_openai, lambda: get_global_client().flush())
    return kept


def posthog() -> Recorder:
    """PostHog's subclasses of the clients. Its documented ``before_send`` takes the events, and drops them."""
    import openai
    from posthog import Posthog
    from posthog.ai import openai as ours

    def keep(event: Any) -> None:
        kept.records.append(event)

    class Events(Kept):
        def tokens(self, record: Any) -> Tokens | None:
            if record["event"] not in ("$ai_generation", "$ai_embedding"):
                return None
            properties = record["properties"]
            return properties.get("$ai_input_tokens"), properties.get("$ai_output_tokens")

    def wrap(plain: Any) -> Any:
        kind = getattr(ours, type(plain).__name__, None)
        if kind is None:
            return plain
        said = {"api_key": plain.api_key, "http_client": plain._client, "max_retries": plain.max_retries}
        if isinstance(plain, openai.AzureOpenAI | openai.AsyncAzureOpenAI):
            said["api_version"] = plain._api_version
        return kind(posthog_client=hog, base_url=plain.base_url, **said)

    hog = Posthog("none", host="http://127.0.0.1:9", before_send=keep, privacy_mode=True)
    kept = Events(wrap)
    return kept


class _SentrySpans(Kept):
    """The spans of a transaction, within which calls are made as in a request to a web server."""

    def seen(self) -> list[Tokens]:
        spans = [span.to_json() for span in self.records[0]._span_recorder.spans if span.timestamp is not None]
        calls = [span["data"] for span in spans if str(span.get("op")).startswith("gen_ai.")]
        return [(data.get(GEN_AI[0]), data.get(GEN_AI[1])) for data in calls]

    def forget(self) -> None:
        import sentry_sdk

        # It takes the place of the last one, and of the span that a stream which was left has left behind.
        sentry_sdk.get_current_scope().span = None
        self.records[:] = [sentry_sdk.start_transaction(name="benchmark")]
        sentry_sdk.get_current_scope().span = self.records[0]


def sentry() -> Recorder:
    """Sentry's, which patches openai as it begins. Nothing is sent of a transaction that never ends."""
    import sentry_sdk
    from sentry_sdk.integrations.openai import OpenAIIntegration
    from sentry_sdk.transport import Transport

    class Nowhere(Transport):
        """Sends nothing."""

        def capture_envelope(self, envelope: Any) -> None:
            del envelope

    sentry_sdk.init(
        dsn="http://none@127.0.0.1:9/1", traces_sample_rate=1.0, send_default_pii=False, transport=Nowhere,
        integrations=[OpenAIIntegration(include_prompts=False)],
    )  # fmt: skip
    kept = _SentrySpans()
    kept.forget()
    return kept


SDK = "opentelemetry-sdk"
RIVALS = {
    "opentelemetry": Rival(("opentelemetry-instrumentation-openai", SDK), opentelemetry),
    "opentelemetry-genai": Rival(("opentelemetry-instrumentation-genai-openai", SDK), opentelemetry_genai),
    "openinference": Rival(("openinference-instrumentation-openai", SDK), openinference),
    "langfuse": Rival(("langfuse",), langfuse),
    "langsmith": Rival(("langsmith",), langsmith),
    "logfire": Rival(("logfire",), logfire),
    "opik": Rival(("opik",), opik),
    "braintrust": Rival(("braintrust",), braintrust),
    "posthog": Rival(("posthog",), posthog),
    "sentry": Rival(("sentry-sdk",), sentry),
}
"""By the name that ``--against`` takes."""
