"""Estimates the tokens of one call, from its request and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openai_meter.core import faults
from openai_meter.core.usage import Usage
from openai_meter.usage.estimation import encodings
from openai_meter.usage.estimation.chat import chat_input
from openai_meter.usage.estimation.counter import Counter
from openai_meter.usage.estimation.estimate import Estimate, Source
from openai_meter.usage.estimation.families import Traits, traits
from openai_meter.usage.estimation.items import response_input
from openai_meter.usage.estimation.outputs import OutputTokens, chat_output, completion_output, response_output
from openai_meter.usage.estimation.request_values import fields, listed, text_of
from openai_meter.usage.transcript import Output

__all__ = ["INPUTS", "estimate_call"]

_Input = Callable[[Mapping[str, Any], Traits, Counter], int | None]


def _embedding_input(body: Mapping[str, Any], _: Traits, counter: Counter) -> int | None:
    return _strings(body.get("input"), counter)


def _completion_input(body: Mapping[str, Any], _: Traits, counter: Counter) -> int | None:
    total = _strings(body.get("prompt"), counter)
    return None if total is None else total + counter.tok(text_of(body.get("suffix")))


def _strings(value: object, counter: Counter) -> int | None:
    """The tokens of a string, of strings, of an array of tokens, or of such arrays."""
    if isinstance(value, str):
        return counter.tok(text_of(value))
    parts = listed(value)
    if not parts:
        return None
    if type(parts[0]) is int:
        return len(parts)
    if any(not isinstance(part, str | list | tuple) for part in parts):
        counter.unknown.add("unreadable input")
    return sum(counter.tok(text_of(part)) if isinstance(part, str) else len(listed(part)) for part in parts)


INPUTS: Mapping[str, _Input] = {
    "chat.completions": chat_input,
    "completions": _completion_input,
    "responses": response_input,
    "responses.compact": response_input,
    "embeddings": _embedding_input,
}
"""How the input is counted, by endpoint; an endpoint without a row is unknown. To add one, add a row."""

_UNKNOWN = {
    "audio.transcriptions": "audio",
    "audio.translations": "audio",
    "images.edit": "images",
    "images.generate": "images",
    "images.variation": "images",
    "realtime": "conversation",
    "threads.runs": "conversation",
}
"""The kind of input, by endpoint, where none of it can be counted."""
_TOOLS = 1_000
_RESPONSES = frozenset({"realtime", "responses", "responses.compact"})


def estimate_call(
    endpoint: str,
    body: Mapping[str, Any],
    outputs: Sequence[Output] | None,
    model: str | None,
    *,
    input_known: bool = False,
    wait: bool = False,
) -> Estimate:
    """Estimates the tokens of one call. Never raises, whatever is in the request; takes bounded time. Thread-safe.

    Args:
        endpoint: the name of a row of :data:`openai_meter.usage.endpoints.ENDPOINTS`.
        body: the request's body as the caller gave it. It is only read, and iterators in it are left alone.
        outputs: the choices or items of the answer, or ``None`` if there is no answer.
        model: the model that answered, if that is known; otherwise the request's counts.
        input_known: the API reported the input, so it need not be counted.
        wait: load the vocabulary now if that has not been done, instead of counting characters.
    """
    request = fields(body)
    name = model if isinstance(model, str) and model else text_of(request.get("model"))
    kind = traits(name)
    encoding = encodings.load(kind.encoding) if wait else encodings.encoding(kind.encoding)
    counter = Counter(encoding, kind.encoding)
    usage = Usage()
    try:
        tokens_in = None if input_known else _input(endpoint, request, kind, counter)
        usage = _usage(endpoint, request, tokens_in, _output(endpoint, request, outputs, kind, counter))
    except Exception as error:
        counter.unknown.add("unreadable input")
        faults.caught(error, "estimating tokens")
    source: Source = "chars" if encoding is None else "tiktoken"
    return Estimate(usage, source, tuple(sorted(counter.unknown)), counter.sampled, counter.rule)


def _input(endpoint: str, body: Mapping[str, Any], model: Traits, counter: Counter) -> int | None:
    count = INPUTS.get(endpoint)
    if count is None:
        if name := _UNKNOWN.get(endpoint):
            counter.unknown.add(name)
        return None
    total = count(body, model, counter)
    if total is None:
        counter.unknown.add("unreadable input")
    return total


def _output(
    endpoint: str, body: Mapping[str, Any], outputs: Sequence[Output] | None, model: Traits, counter: Counter
) -> OutputTokens | None:
    """The tokens of the output; ``None`` if they are not known."""
    if endpoint == "embeddings":
        return OutputTokens(0)
    if outputs is None:
        return None
    if endpoint == "completions":
        return completion_output(outputs, counter)
    if endpoint == "chat.completions":
        output = chat_output(outputs, body, model, counter)
    elif endpoint in _RESPONSES:
        output = response_output(outputs, body, model, counter)
    else:
        return None
    if output.hidden:
        counter.unknown.add("reasoning")
    if "audio" in listed(body.get("modalities")):
        counter.unknown.add("audio")
    if any(fields(tool).get("type", "function") != "function" for tool in listed(body.get("tools"))[:_TOOLS]):
        counter.unknown.add("hosted tools")
    return output


def _usage(endpoint: str, body: Mapping[str, Any], tokens_in: int | None, out: OutputTokens | None) -> Usage:
    characters = len(text_of(body.get("input"))) if endpoint == "audio.speech" else 0
    tokens_out, reasoning = (None, 0) if out is None else (out.tokens, out.reasoning)
    total = None if tokens_in is None or tokens_out is None else tokens_in + tokens_out
    return Usage(tokens_in, tokens_out, total, reasoning_tokens=reasoning, characters=characters)
