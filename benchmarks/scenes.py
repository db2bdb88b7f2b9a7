"""What the benchmarks ask of the SDK, and an API inside the process that answers at once, in bodies of the real shape.

Needs nothing but openai: it also runs in the environments of other packages. To add a scene, add a row to `SCENES`.
"""

from __future__ import annotations

import array
import asyncio
import base64
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from time import perf_counter as clock
from typing import Any, NamedTuple

import openai
from pydantic import BaseModel

MODEL = "gpt-5.4-mini"
SERVED = "gpt-5.4-mini-2026-03-17"
EVENTS = 200
"""The events of a stream, the one with the usage included."""
IDENTITY = b"@identity@"
"""Stands in a body where each answer has an id of its own, as answers have: nobody gets by with one."""

SYSTEM = "You are the concierge of a small hotel. Answer in one word, in the guest's own language."
USER = "How does one greet in French, in the morning, somebody whom one does not know?"
CHAT = {
    "model": MODEL,
    "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}],
}
CHAT_STREAM = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
RESPONSE = {"model": MODEL, "instructions": SYSTEM, "input": USER}
EMBEDDING = {"model": "text-embedding-3-small", "input": [SYSTEM, USER]}


class Greeting(BaseModel):
    """What parsed answers are parsed into."""

    word: str
    language: str


# --- what is answered -------------------------------------------------------------------------------------------------

CHAT_USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 340,
    "total_tokens": 1540,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 256, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
    },
}  # fmt: skip
CHAT_HEAD = {
    "id": f"chatcmpl-{IDENTITY.decode()}", "created": 1_790_000_000, "model": SERVED, "service_tier": "default",
    "system_fingerprint": None,
}  # fmt: skip


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chat(content: str) -> bytes:
    message = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _json({**CHAT_HEAD, "object": "chat.completion", "choices": [choice], "usage": CHAT_USAGE})


def _chat_events() -> Iterator[bytes]:
    head = {**CHAT_HEAD, "object": "chat.completion.chunk"}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return b"data: %b\n\n" % _json({**head, "choices": [choice], "usage": None, "obfuscation": "h4yW2"})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    yield from [chunk({"content": " bonjour"})] * (EVENTS - 3)
    yield chunk({}, "stop")
    yield b"data: %b\n\n" % _json({**head, "choices": [], "usage": CHAT_USAGE})
    yield b"data: [DONE]\n\n"


def _response(status: str = "completed") -> dict[str, Any]:
    done = status == "completed"
    part = {"type": "output_text", "text": "Bonjour", "annotations": [], "logprobs": []}
    message = {
        "id": f"msg_{IDENTITY.decode()}", "type": "message", "status": "completed", "role": "assistant",
        "content": [part],
    }  # fmt: skip
    usage = {
        "input_tokens": 1200, "input_tokens_details": {"cached_tokens": 1024}, "output_tokens": 340,
        "output_tokens_details": {"reasoning_tokens": 256}, "total_tokens": 1540,
    }  # fmt: skip
    return {
        "id": f"resp_{IDENTITY.decode()}", "object": "response", "created_at": 1_790_000_000, "status": status,
        "background": False, "error": None, "incomplete_details": None, "instructions": SYSTEM,
        "max_output_tokens": None, "model": SERVED, "output": [message] if done else [], "parallel_tool_calls": True,
        "previous_response_id": None, "reasoning": {"effort": "low", "summary": None}, "service_tier": "default",
        "store": True, "temperature": 1.0, "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled", "usage": usage if done else None,
        "user": None, "metadata": {},
    }  # fmt: skip


def _response_events() -> Iterator[bytes]:
    numbers = itertools.count()
    done = _response()
    (item,) = done["output"]
    (part,) = item["content"]
    where = {"item_id": item["id"], "output_index": 0, "content_index": 0}

    def event(kind: str, **said: Any) -> bytes:
        data = _json({"type": f"response.{kind}", "sequence_number": next(numbers), **said})
        return b"event: response.%b\ndata: %b\n\n" % (kind.encode(), data)

    yield event("created", response=_response("in_progress"))
    yield event("in_progress", response=_response("in_progress"))
    yield event("output_item.added", output_index=0, item={**item, "status": "in_progress", "content": []})
    yield event("content_part.added", **where, part={**part, "text": ""})
    for _ in range(EVENTS - 8):
        yield event("output_text.delta", **where, delta=" bonjour", logprobs=[], obfuscation="h4yW2")
    yield event("output_text.done", **where, text=part["text"], logprobs=[])
    yield event("content_part.done", **where, part=part)
    yield event("output_item.done", output_index=0, item=item)
    yield event("completed", response=done)


def _embeddings() -> bytes:
    vector = base64.b64encode(array.array("f", [0.01] * 1536).tobytes()).decode()
    data = [{"object": "embedding", "index": place, "embedding": vector} for place in range(len(EMBEDDING["input"]))]
    usage = {"prompt_tokens": 38, "total_tokens": 38}
    return _json({"object": "list", "data": data, "model": EMBEDDING["model"], "usage": usage})


# --- the API in the process -------------------------------------------------------------------------------------------

HEADERS = {"openai-processing-ms": "5", "openai-version": "2020-10-01", "x-ratelimit-remaining-requests": "9999"}


def http_library() -> Any:
    """The HTTP library that this version of openai is built upon: httpx, or httpx2 from openai 3 on."""
    roots = {ancestor.__module__.partition(".")[0] for ancestor in openai.DefaultHttpxClient.__mro__}
    return sys.modules[next(name for name in ("httpx", "httpx2") if name in roots)]


async def _asynchronously(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def client_of(body: bytes | list[bytes], *, is_async: bool) -> Any:
    """A client of openai's whose every request gets this answer, with another id each time; a list is streamed."""
    library = http_library()
    numbers = itertools.count(1)
    kind = "application/json" if isinstance(body, bytes) else "text/event-stream"

    def answer(_: Any) -> Any:
        identity = b"%032x" % next(numbers)
        headers = {**HEADERS, "content-type": kind, "x-request-id": f"req_{identity.decode()}"}
        if isinstance(body, bytes):
            return library.Response(200, headers=headers, content=body.replace(IDENTITY, identity))
        pieces = (piece.replace(IDENTITY, identity) for piece in body)
        return library.Response(200, headers=headers, content=_asynchronously(pieces) if is_async else pieces)

    settings = {"api_key": "none", "base_url": "https://api.openai.com/v1", "max_retries": 0}
    if not is_async:
        transport = library.MockTransport(answer)
        return openai.OpenAI(**settings, http_client=library.Client(transport=transport))

    async def answer_async(request: Any) -> Any:
        return answer(request)

    transport = library.MockTransport(answer_async)
    return openai.AsyncOpenAI(**settings, http_client=library.AsyncClient(transport=transport))


# --- what is asked ----------------------------------------------------------------------------------------------------


class Scene(NamedTuple):
    """One thing that programs do with the SDK, as a program writes it."""

    ask: Callable[[Any], Any]
    """Calls a client; what it returns is awaited or read as the other fields say."""
    body: bytes | list[bytes]
    is_async: bool = False

    @property
    def per(self) -> int:
        """What is counted of a turn: its events, or itself."""
        return 1 if isinstance(self.body, bytes) else EVENTS

    @property
    def times(self) -> int:
        """The turns of one side in a round: less than a tenth of a second."""
        return 100 if self.per == 1 else 5

    def client(self) -> Any:
        """A client that is answered in this process."""
        return client_of(self.body, is_async=self.is_async)

    def turns(self, client: Any, loop: asyncio.AbstractEventLoop) -> Callable[[int], list[list[float]]]:
        """What does this a number of times: of each time the moments, in seconds, at which each of its steps ended.

        The first moment is the beginning, the second the answer; each event of a stream has one, and its end.
        """
        if not self.is_async:
            return partial(self._turns, client)
        return lambda times: loop.run_until_complete(self._turns_async(client, times))

    def _turns(self, client: Any, times: int) -> list[list[float]]:
        turns = []
        for _ in range(times):
            moments = [clock()]
            turns.append(moments)
            answer = self.ask(client)
            moments.append(clock())
            if self.per > 1:
                for _ in answer:
                    moments.append(clock())  # noqa: PERF401 - as a program reads it
                moments.append(clock())
        return turns

    async def _turns_async(self, client: Any, times: int) -> list[list[float]]:
        turns = []
        for _ in range(times):
            moments = [clock()]
            turns.append(moments)
            answer = await self.ask(client)
            moments.append(clock())
            if self.per > 1:
                async for _ in answer:
                    moments.append(clock())  # noqa: PERF401
                moments.append(clock())
        return turns


def ask_chat(client: Any) -> Any:
    return client.chat.completions.create(**CHAT)


def ask_chat_stream(client: Any) -> Any:
    return client.chat.completions.create(**CHAT_STREAM)


SCENES = {
    "chat": Scene(ask_chat, _chat("Bonjour")),
    "chat-async": Scene(ask_chat, _chat("Bonjour"), is_async=True),
    "responses": Scene(lambda client: client.responses.create(**RESPONSE), _json(_response())),
    "embeddings": Scene(lambda client: client.embeddings.create(**EMBEDDING), _embeddings()),
    "parse": Scene(
        lambda client: client.chat.completions.parse(**CHAT, response_format=Greeting),
        _chat('{"word": "Bonjour", "language": "French"}'),
    ),
    "raw": Scene(
        lambda client: client.chat.completions.with_raw_response.create(**CHAT).parse(),
        _chat("Bonjour"),
    ),
    "chat-stream": Scene(ask_chat_stream, list(_chat_events())),
    "chat-stream-async": Scene(ask_chat_stream, list(_chat_events()), is_async=True),
    "responses-stream": Scene(
        lambda client: client.responses.create(**RESPONSE, stream=True), list(_response_events())
    ),
}
"""By the name that `--scenario` takes."""
