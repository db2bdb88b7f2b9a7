"""The output of a chat completion, completion or response, from its text and tool calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from openai_meter.usage.estimation.content import arguments_of, calls_tokens
from openai_meter.usage.estimation.counter import Counter
from openai_meter.usage.estimation.families import Traits
from openai_meter.usage.estimation.request_values import fields, text_of
from openai_meter.usage.transcript import Output

__all__ = ["OutputTokens", "chat_output", "completion_output", "response_output"]


class OutputTokens(NamedTuple):
    """The tokens of an output."""

    tokens: int
    """All of them that can be counted, visible reasoning included."""
    reasoning: int = 0
    """Visible reasoning."""
    hidden: bool = False
    """Whether the model has reasoned without showing it: there are more tokens than were counted."""


def completion_output(outputs: Sequence[Output], counter: Counter) -> OutputTokens:
    """The tokens of the choices of a completion."""
    return OutputTokens(sum(counter.tok(text_of(output.text)) for output in outputs))


def chat_output(outputs: Sequence[Output], body: Mapping[str, Any], model: Traits, counter: Counter) -> OutputTokens:
    """The tokens of the choices of a chat completion."""
    expected = _Expected(body, model, outputs)
    forced = fields(body.get("tool_choice", body.get("function_call")))
    total = reasoning = 0
    for output in outputs:
        shown = counter.tok(text_of(output.reasoning))
        calls = [(text_of(name), text_of(arguments)) for name, arguments in output.calls]
        tokens = _text_tokens(output, counter)
        if tokens and not calls and _ended(output):
            tokens += {"L": 0, "O": 13, "H": 9 if expected.reasoned else 3}[model.family] + expected.framed
        if len(calls) == 1 and forced and not model.heavy:
            tokens += counter.tok(arguments_of(calls[0][1]))
        elif len(calls) == 1:
            tokens += _call_tokens(calls[0], counter) + (10 + 6 * expected.reasoned if model.heavy else 7 + model.old)
        elif calls:
            tokens += calls_tokens(calls, counter) + (13 + 6 * expected.reasoned if model.heavy else 10)
        reasoning += shown
        total += shown + tokens
    return OutputTokens(total, reasoning, expected.reasoned and not reasoning)


def response_output(
    outputs: Sequence[Output], body: Mapping[str, Any], model: Traits, counter: Counter
) -> OutputTokens:
    """The tokens of the items of a response."""
    expected = _Expected(body, model, outputs)
    reasoning = sum(counter.tok(text_of(output.reasoning)) for output in outputs)
    total = reasoning
    calls: list[tuple[str, str]] = []
    for output in outputs:
        tokens = _text_tokens(output, counter)
        if tokens and _ended(output):
            tokens += (
                (6 if expected.reasoned else 4) if model.heavy else 1 + model.old + model.ending
            ) + expected.framed
        total += tokens
        if output.hosted and expected.reasoned:
            continue  # it is in the reasoning tokens
        calls += [(text_of(name), text_of(arguments)) for name, arguments in output.calls]
    if len(calls) > 1:
        total += calls_tokens(calls, counter) + (14 if model.heavy else 11)
    elif calls:
        total += _response_call(calls[0], body.get("tool_choice"), model, expected, counter)
    return OutputTokens(total, reasoning, expected.reasoned and not reasoning)


def _response_call(call: tuple[str, str], choice: object, model: Traits, expected: _Expected, counter: Counter) -> int:
    if model.heavy:
        return _call_tokens(call, counter) + (13 if expected.reasoned else 11)
    if fields(choice).get("type") == "function":  # a call that is forced by name does not cost its name
        return counter.tok(arguments_of(call[1])) + 1
    return _call_tokens(call, counter) + (-1 if choice == "required" else 8)


class _Expected:
    """What the request determines about the output."""

    __slots__ = ("framed", "reasoned")

    def __init__(self, body: Mapping[str, Any], model: Traits, outputs: Sequence[Output]) -> None:
        flags = [output.reasoned for output in outputs if output.reasoned is not None]
        self.reasoned = any(flags) if flags else _reasons(body, model)
        form = body.get("response_format") or fields(body.get("text")).get("format")
        has_schema = isinstance(form, type) or fields(form).get("type") == "json_schema"
        has_tools = bool(body.get("tools") or body.get("functions"))
        # With tools, a text is marked as meant for the user; so is one that follows a schema.
        self.framed = 4 * (has_schema and (has_tools or model.heavy)) + (has_tools and model.family == "L")


def _reasons(body: Mapping[str, Any], model: Traits) -> bool:
    """Whether the model reasons, as far as the request shows."""
    effort = body.get("reasoning_effort") or fields(body.get("reasoning")).get("effort")
    if model.family == "L" or effort in ("none", "minimal"):
        return False
    return model.reasons or isinstance(effort, str)


def _ended(output: Output) -> bool:
    return bool(output.done) and output.stopped != "length"


def _text_tokens(output: Output, counter: Counter) -> int:
    refusal = counter.tok(text_of(output.refusal))
    return counter.tok(text_of(output.text)) + refusal + (refusal > 0)


def _call_tokens(call: tuple[str, str], counter: Counter) -> int:
    return counter.tok(call[0]) + counter.tok(arguments_of(call[1]))
