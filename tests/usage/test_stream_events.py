"""Folders of stream events: usage in any order, the tier that served, the first token, and replayed bytes."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from openai._models import construct_type
from openai.types.chat import ChatCompletionChunk

from openai_meter.core.usage import Usage
from openai_meter.usage.endpoints import find
from openai_meter.usage.responses import ResponseState
from openai_meter.usage.stream_events import fold_choices, fold_response

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "kimi-k2"}
ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
FIGURES = {"prompt_tokens": 41, "completion_tokens": 7, "total_tokens": 48}


def chunk(delta: dict[str, Any], reason: str | None = None, usage: object = None, **choice: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    return {**HEAD, "usage": usage, "choices": [{"index": 0, "delta": delta, "finish_reason": reason, **choice}]}


@pytest.mark.parametrize("as_object", [True, False], ids=["object", "dict"])
@pytest.mark.parametrize(
    "last",
    [
        chunk({}, "stop", usage=None) | {"usage": FIGURES},
        {**chunk({}, "stop"), "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": FIGURES}]},
        {**chunk({}, "stop", ZEROS), "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": FIGURES}]},
        {**HEAD, "choices": [], "x_groq": {"usage": FIGURES}},
    ],
    ids=["on the chunk", "in the choice", "in the choice next to zeros", "under x_groq"],
)
def test_usage_of_a_chat_stream_is_found_at_each_place(last: dict[str, Any], as_object: bool) -> None:
    """The usage may be on the last chunk, in its last choice, or under a name of the host's."""
    response = ResponseState()
    for event in (chunk({"role": "assistant", "content": ""}), chunk({"content": "Oui."}), last):
        fold_choices(response, construct_type(type_=ChatCompletionChunk, value=event) if as_object else event)
    assert response.total() == Usage(41, 7, 48)


@pytest.mark.parametrize("order", list(permutations([FIGURES, ZEROS, {}, {"total_tokens": None}], 3)))
def test_usage_of_a_chat_stream_is_not_replaced_by_placeholders(order: tuple[dict[str, Any], ...]) -> None:
    """Zeros, nulls and empty objects do not change the figures, before and after them."""
    if FIGURES not in order:
        return
    response = ResponseState()
    for usage in order:
        fold_choices(response, chunk({"content": "x"}, None, usage))
    assert response.total() == Usage(41, 7, 48)


def whole(kind: str, tier: str, **more: Any) -> dict[str, Any]:
    """An event that contains a response."""
    answer = {"id": "resp_1", "model": "gpt-5.4", "service_tier": tier, "output": [], "status": "in_progress", **more}
    return {"type": f"response.{kind}", "response": answer}


@pytest.mark.parametrize(
    ("events", "tier"),
    [
        ([whole("created", "auto")], None),
        ([whole("created", "auto"), whole("in_progress", "auto")], None),
        ([whole("created", "flex")], "flex"),
        ([whole("created", "auto"), whole("completed", "default", status="completed")], "default"),
        ([whole("created", "priority"), whole("completed", "default", status="completed")], "default"),
        ([whole("completed", "default", status="completed"), whole("created", "auto")], "default"),
        ([whole("completed", "default", status="completed"), whole("created", "flex")], "default"),
    ],
)
def test_tier_of_a_response_is_the_one_that_served(events: list[dict[str, Any]], tier: str | None) -> None:
    """The first events repeat the requested tier, "auto" for none; the last one has the tier that served."""
    response = ResponseState()
    for event in events:
        fold_response(response, event)
    assert response.service_tier == tier


def test_replayed_events_do_not_change_known_values() -> None:
    """Events that were kept as bytes give their text, and do not change the usage, tier and state of later events."""
    response = ResponseState()
    response.transcript.add_event(b'{"type": "response.output_text.delta", "output_index": 0, "delta": "Bon"}')
    response.transcript.add_event(
        b'{"type": "response.in_progress", "response": {"id": "old", "service_tier": "flex"}}'
    )
    fold_response(response, whole("incomplete", "default", status="incomplete", usage=FIGURES))
    response.replay(fold_response)
    assert (response.service_tier, response.state, response.response_id) == ("default", "incomplete", "resp_1")
    assert response.total() == Usage(41, 7, 48)
    assert [output.text for output in response.transcript.outputs()] == ["Bon"]


CALL = {"index": 0, "id": "call_1", "function": {"name": "find", "arguments": ""}}
ITEM = {"type": "response.output_item.added", "output_index": 0}
TOKENS: list[tuple[str, dict[str, Any], bool]] = [
    ("POST /chat/completions", chunk({"role": "assistant", "content": ""}), False),
    ("POST /chat/completions", chunk({}, "stop", FIGURES), False),
    ("POST /chat/completions", {**HEAD, "choices": [], "usage": FIGURES}, False),
    ("POST /chat/completions", chunk({"content": "Oui."}), True),
    ("POST /chat/completions", chunk({"refusal": "Non."}), True),
    ("POST /chat/completions", chunk({"tool_calls": [CALL]}), True),
    ("POST /chat/completions", chunk({"reasoning_content": "Hm"}), True),
    ("POST /chat/completions", chunk({"audio": {"id": "audio_1"}}), False),
    ("POST /chat/completions", chunk({"audio": {"data": "AAAA"}}), True),
    ("POST /completions", {**HEAD, "choices": [{"index": 0, "text": "", "finish_reason": None}]}, False),
    ("POST /completions", {**HEAD, "choices": [{"index": 0, "text": "Oui", "finish_reason": None}]}, True),
    ("POST /responses", whole("created", "auto"), False),
    ("POST /responses", {**ITEM, "item": {"type": "message", "content": []}}, False),
    ("POST /responses", {**ITEM, "item": {"type": "reasoning", "summary": []}}, False),
    ("POST /responses", {**ITEM, "item": {"type": "function_call", "name": "find", "arguments": ""}}, False),
    ("POST /responses", {"type": "response.output_text.delta", "output_index": 0, "delta": ""}, False),
    *(
        ("POST /responses", {"type": f"response.{kind}.delta", "output_index": 0, "delta": "Oui"}, True)
        for kind in ("output_text", "refusal", "function_call_arguments", "reasoning_text", "reasoning_summary_text")
    ),
    ("POST /responses", {"type": "response.output_audio.delta", "output_index": 0, "delta": "AAAA"}, True),
    ("POST /audio/transcriptions", {"type": "transcript.text.delta", "delta": "Oui"}, True),
    ("POST /audio/speech", {"type": "speech.audio.delta", "audio": "AAAA"}, True),
    ("POST /threads/runs", {"event": "thread.run.created", "data": {"id": "run_1", "status": "queued"}}, False),
    ("POST /threads/runs", {"event": "thread.message.delta", "data": {"delta": {}}}, True),
]


@pytest.mark.parametrize(("request_line", "event", "is_token"), TOKENS)
def test_first_token_is_recognised(request_line: str, event: dict[str, Any], is_token: bool) -> None:
    """A token is text, a refusal, a tool call, audio or shown reasoning; a role, a state or a usage is not."""
    row = find(*request_line.split())
    assert row is not None
    assert row.fold is not None
    response = ResponseState()
    row.fold(response, event)
    assert response.has_token is is_token
