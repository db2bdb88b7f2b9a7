"""The output of a chat completion, completion or response, from what was said."""

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
    """Whether the model has reasoned without its words being seen: there are more tokens than were counted."""


def completion_output(spoken: Sequence[Output], counter: Counter) -> OutputTokens:
    """The tokens of the choices of a completion."""
    return OutputTokens(sum(counter.tok(text_of(one.text)) for one in spoken))


def chat_output(spoken: Sequence[Output], body: Mapping[str, Any], model: Traits, counter: Counter) -> OutputTokens:
    """The tokens of the choices of a chat completion."""
    asked = _Asked(body, model, spoken)
    forced = fields(body.get("tool_choice", body.get("function_call")))
    total = reasoning = 0
    for one in spoken:
        seen = counter.tok(text_of(one.reasoning))
        calls = [(text_of(name), text_of(said)) for name, said in one.calls]
        words = _words(one, counter)
        if words and not calls and _ended(one):
            words += {"L": 0, "O": 13, "H": 9 if asked.reasoned else 3}[model.family] + asked.framed
        if len(calls) == 1 and forced and not model.heavy:
            words += counter.tok(arguments_of(calls[0][1]))
        elif len(calls) == 1:
            words += _call(calls[0], counter) + (10 + 6 * asked.reasoned if model.heavy else 7 + model.old)
        elif calls:
            words += calls_tokens(calls, counter) + (13 + 6 * asked.reasoned if model.heavy else 10)
        reasoning += seen
        total += seen + words
    return OutputTokens(total, reasoning, asked.reasoned and not reasoning)


def response_output(spoken: Sequence[Output], body: Mapping[str, Any], model: Traits, counter: Counter) -> OutputTokens:
    """The tokens of the items of a response."""
    asked = _Asked(body, model, spoken)
    reasoning = sum(counter.tok(text_of(one.reasoning)) for one in spoken)
    total = reasoning
    calls: list[tuple[str, str]] = []
    for one in spoken:
        words = _words(one, counter)
        if words and _ended(one):
            words += ((6 if asked.reasoned else 4) if model.heavy else 1 + model.old + model.ending) + asked.framed
        total += words
        calls += [(text_of(name), text_of(said)) for name, said in one.calls]
    if len(calls) > 1:
        total += calls_tokens(calls, counter) + (14 if model.heavy else 11)
    elif calls:
        total += _response_call(calls[0], body.get("tool_choice"), model, asked, counter)
    return OutputTokens(total, reasoning, asked.reasoned and not reasoning)


def _response_call(call: tuple[str, str], choice: object, model: Traits, asked: _Asked, counter: Counter) -> int:
    if model.heavy:
        return _call(call, counter) + (13 if asked.reasoned else 11)
    if fields(choice).get("type") == "function":  # what is forced by name need not be named
        return counter.tok(arguments_of(call[1])) + 1
    return _call(call, counter) + (-1 if choice == "required" else 8)


class _Asked:
    """What the request says of the output."""

    __slots__ = ("framed", "reasoned")

    def __init__(self, body: Mapping[str, Any], model: Traits, spoken: Sequence[Output]) -> None:
        told = [one.reasoned for one in spoken if one.reasoned is not None]
        self.reasoned = any(told) if told else _reasons(body, model)
        form = body.get("response_format") or fields(body.get("text")).get("format")
        has_schema = isinstance(form, type) or fields(form).get("type") == "json_schema"
        has_tools = bool(body.get("tools") or body.get("functions"))
        # Where there are tools, a text says that it is for the user; one that follows a schema says so too.
        self.framed = 4 * (has_schema and (has_tools or model.heavy)) + (has_tools and model.family == "L")


def _reasons(body: Mapping[str, Any], model: Traits) -> bool:
    """Whether the model reasons, as far as the request tells."""
    effort = body.get("reasoning_effort") or fields(body.get("reasoning")).get("effort")
    if model.family == "L" or effort in ("none", "minimal"):
        return False
    return model.reasons or isinstance(effort, str)


def _ended(one: Output) -> bool:
    return bool(one.done) and one.stopped != "length"


def _words(one: Output, counter: Counter) -> int:
    refusal = counter.tok(text_of(one.refusal))
    return counter.tok(text_of(one.text)) + refusal + (refusal > 0)


def _call(call: tuple[str, str], counter: Counter) -> int:
    return counter.tok(call[0]) + counter.tok(arguments_of(call[1]))
