"""The quick way through the stream of a chat finds what the long one finds."""

from __future__ import annotations

from typing import Any

import pytest
from openai._models import construct_type
from openai.types.chat import ChatCompletionChunk

from openai_meter.answers import Reading, fold_choices
from openai_meter.deltas import fold_deltas
from openai_meter.heard import Heard

HEAD = {"id": "chatcmpl-1", "created": 1, "model": "gpt-5.4-mini", "object": "chat.completion.chunk"}
FIRST = {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
CALL = {"index": 0, "id": "call_1", "function": {"name": "find", "arguments": '{"a": 1}'}}


def piece(delta: object, head: dict[str, Any] = HEAD, **choice: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **choice}]}


CHUNKS = {
    "text": piece({"content": "Bon"}),
    "no text": piece({"content": ""}),
    "text that is none": piece({"content": 5}),
    "another choice": piece({"content": "Bon"}, index=1),
    "an index that is none": piece({"content": "Bon"}, index="1"),
    "two choices": {**HEAD, "choices": [{"index": number, "delta": {"content": "x"}} for number in (0, 1)]},
    "the end": piece({}, finish_reason="length"),
    "text at the end": piece({"content": "."}, finish_reason="stop"),
    "a tool": piece({"content": "Bon", "tool_calls": [CALL]}),
    "a function": piece({"content": "Bon", "function_call": {"name": "f", "arguments": "{}"}}),
    "a refusal": piece({"content": "Bon", "refusal": "No."}),
    "reasoning": piece({"content": "Bon", "reasoning_content": "Hm."}),
    "audio": piece({"content": "Bon", "audio": {"transcript": "Bonjour"}}),
    "a tier": piece({"content": "Bon"}, {**HEAD, "service_tier": "priority"}),
    "usage": {**piece({"content": "Bon"}), "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}},
    "usage alone": {**HEAD, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}},
    "groq": {**piece({"content": "Bon"}), "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}},
    "obfuscation": {**piece({"content": "Bon"}), "obfuscation": "xyz"},
    "a text completion": {**HEAD, "choices": [{"index": 0, "text": "Bon", "finish_reason": None}]},
    "no delta": {**HEAD, "choices": [{"index": 0, "delta": None, "finish_reason": None}]},
    "no choices": {**HEAD, "choices": None},
    "an error": {"error": {"code": "server_error"}},
}


def seen(reading: Reading) -> dict[str, Any]:
    """All that a reading knows."""
    _ = reading.heard  # the last pieces are handed on to it
    inside = {"heard_or_none", "index", "left"}
    known = {name: getattr(reading, name) for name in Reading.__slots__ if name not in inside}
    heard = {name: getattr(reading.heard, name) for name in Heard.__slots__ if name not in {"_answered", "_pieces"}}
    heard["texts"] = {key: "".join(pieces) for key, pieces in reading.heard._pieces.items()}
    return {**known, **heard, "spoken": reading.heard.spoken(), "anything": reading.heard.anything}


@pytest.mark.parametrize("before", [[], [FIRST], [FIRST, CHUNKS["text"]]], ids=["first", "second", "later"])
@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("as_object", [True, False], ids=["object", "dict"])
def test_both_ways_find_the_same(name: str, before: list[Any], as_object: bool) -> None:
    """Whatever a chunk brings, and whatever came before it, the quick way reads it as the long one does."""
    quick, long = Reading(), Reading()
    for chunk in (*before, CHUNKS[name]):
        said: Any = construct_type(type_=ChatCompletionChunk, value=chunk) if as_object else chunk
        fold_deltas(quick, said)
        fold_choices(long, said)
    assert seen(quick) == seen(long)


@pytest.mark.parametrize("chunk", [None, 5, "text", object(), [], {}], ids=repr)
def test_what_is_no_chunk_is_passed_over(chunk: object) -> None:
    """Whatever a stream may bring, reading it raises nothing and says nothing."""
    reading = Reading()
    fold_deltas(reading, chunk)
    assert (reading.model, reading.usage, reading.heard.anything) == (None, None, False)
