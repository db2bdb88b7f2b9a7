"""The input of a response: instructions, items, tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openai_meter.estimates.content import called, read_content
from openai_meter.estimates.counter import Counter
from openai_meter.estimates.families import Traits
from openai_meter.estimates.prompts import (
    call_tokens,
    choice_tokens,
    message_tokens,
    primer,
    result_tokens,
    tools_text,
)
from openai_meter.estimates.reading import fields, listed, text_of
from openai_meter.estimates.schemas import schema_tokens
from openai_meter.estimates.tools import functions_of

__all__ = ["response_input"]

# What only the server knows, by the field of the request that refers to it.
_ELSEWHERE = {
    "previous_response_id": "previous response",
    "conversation": "conversation",
    "prompt": "stored prompt",
}


def response_input(body: Mapping[str, Any], model: Traits, counter: Counter) -> int | None:
    """The tokens of a response's request; ``None`` if there is nothing in it that can be read."""
    counter.unknown.update(word for field, word in _ELSEWHERE.items() if body.get(field))
    total = primer(model)
    if instructions := text_of(body.get("instructions")):
        total += message_tokens(model, "system") + counter.tok(instructions)
    said = body.get("input")
    if isinstance(said, str):
        total += message_tokens(model, "user") + counter.tok(text_of(said))
    elif items := listed(said):
        total += _items(items, body, model, counter)
    elif said is not None or not (instructions or counter.unknown):
        return None
    return total + _tools(body, model, counter)


def _items(items: Any, body: Mapping[str, Any], model: Traits, counter: Counter) -> int:
    names: dict[str, str] = {}
    total = 0
    for item in items:
        said = fields(item)
        kind = text_of(said.get("type")) or "message"
        if kind == "message" and "role" in said:
            total += message_tokens(model, said.get("role"))
            total += read_content(said.get("content"), model, counter).tokens(counter)
        elif kind == "function_call":
            name, arguments = called(said)
            names[text_of(said.get("call_id"))] = name
            total += call_tokens(name, arguments, model, counter)
            if model.family == "L":
                total += 1 if said.get("id") else -2
        elif kind == "function_call_output":
            content = read_content(said.get("output"), model, counter).tokens(counter)
            total += result_tokens(content, names.get(text_of(said.get("call_id")), ""), counter)
        elif kind == "reasoning":
            # Old reasoning costs nothing; with tools it may belong to this turn, and is billed.
            if body.get("tools"):
                counter.unknown.add("encrypted reasoning")
        elif kind == "item_reference":
            counter.unknown.add("item reference")
        else:
            counter.unknown.add("hosted tools" if kind != "message" else "unreadable input")
    return total


def _tools(body: Mapping[str, Any], model: Traits, counter: Counter) -> int:
    functions, others, whole = functions_of(body.get("tools"), nested=False)
    if others:
        counter.unknown.add("hosted tools")
    if not whole:
        counter.unknown.add("tools")
    total = 0
    if functions:
        total += counter.tok(tools_text(functions, model)) + {"L": -3, "H": 3, "O": 0}[model.family]
        if model.heavy and not functions[0].description:
            total -= 1
        total += choice_tokens(body.get("tool_choice"), model, counter, required=9)
    schema = schema_tokens(fields(body.get("text")).get("format"), counter)
    if schema is not None:
        total += schema + (7 if model.family == "L" else 6)
    return total
