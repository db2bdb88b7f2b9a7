"""What a model has said: text, refusals, visible reasoning and tool calls of an answer, from which tokens are counted.

It is made only where the API has told no usage, handed to the estimator, and forgotten: no text of an answer is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from openai_meter.core.usage import fields_of

__all__ = ["Output", "output_of_answer"]


class Output(NamedTuple):
    """One choice of a chat completion or completion, or one item of a response's output."""

    text: str = ""
    """The visible text, joined."""
    refusal: str = ""
    reasoning: str = ""
    """Reasoning that the answer shows (compatible hosts, open models): it is output, and reasoning."""
    calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments of each tool call, as they came."""
    done: bool = True
    """Whether the choice or item came to its end."""
    stopped: str | None = None
    """Why it ended, if that is known: ``stop``, ``length``, ``tool_calls``, ..."""
    reasoned: bool | None = None
    """Whether it is the model's reasoning, seen or not; ``None`` where the answer does not tell (chat completions)."""


def output_of_answer(endpoint: str, answer: Mapping[str, Any]) -> tuple[Output, ...]:
    """What a whole answer says; empty where the endpoint's answers have no text.

    ``answer`` are the fields of an SDK object or of a dict (:func:`openai_meter.core.usage.fields_of`). Never raises;
    what has an unexpected shape is passed over.
    """
    if endpoint in {"chat.completions", "completions"}:
        choices = answer.get("choices")
        return tuple(map(_spoken_choice, choices)) if isinstance(choices, list | tuple) else ()
    output = answer.get("output")
    if endpoint not in {"responses", "responses.compact"} or not isinstance(output, list | tuple):
        return ()
    reason = fields_of(answer.get("incomplete_details")).get("reason")
    cut = "length" if reason == "max_output_tokens" else _text(reason) or None
    return tuple(output_item(item, cut) for item in output)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _spoken_choice(choice: object) -> Output:
    said = fields_of(choice)
    stopped = _text(said.get("finish_reason")) or None
    if "message" not in said:
        return Output(_text(said.get("text")), stopped=stopped)
    message = fields_of(said["message"])
    text = _text(message.get("content")) or _text(fields_of(message.get("audio")).get("transcript"))
    reasoning = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
    return Output(text, _text(message.get("refusal")), reasoning, tuple(_calls(message)), stopped=stopped)


def _calls(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list | tuple) else ():
        said = fields_of(call)
        yield _call(said.get("function") or said.get("custom"))
    if message.get("function_call") is not None:
        yield _call(message["function_call"])


def _call(function: object) -> tuple[str, str]:
    said = fields_of(function)
    return _text(said.get("name")), _text(said.get("arguments")) or _text(said.get("input"))


# What the model writes to use a tool, by the type of the item: the field with its words. The results that such items
# also carry were not written by the model; searches are not billed as output at all.
_WRITTEN = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "code_interpreter_call": "code",
    "computer_call": "action",
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
    "tool_search_call": "arguments",
}


def output_item(item: object, cut: str | None = None) -> Output:
    """What one item of a response's output says; ``cut`` is why the response ended early, if it did."""
    said = fields_of(item)
    # A tuple, not a set: the status may be anything, also what has no hash.
    done = said.get("status") not in ("incomplete", "in_progress")
    stopped = None if done else cut
    kind = _text(said.get("type"))
    if kind == "message":
        parts = [fields_of(part) for part in _list(said.get("content"))]
        texts = "".join(_text(part.get("text")) for part in parts)
        refusal = "".join(_text(part.get("refusal")) for part in parts)
        return Output(texts, refusal, done=done, stopped=stopped, reasoned=False)
    if kind == "reasoning":
        # A summary is not what was billed; the words themselves come only from open models.
        texts = "".join(_text(fields_of(part).get("text")) for part in _list(said.get("content")))
        return Output(reasoning=texts, done=done, stopped=stopped, reasoned=True)
    if (field := _WRITTEN.get(kind)) is None:
        return Output(done=done, stopped=stopped, reasoned=False)
    call = _text(said.get("name")) or kind.removesuffix("_call"), _words(said.get(field))
    return Output(calls=(call,), done=done, stopped=stopped, reasoned=False)


def _list(value: object) -> list[Any] | tuple[Any, ...]:
    return value if isinstance(value, list | tuple) else ()


def _words(value: object) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=fields_of)
    except (TypeError, ValueError, RecursionError):
        return ""
