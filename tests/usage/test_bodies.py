"""Answers that pass as bytes: what they are is found by their first bytes, whatever their header says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openai_meter.core.usage import Usage
from openai_meter.usage.bodies import body_reader
from openai_meter.usage.endpoints import Endpoint, find
from openai_meter.usage.responses import ResponseState

ANSWER = {
    "id": "c1", "object": "chat.completion", "model": "m1", "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Oui."}, "finish_reason": "stop"}],
}  # fmt: skip
CHUNKS = [
    {"id": "c1", "model": "m1", "choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]},
    {"id": "c1", "model": "m1", "choices": [{"index": 0, "delta": {"content": "Oui"}, "finish_reason": None}]},
    {"id": "c1", "model": "m1", "choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": None}]},
    {"id": "c1", "model": "m1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
]
DOCUMENT = json.dumps(ANSWER).encode()
STREAM = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in CHUNKS) + b"data: [DONE]\n\n"


class Call:
    """As much of a call as a reader of bodies needs."""

    def __init__(self) -> None:
        row = find("POST", "/chat/completions")
        assert row is not None
        self.row: Endpoint = row
        self.response = ResponseState()
        self.token_arrived = False
        self.events = 0

    def read_response(self, answer: Any) -> None:
        self.row.read(self.response, answer)

    def read_event(self, item: Any) -> None:
        assert self.row.fold is not None
        self.events += 1
        self.row.fold(self.response, item)
        self.token_arrived = self.response.has_token


BODIES = {
    "a document": DOCUMENT,
    "a document and the end of a stream": DOCUMENT + b"data: [DONE]\n\n",
    "a document and the end of a stream, apart": DOCUMENT + b"\n\ndata: [DONE]\n\n",
    "a document after white space": b"\r\n  " + DOCUMENT,
    "a document after a byte order mark": b"\xef\xbb\xbf" + DOCUMENT,
    "a stream": STREAM,
    "a stream that begins with a comment": b": ready\n\n" + STREAM,
    "a stream that begins with a colon": b":\n\n" + STREAM,
    "a stream that begins with an id": b"id: 1\n" + STREAM,
    "a stream that begins with a retry": b"retry: 10\n" + STREAM,
    "a whole answer as an event": b"data: " + DOCUMENT + b"\n\ndata: [DONE]\n\n",
}


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain", "application/x-ndjson", ""])
@pytest.mark.parametrize("name", BODIES)
def test_usage_is_read_despite_a_wrong_content_type(name: str, kind: str, size: int) -> None:
    """A document with the type of a stream, and a stream with the type of a document, have their usage read."""
    call, body = Call(), BODIES[name]
    reader = body_reader(call, kind)
    assert reader is not None
    for at in range(0, len(body), size):
        reader.feed(body[at : at + size])
    reader.end()
    assert call.response.total() == Usage(9, 2, 11)


def test_events_are_parsed_up_to_the_first_token() -> None:
    """The moment of the first token is found; later text is kept as bytes and parsed only if it is needed."""
    call = Call()
    reader = body_reader(call, "text/event-stream")
    assert reader is not None
    reader.feed(STREAM)
    assert call.token_arrived
    assert call.events == 3  # the role, the first token, the usage
    assert len(list(call.response.transcript.events())) == 1


@pytest.mark.parametrize("kind", ["audio/mpeg", "video/mp4", "image/png"])
def test_media_are_not_kept(kind: str) -> None:
    """No byte of audio, video or pictures is kept."""
    assert body_reader(Call(), kind) is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1, 2]", b"{", b"data", b'{"a":', b"[" * 100_000, b'{"a":' * 100_000]
)
def test_bodies_without_an_answer_are_skipped(body: bytes) -> None:
    """A body that is neither a document nor a stream, or is broken, has no usage, and raises nothing."""
    call = Call()
    reader = body_reader(call, "application/json")
    assert reader is not None
    reader.feed(body)
    reader.end()
    assert call.response.total() is None


def test_large_document_without_usage_at_its_ends_is_unreadable() -> None:
    """Where the usage is not near an end of a large document, the call is marked, so that it is estimated."""
    call = Call()
    reader = body_reader(call, "application/json")
    assert reader is not None
    reader.feed(b'{"id": "c1", "data": "' + b"x" * 400_000 + b'"}')
    reader.end()
    assert call.response.unreadable
