"""The output of a chat completion, completion or response, from what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openai_meter.estimates.content import arguments_of, calls_tokens
from openai_meter.estimates.counter import Counter
from openai_meter.estimates.families import Traits
from openai_meter.estimates.reading import fields, text_of
from openai_meter.spoken import Spoken

__all__ = ["chat_output", "completion_output", "response_output"]


def reasons(body: Mapping[str, Any], model: Traits) -> bool:
    """Whether the model has reasoned, as far as the request tells."""
    effort = body.get("reasoning_effort") or fields(body.get("reasoning")).get("effort")
    if model.family == "L" or effort in ("none", "minimal"):
        return False
    return model.reasons or isinstance(effort, str)


def completion_output(spoken: Sequence[Spoken], counter: Counter) -> int:
    """The tokens of the choices of a completion."""
    return sum(counter.tok(text_of(one.text)) for one in spoken)


def chat_output(spoken: Sequence[Spoken], body: Mapping[str, Any], model: Traits, counter: Counter) -> tuple[int, int]:
    """The tokens of the choices of a chat completion, and how many of them are visible reasoning."""
    reasoned = reasons(body, model)
    forced = isinstance(body.get("tool_choice", body.get("function_call")), Mapping)
    total = reasoning = 0
    for one in spoken:
        seen = counter.tok(text_of(one.reasoning))
        reasoning += seen
        total += seen + _choice(one, model, counter, reasoned=reasoned, forced=forced)
    return total, reasoning


def _choice(one: Spoken, model: Traits, counter: Counter, *, reasoned: bool, forced: bool) -> int:
    ended = one.done and one.stopped != "length"
    words = counter.tok(text_of(one.text))
    if one.refusal:
        words += counter.tok(text_of(one.refusal)) + 1
    calls = [(text_of(name), text_of(said)) for name, said in one.calls]
    if not calls:
        return words + (_message_end(model, reasoned) if ended and (words or one.refusal) else 0)
    if len(calls) > 1:
        return words + calls_tokens(calls, counter) + (13 + 6 * reasoned if model.heavy else 10)
    ((name, said),) = calls
    arguments = counter.tok(arguments_of(said))
    if forced and not model.heavy:
        return words + arguments
    return words + counter.tok(name) + arguments + (10 + 6 * reasoned if model.heavy else 7)


def _message_end(model: Traits, reasoned: bool) -> int:
    if not model.heavy:
        return 0
    return 9 if reasoned else 3


def response_output(
    spoken: Sequence[Spoken], body: Mapping[str, Any], model: Traits, counter: Counter
) -> tuple[int, int]:
    """The tokens of the items of a response, and how many of them are visible reasoning."""
    reasoned = reasons(body, model)
    reasoning = sum(counter.tok(text_of(one.reasoning)) for one in spoken)
    total = reasoning
    calls: list[tuple[str, str]] = []
    for one in spoken:
        words = counter.tok(text_of(one.text)) + (counter.tok(text_of(one.refusal)) + 1 if one.refusal else 0)
        if words and one.done and one.stopped != "length":
            words += (6 if reasoned else 4) if model.heavy else 1
        total += words
        calls += [(text_of(name), text_of(said)) for name, said in one.calls]
    if len(calls) > 1:
        total += calls_tokens(calls, counter) + (14 if model.heavy else 11)
    elif calls:
        ((name, said),) = calls
        total += counter.tok(name) + counter.tok(arguments_of(said))
        if model.heavy:
            total += 13 if reasoned else 11
        else:
            total += -1 if body.get("tool_choice") == "required" else 8
    return total, reasoning
