"""The packages that the meter is held against, each set up as its own documents advise for plain use of openai.

What they record stays in memory, and content is not captured where that can be said. `RIVALS` is the table; to add
one, add a function that instruments openai and returns a `Recorder`, and a row. ``begin()`` runs in the environment of
the rival (`environments.python_for`), so only these functions may import what they are about.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
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

    def __init__(self, names: Iterable[tuple[str, str]], only: Callable[[Mapping[str, Any]], bool]) -> None:
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._names = tuple(names)
        self._only = only
        self._exporter = InMemorySpanExporter()
        self.processor = SimpleSpanProcessor(self._exporter)

    def provider(self) -> Any:
        """A tracer provider that has its spans kept here."""
        from opentelemetry.sdk.trace import TracerProvider

        provider = TracerProvider()
        provider.add_span_processor(self.processor)
        return provider

    def client(self, plain: Any) -> Any:
        return plain

    def seen(self) -> list[Tokens]:
        spans = [span.attributes or {} for span in self._exporter.get_finished_spans()]
        return [self._tokens(attributes) for attributes in spans if self._only(attributes)]

    def forget(self) -> None:
        self._exporter.clear()

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
    spans = Spans((GEN_AI, older), lambda attributes: True)
    OpenAIInstrumentor().instrument(tracer_provider=spans.provider())
    return spans


def opentelemetry_genai() -> Recorder:
    """The instrumentation of OpenTelemetry's own GenAI group, once called ``opentelemetry-instrumentation-openai-v2``."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    # Looking up a response is told as an operation of its own that uses nothing: no record of a call.
    spans = Spans([GEN_AI], lambda attributes: attributes.get("gen_ai.operation.name") != "fetch_response")
    OpenAIInstrumentor().instrument(tracer_provider=spans.provider())
    return spans


def openinference() -> Recorder:
    """Arize's instrumentation."""
    from openinference.instrumentation import TraceConfig
    from openinference.instrumentation.openai import OpenAIInstrumentor

    spans = Spans([("llm.token_count.prompt", "llm.token_count.completion")], lambda attributes: True)
    hidden = TraceConfig(hide_inputs=True, hide_outputs=True)
    OpenAIInstrumentor().instrument(tracer_provider=spans.provider(), config=hidden)
    return spans


SDK = "opentelemetry-sdk"
RIVALS = {
    "opentelemetry": Rival(("opentelemetry-instrumentation-openai", SDK), opentelemetry),
    "opentelemetry-genai": Rival(("opentelemetry-instrumentation-genai-openai", SDK), opentelemetry_genai),
    "openinference": Rival(("openinference-instrumentation-openai", SDK), openinference),
}
"""By the name that ``--against`` takes."""
