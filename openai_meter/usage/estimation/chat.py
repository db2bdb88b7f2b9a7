"""The input of a chat completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openai_meter.usage.estimation.content import Content, called, calls_tokens, read_content, results_tokens
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
from openai_meter.usage.estimation.request_values import fields, is_iterator, listed, spread, text_of
from openai_meter.usage.estimation.schemas import read_format
from openai_meter.usage.estimation.tools import functions_of

__all__ = ["chat_input"]

_SYSTEM = ("system", "developer")


def chat_input(body: Mapping[str, Any], model: Traits, counter: Counter) -> int | None:
    """The tokens of a chat completion's request; ``None`` if it has no messages that can be read."""
    some, share = spread(listed(body.get("messages")))
    messages = [fields(message) for message in some]
    if not messages:
        return None
    counter.sampled = counter.sampled or share > 1
    names = _Names()
    contents = [read_content(message.get("content"), model, counter) for message in messages]
    pairs = zip(messages, contents, strict=True)
    tokens = sum(_message(*pair, names, model, counter) for pair in pairs) + names.close(counter)
    total = primer(model) + round(share * tokens)
    system = contents[0] if messages[0].get("role") in _SYSTEM else None
    total += _tools(body, system, model, counter)
    if fields(body.get("web_search_options")) or body.get("web_search_options") == {}:
        counter.unknown.add("hosted tools")
    return total


class _Names:
    """The functions that were called, by the ids of the calls; and the results of calls that were made together."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self.together: set[str] = set()
        self.results: list[str] = []

    def close(self, counter: Counter) -> int:
        """The tokens of the results since the last message of another kind."""
        results, self.results = self.results, []
        return results_tokens(results, counter)


def _message(message: Mapping[str, Any], content: Content, names: _Names, model: Traits, counter: Counter) -> int:
    role = message.get("role")
    if not message:
        counter.unknown.add("unreadable input")
        return 0
    if role == "tool":
        call_id = text_of(message.get("tool_call_id"))
        name = names.of.get(call_id, "")
        if call_id in names.together:
            names.results.append(content.text)
            return content.images
        return names.close(counter) + result_tokens(content.tokens(counter), name, counter)
    return names.close(counter) + _other_message(message, content, names, model, counter)


def _other_message(message: Mapping[str, Any], content: Content, names: _Names, model: Traits, counter: Counter) -> int:
    role = message.get("role")
    if role == "function":
        return result_tokens(content.tokens(counter), text_of(message.get("name")), counter)
    if calls := _calls(message, names):
        text = content.tokens(counter)
        if len(calls) == 1:
            return text + call_tokens(*calls[0], model, counter)
        return text + 16 + (6 if model.heavy else 0) + calls_tokens(calls, counter)
    total = message_tokens(model, role) + content.tokens(counter)
    if not content.text:
        total += counter.tok(text_of(message.get("refusal")))
    if name := text_of(message.get("name")):
        total += 1 + counter.tok(name)
    if fields(message.get("audio")):
        counter.unknown.add("audio")
    return total


def _calls(message: Mapping[str, Any], names: _Names) -> list[tuple[str, object]]:
    tool_calls = listed(message.get("tool_calls"))
    calls = [called(call) for call in tool_calls]
    for call, (name, _) in zip(tool_calls, calls, strict=True):
        call_id = text_of(fields(call).get("id"))
        names.of[call_id] = name
        if len(calls) > 1:
            names.together.add(call_id)
    if fields(message.get("function_call")):
        calls.append(called(message["function_call"]))
    return calls


def _tools(body: Mapping[str, Any], system: Content | None, model: Traits, counter: Counter) -> int:
    functions, others, whole = functions_of(body.get("tools"), nested=True)
    functions += functions_of(body.get("functions"), nested=False)[0]
    if others or (is_iterator(body.get("tools")) and not listed(body.get("tools"))):
        counter.unknown.add("hosted tools")
    if not whole:
        counter.unknown.add("tools")
    form = read_format(body.get("response_format"), counter)
    total = 0
    if functions:
        text = tools_text(functions, model)
        if model.family == "O":
            total += counter.tok(text) + (4 if system is None else 7)
        elif system is None:
            total += counter.tok(text) + (85 if model.heavy else 3)
        else:
            alone = system.text
            total += counter.tok(f"{alone}\n\n{text}") - counter.tok(alone) + (84 if model.heavy else -1)
        if model.heavy and not functions[0].description:
            total -= 1
        choice = body.get("tool_choice", body.get("function_call"))
        total += choice_tokens(choice, model, counter, required=0)
    if form is not None:
        total += counter.tok(form.text)
        if functions:
            total += model.family == "L"
        else:
            # The name is shown a second time; without a system message, one is made for it.
            total += counter.tok(form.name) + (6 if model.family == "L" and system is None else 2)
    return total
