"""The quick ways through the streams of chats and responses find what the long ones find."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from replay import load

from openai_meter.usage.responses import ResponseState
from openai_meter.usage.stream_events import fold_choices, fold_response
from openai_meter.usage.text_deltas import add_chat_text, add_response_text
from openai_meter.usage.transcript import Transcript

RECORDINGS = os.environ.get("OPENAI_METER_RECORDINGS", "")
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


def read_chunk(response: ResponseState, chunk: Any) -> bool:
    """Reads a chunk as a stream does; whether it was read the quick way."""
    if add_chat_text(response, chunk):
        return True
    fold_choices(response, chunk)
    return False


def read_event(response: ResponseState, event: Any) -> bool:
    """The same for an event of a response."""
    if add_response_text(response, event):
        return True
    fold_response(response, event)
    return False


def seen(response: ResponseState) -> dict[str, Any]:
    """All that a state holds."""
    _ = response.transcript  # the last pieces are added to it
    inside = {"_transcript", "text_index", "text_room"}
    known = {name: getattr(response, name) for name in ResponseState.__slots__ if name not in inside}
    transcript = {
        name: getattr(response.transcript, name) for name in Transcript.__slots__ if name not in {"_started", "_pieces"}
    }
    transcript["texts"] = {key: "".join(pieces) for key, pieces in response.transcript._pieces.items()}
    return {**known, **transcript, "outputs": response.transcript.outputs(), "started": response.transcript.started}


@pytest.mark.parametrize("before", [[], [FIRST], [FIRST, CHUNKS["text"]]], ids=["first", "second", "later"])
@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("as_object", [True, False], ids=["object", "dict"])
def test_fast_reading_of_a_chunk_equals_the_full_one(name: str, before: list[Any], as_object: bool) -> None:
    """Whatever a chunk contains, and whatever came before it."""
    quick, long = ResponseState(), ResponseState()
    for chunk in (*before, CHUNKS[name]):
        said: Any = construct_type(type_=ChatCompletionChunk, value=chunk) if as_object else chunk
        read_chunk(quick, said)
        fold_choices(long, said)
    assert seen(quick) == seen(long)


@pytest.mark.parametrize("chunk", [None, 5, "text", object(), [], {}], ids=lambda value: type(value).__name__)
def test_values_that_are_not_chunks_are_ignored(chunk: object) -> None:
    """Whatever a stream contains, reading it raises nothing and records nothing."""
    response = ResponseState()
    read_chunk(response, chunk)
    assert (response.model, response.usage, response.transcript.started) == (None, None, False)


SPEAKS = {"type": "response.output_text.delta", "item_id": "msg_1", "content_index": 0, "sequence_number": 4}
DONE = {"id": "resp_1", "model": "gpt-5.4-mini", "status": "completed", "output": [], "usage": {"total_tokens": 4}}
EVENTS = {
    "text": {**SPEAKS, "output_index": 0, "delta": "Bon"},
    "no text": {**SPEAKS, "output_index": 0, "delta": ""},
    "text that is none": {**SPEAKS, "output_index": 0, "delta": 5},
    "another item": {**SPEAKS, "output_index": 1, "delta": "Bon"},
    "an index that is none": {**SPEAKS, "output_index": "1", "delta": "Bon"},
    "no index": {**SPEAKS, "delta": "Bon"},
    "a refusal": {**SPEAKS, "type": "response.refusal.delta", "output_index": 0, "delta": "No."},
    "arguments": {**SPEAKS, "type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"},
    "the end": {"type": "response.completed", "sequence_number": 5, "response": DONE},
    "an error": {"type": "error", "code": "server_error", "message": "no", "param": None, "sequence_number": 5},
}


@pytest.mark.parametrize("before", [[], ["text"], ["another item", "text"]], ids=["first", "second", "later"])
@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("as_object", [True, False], ids=["object", "dict"])
def test_fast_reading_of_an_event_equals_the_full_one(name: str, before: list[str], as_object: bool) -> None:
    """Whatever an event contains, and whatever came before it."""
    quick, long = ResponseState(), ResponseState()
    for event in (*before, name, "text"):
        said: Any = construct_type(type_=ResponseStreamEvent, value=EVENTS[event]) if as_object else EVENTS[event]
        read_event(quick, said)
        fold_response(long, said)
    assert seen(quick) == seen(long)


LENGTHS = {
    "short pieces": [3] * 3_000,
    "a batch to the letter": [4_095, 1, 1],
    "more than a batch at once": [3, 10_000, 3],
    "more than is kept": [4_000] * 70,
    "more than is kept, in one": [5, 300_000, 5],
}


@pytest.mark.parametrize("name", LENGTHS)
def test_gathered_text_is_complete_up_to_its_limit(name: str) -> None:
    """However long the pieces of a text are, and however they are interleaved, as much of it is kept and counted."""
    quick, long = ResponseState(), ResponseState()
    for place, length in enumerate(LENGTHS[name]):
        chunk = piece({"content": chr(97 + place % 26) * length}, index=int(place % 7 == 0))
        said: Any = construct_type(type_=ChatCompletionChunk, value=chunk)
        read_chunk(quick, said)
        fold_choices(long, said)
        assert sum(map(len, quick.text_pieces)) <= 4_096
    assert seen(quick) == seen(long)


# --- generated and recorded streams -----------------------------------------------------------------------------------

usage = st.sampled_from([None, None, None, {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}])
calls = st.sampled_from([None, [], [CALL]])
delta = st.fixed_dictionaries(
    {"content": st.sampled_from(["Bon", "jour", " ", "\n\n", "x" * 3_000]) | st.sampled_from(["", None, 5, ["a"]])},
    optional={
        "role": st.just("assistant"),
        "tool_calls": calls,
        "refusal": st.sampled_from([None, "", "No."]),
        "function_call": st.sampled_from([None, {"name": "f", "arguments": "{}"}]),
        "reasoning_content": st.sampled_from([None, "", "Hm."]),
        "audio": st.sampled_from([None, {"transcript": "Bonjour", "data": "AA=="}]),
    },
) | st.builds(lambda text: {"content": text}, st.text(max_size=8))
choice = st.fixed_dictionaries(
    {"delta": delta | delta | st.none(), "index": st.sampled_from([0, 0, 0, 1, 300, "0", None])},
    optional={"finish_reason": st.sampled_from([None, None, None, "stop", "length", 5]), "usage": usage},
)
chunks = st.fixed_dictionaries(
    {"choices": st.lists(choice, min_size=1, max_size=1) | st.lists(choice, max_size=2) | st.none()},
    optional={
        "id": st.sampled_from(["chatcmpl-1", "chatcmpl-1", "", None]),
        "model": st.sampled_from(["gpt-5.4-mini", "gpt-5.4-mini", "", None]),
        "service_tier": st.sampled_from([None, None, "default"]),
        "usage": usage,
        "x_groq": st.just({"usage": {"prompt_tokens": 4, "completion_tokens": 2}}),
        "obfuscation": st.just("abc"),
    },
)
plain = st.builds(lambda text: {**piece({"content": text}), "service_tier": "default"}, st.text(min_size=1, max_size=9))
texts = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["response.output_text.delta"] * 4 + [
            "response.refusal.delta", "response.function_call_arguments.delta", "response.reasoning_text.delta",
            "response.reasoning_summary_text.delta", "response.audio.delta",
        ]),
        "output_index": st.sampled_from([0, 0, 0, 1, 300, "0", None]),
        "delta": st.sampled_from(["Bon", "jour", "", None, 5, ["a"], "x" * 3_000]),
    }
)  # fmt: skip
items = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["response.output_item.added", "response.output_item.done"]),
        "output_index": st.sampled_from([0, 1]),
        "item": st.sampled_from([
            {"type": "message", "content": [{"type": "output_text", "text": "Bonjour"}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "name": "find", "arguments": "{}"},
        ]),
    }
)  # fmt: skip


@given(st.lists(st.one_of(plain, plain, chunks), max_size=25))
def test_fast_reading_of_generated_chunks_equals_the_full_one(stream: list[dict[str, Any]]) -> None:
    """Chunks of any kind in any order, between chunks with text."""
    quick, long = ResponseState(), ResponseState()
    for chunk in stream:
        said: Any = construct_type(type_=ChatCompletionChunk, value=chunk)
        read_chunk(quick, said)
        fold_choices(long, said)
        assert quick.has_token == long.has_token
    assert seen(quick) == seen(long)


@given(st.lists(st.one_of(texts, texts, items, st.sampled_from(list(EVENTS.values()))), max_size=25))
def test_fast_reading_of_generated_events_equals_the_full_one(stream: list[dict[str, Any]]) -> None:
    """Events of any kind in any order, between events with text."""
    quick, long = ResponseState(), ResponseState()
    for event in stream:
        said: Any = construct_type(type_=ResponseStreamEvent, value=event)
        read_event(quick, said)
        fold_response(long, said)
        assert quick.has_token == long.has_token
    assert seen(quick) == seen(long)


@pytest.mark.skipif(not RECORDINGS, reason="OPENAI_METER_RECORDINGS names no directory with recordings.jsonl")
@pytest.mark.parametrize("endpoint", ["/chat/completions", "/responses"])
def test_fast_reading_of_recorded_streams_equals_the_full_one(endpoint: str) -> None:
    """Every recorded stream leaves the same state both ways, and most events with text are read the quick way."""
    kind, read, fold = {
        "/chat/completions": (ChatCompletionChunk, read_chunk, fold_choices),
        "/responses": (ResponseStreamEvent, read_event, fold_response),
    }[endpoint]
    events = pieces = taken = 0
    for line in load(RECORDINGS):
        if line.endpoint != endpoint or not line.stream or line.response_sse is None:
            continue
        quick, long = ResponseState(), ResponseState()
        for event in line.said():
            said: Any = construct_type(type_=kind, value=event)
            taken += read(quick, said)
            fold(long, said)
            events += 1
            choices = event.get("choices") or [{}]
            pieces += event.get("type") == "response.output_text.delta" or bool(
                (choices[0].get("delta") or {}).get("content")
            )
        assert seen(quick) == seen(long), line.id
    assert events
    assert taken > 0.8 * pieces, (events, pieces, taken)
