"""The input of a response: instructions, items, tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openai_meter.usage.estimation.content import called, calls_tokens, read_content, results_tokens
from openai_meter.usage.estimation.counter import Counter
from openai_meter.usage.estimation.families import Traits
from openai_meter.usage.estimation.prompts import (
    call_tokens,
    choice_tokens,
    message_tokens,
    primer,
    result_tokens,
    tools_text,
)
from openai_meter.usage.estimation.request_values import fields, listed, spread, text_of
from openai_meter.usage.estimation.schemas import read_format
from openai_meter.usage.estimation.tools import functions_of

__all__ = ["response_input"]

# The parts that only the server has, by the field of the request that refers to them.
_ELSEWHERE = {
    "previous_response_id": "previous response",
    "conversation": "conversation",
    "prompt": "stored prompt",
}


def response_input(body: Mapping[str, Any], model: Traits, counter: Counter) -> int | None:
    """The tokens of a response's request; ``None`` if there is nothing in it that can be read."""
    counter.unknown.update(name for field, name in _ELSEWHERE.items() if body.get(field))
    if fields(body.get("reasoning")).get("mode") == "pro":
        counter.unknown.add("pro mode")  # about 1,500 tokens of the server's own
    total = primer(model) - model.old
    if instructions := text_of(body.get("instructions")):
        total += message_tokens(model, "system") + counter.tok(instructions)
    value = body.get("input")
    if isinstance(value, str):
        total += message_tokens(model, "user") + counter.tok(text_of(value))
    elif items := listed(value):
        total += _items(items, body, model, counter)
    elif value is not None or not (instructions or counter.unknown):
        return None
    return total + _tools(body, model, counter)


def _items(items: Sequence[Any], body: Mapping[str, Any], model: Traits, counter: Counter) -> int:
    calls = _Calls(model, counter)
    some, share = spread(items)
    counter.sampled = counter.sampled or share > 1
    total = 0
    for item in some:
        item_fields = fields(item)
        kind = text_of(item_fields.get("type")) or "message"
        if kind == "function_call":
            calls.add(item_fields)
            continue
        total += calls.close(results=kind != "function_call_output")
        if kind == "message" and "role" in item_fields:
            total += message_tokens(model, item_fields.get("role"))
            total += read_content(item_fields.get("content"), model, counter).tokens(counter)
        elif kind == "function_call_output":
            total += calls.result(item_fields)
        elif kind == "reasoning":
            # Old reasoning costs nothing; with tools it may belong to this turn, and is billed.
            if body.get("tools"):
                counter.unknown.add("encrypted reasoning")
        elif kind == "item_reference":
            counter.unknown.add("item reference")
        else:
            counter.unknown.add("hosted tools" if kind != "message" else "unreadable input")
    return round(share * (total + calls.close()))


class _Calls:
    """The function calls among the items: models of family H see parallel calls as one."""

    def __init__(self, model: Traits, counter: Counter) -> None:
        self._model = model
        self._counter = counter
        self._names: dict[str, str] = {}
        self._together: set[str] = set()
        self._open: list[Mapping[str, Any]] = []
        self._results: list[str] = []

    def add(self, item: Mapping[str, Any]) -> None:
        self._open.append(item)

    def close(self, *, results: bool = True) -> int:
        """The tokens of the calls since the last item of another kind; of their results only where these are whole."""
        total = 0
        if results:
            total = results_tokens(self._results, self._counter)
            self._results = []
        return total + self._close_calls()

    def _close_calls(self) -> int:
        items, self._open = self._open, []
        calls = [called(item) for item in items]
        ids = [text_of(item.get("call_id")) for item in items]
        self._names.update(zip(ids, (name for name, _ in calls), strict=True))
        if self._model.heavy and len(calls) > 1:
            self._together.update(ids)
            return 26 + calls_tokens(calls, self._counter)
        total = sum(call_tokens(name, arguments, self._model, self._counter) for name, arguments in calls)
        if self._model.heavy:
            return total + len(calls)
        if self._model.family == "L":
            total += sum(1 if item.get("id") else -2 for item in items)
        return total

    def result(self, item: Mapping[str, Any]) -> int:
        content = read_content(item.get("output"), self._model, self._counter)
        call_id = text_of(item.get("call_id"))
        if call_id in self._together:
            self._results.append(content.text)
            return content.images
        return result_tokens(content.tokens(self._counter), self._names.get(call_id, ""), self._counter)


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
    form = read_format(fields(body.get("text")).get("format"), counter)
    if form is not None:
        total += counter.tok(form.text) + (model.family == "L")
    return total
