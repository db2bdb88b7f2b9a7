"""What the tests of the rules share: a server whose answers never vary, a table of ways to call, ways to compare."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel
from warm import AVAILABLE, WARM

import openai_meter
from openai_meter.testing.fake_api.loopback import Answer, Hangup, LoopbackServer, Request

MODEL = "gpt-4o-mini"
WORDS = ("Paper", " forms", " are", " gone", ".")
TEXT = "".join(WORDS)
HELLO = [{"role": "user", "content": "How do we get rid of the paper forms?"}]
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}


class Billed(NamedTuple):
    """What the server said that one call used; ``None`` where it said nothing."""

    endpoint: str
    model: str
    input_tokens: int | None
    output_tokens: int | None


class Api(LoopbackServer):
    """Answers a request always in the same way: equal requests after ``restart()`` have equal answers, ids included.

    The model that is asked for says what goes wrong: ``MODEL+400`` and the like is answered with that status,
    ``+hangup`` is cut before the answer, ``+cut`` in the middle, ``+silent`` has no usage, ``+length`` stops early.
    """

    def __init__(self) -> None:
        super().__init__(self._answer_to)
        self.said: list[Billed] = []
        self.restart()

    def restart(self) -> None:
        """Begins again with the first id."""
        self._ids = itertools.count(1)
        self.said.clear()
        self._requests.clear()

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def _answer_to(self, request: Request) -> Answer:
        path = re.sub(r"^/(v1|openai(/deployments/[^/]+)?)", "", request.path)
        if not request.body:
            return self._free(path)
        if "multipart" in request.headers.get("content-type", ""):
            found = re.findall(rb'name="(\w+)"\r\n\r\n([^\r]*)\r\n', request.body)
            body: dict[str, Any] = {name.decode(): value.decode() for name, value in found}
        else:
            body = request.json()
        model, _, fault = (body.get("model") or MODEL).partition("+")
        if fault == "html":
            return Answer(500, {"content-type": "text/html"}, b"<html>no</html>")
        if fault.isdigit():
            error = {"error": {"message": "refused", "type": "invalid_request_error", "param": None, "code": "no"}}
            return Answer(int(fault), JSON, json.dumps(error).encode())
        if fault == "hangup":
            raise Hangup
        answer = getattr(self, "_" + path.strip("/").replace("/", "_"), None)
        if answer is None:
            return self._free(path)
        size = 10 + zlib.crc32(model.encode() + str(len(str(body))).encode()) % 90
        return answer(body, model, fault, size)

    def _free(self, path: str) -> Answer:
        return Answer(200, JSON, json.dumps({"object": "list", "data": [], "path": path, "id": "x"}).encode())

    def _bill(self, endpoint: str, model: str, fault: str, size: int, output: int) -> bool:
        known = fault != "silent"
        self.said.append(Billed(endpoint, model, size if known else None, output if known else None))
        return known

    def _json(self, body: dict[str, Any]) -> Answer:
        return Answer(200, JSON, json.dumps(body).encode())

    def _events(self, events: list[Any], fault: str = "", *, named: bool = False) -> Answer:
        def frames() -> Iterator[bytes]:
            for place, event in enumerate(events):
                if fault == "cut" and place == 3:
                    raise Hangup
                if fault == "trouble" and place == 3:
                    yield b'data: {"error": {"message": "trouble", "code": "server_error"}}\n\n'
                head = f"event: {event['type']}\n" if named else ""
                yield f"{head}data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()

        return Answer(200, EVENTS, frames())

    def _chat_completions(self, body: dict[str, Any], model: str, fault: str, size: int) -> Answer:
        known = self._bill("chat.completions", model, fault, size, 20)
        usage = {
            "prompt_tokens": size,
            "completion_tokens": 20,
            "total_tokens": size + 20,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 8},
        }
        identity = f"chatcmpl-{next(self._ids)}"
        finish = "length" if fault == "length" else "stop"
        text = '{"answer": "yes"}' if "response_format" in body else TEXT
        head = {"id": identity, "created": 1, "model": model, "service_tier": "default"}
        if not body.get("stream"):
            message = {"role": "assistant", "content": text, "refusal": None}
            if body.get("tools"):
                call = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}
                message = {"role": "assistant", "content": None, "tool_calls": [call]}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            return self._json(
                {**head, "object": "chat.completion", "choices": [choice], "usage": usage if known else None}
            )
        asked = (body.get("stream_options") or {}).get("include_usage")
        parts = [{"role": "assistant", "content": ""}, *({"content": word} for word in WORDS), {}]
        chunks: list[Any] = []
        for delta in parts:
            choice = {"index": 0, "delta": delta, "finish_reason": None if delta else finish}
            chunk = {**head, "object": "chat.completion.chunk", "choices": [choice]}
            chunks.append({**chunk, "usage": None} if asked else chunk)
        if asked:
            chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage if known else None})
        return self._events([*chunks, "[DONE]"], fault)

    def _completions(self, body: dict[str, Any], model: str, fault: str, size: int) -> Answer:
        self._bill("completions", model, fault, size, 5)
        usage = {"prompt_tokens": size, "completion_tokens": 5, "total_tokens": size + 5}
        choice = {"text": TEXT, "index": 0, "logprobs": None, "finish_reason": "stop"}
        identity = f"cmpl-{next(self._ids)}"
        return self._json({
            "id": identity, "object": "text_completion", "created": 1, "model": model, "choices": [choice],
            "usage": usage,
        })  # fmt: skip

    def _responses(self, body: dict[str, Any], model: str, fault: str, size: int) -> Answer:
        known = self._bill("responses", model, fault, size, 30)
        part = {"type": "output_text", "text": '{"answer": "yes"}' if "text" in body else TEXT, "annotations": []}
        item = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}
        usage = {
            "input_tokens": size,
            "input_tokens_details": {"cached_tokens": 2},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 10},
            "total_tokens": size + 30,
        }
        whole = {
            "id": f"resp_{next(self._ids)}", "object": "response", "created_at": 1, "status": "completed",
            "model": model, "output": [item], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
            "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "temperature": 1,
            "top_p": 1, "usage": usage if known else None,
        }  # fmt: skip
        if body.get("background"):
            return self._json({**whole, "status": "queued", "output": [], "usage": None, "background": True})
        if not body.get("stream"):
            return self._json(whole)
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        events = [
            {"type": "response.created", "response": begun},
            {"type": "response.in_progress", "response": begun},
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
            {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
            *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in WORDS),
            {"type": "response.output_text.done", **place, "text": TEXT, "logprobs": []},
            {"type": "response.content_part.done", **place, "part": part},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": whole},
        ]
        return self._events([{**event, "sequence_number": n} for n, event in enumerate(events)], fault, named=True)

    def _embeddings(self, body: dict[str, Any], model: str, fault: str, size: int) -> Answer:
        self._bill("embeddings", model, fault, size, 0)
        vector = "AACAPwAAAEA=" if body.get("encoding_format") == "base64" else [1.0, 2.0]
        data = [{"object": "embedding", "index": 0, "embedding": vector}]
        usage = {"prompt_tokens": size, "total_tokens": size}
        return self._json({"object": "list", "model": model, "data": data, "usage": usage})

    def _moderations(self, body: dict[str, Any], model: str, fault: str, size: int) -> Answer:
        self._bill("moderations", model, "silent", 0, 0)
        return self._json({"id": f"modr-{next(self._ids)}", "model": model, "results": []})

    def _images_generations(self, body: dict[str, Any], model: str, fault: str, size: int) -> Answer:
        self._bill("images.generate", model, fault, size, 50)
        usage = {"input_tokens": size, "output_tokens": 50, "total_tokens": size + 50}
        return self._json({"created": 1, "data": [{"b64_json": "AAAA"}], "usage": usage})

    def _images_edits(self, body: dict[str, Any], model: str, fault: str, size: int) -> Answer:
        self._bill("images.edit", model, fault, size, 50)
        usage = {"input_tokens": size, "output_tokens": 50, "total_tokens": size + 50}
        return self._json({"created": 1, "data": [{"b64_json": "AAAA"}], "usage": usage})

    def _audio_transcriptions(self, body: dict[str, Any], model: str, fault: str, size: int) -> Answer:
        if body.get("response_format") in ("text", "srt"):
            self._bill("audio.transcriptions", model, "silent", 0, 0)
            return Answer(200, {"content-type": "text/plain"}, TEXT.encode())
        self._bill("audio.transcriptions", model, fault, size, 6)
        usage = {"type": "tokens", "input_tokens": size, "output_tokens": 6, "total_tokens": size + 6}
        return self._json({"text": TEXT, "usage": usage})

    def _audio_speech(self, body: dict[str, Any], model: str, fault: str, size: int) -> Answer:
        self._bill("audio.speech", model, "silent", 0, 0)
        return Answer(200, {"content-type": "audio/mpeg"}, (bytes([n]) * 1000 for n in range(5)))


# --- clients ----------------------------------------------------------------------------------------------------------


def sync_client(api: LoopbackServer, **settings: Any) -> OpenAI:
    return OpenAI(**{"base_url": f"{api.url}/v1", "api_key": "demo", "max_retries": 0, "timeout": 20.0, **settings})


def async_client(api: LoopbackServer, **settings: Any) -> AsyncOpenAI:
    return AsyncOpenAI(
        **{"base_url": f"{api.url}/v1", "api_key": "demo", "max_retries": 0, "timeout": 20.0, **settings}
    )


def azure_client(api: LoopbackServer) -> AzureOpenAI:
    return AzureOpenAI(azure_endpoint=api.url, api_key="demo", api_version="2025-01-01", max_retries=0)


def http_library() -> Any:
    """The HTTP library that this version of openai uses: httpx or httpx2."""
    for ancestor in openai.DefaultHttpxClient.__mro__:
        root = ancestor.__module__.partition(".")[0]
        if root in ("httpx", "httpx2"):
            return sys.modules[root]
    raise AssertionError("openai is built upon neither httpx nor httpx2")


def in_process(answer: Callable[[Any], Any]) -> OpenAI:
    """A client without a network: ``answer`` makes the HTTP library's response to each request."""
    http_client = http_library().Client(transport=http_library().MockTransport(answer))
    return OpenAI(api_key="demo", base_url="http://test/v1", max_retries=0, http_client=http_client)


def in_process_async(answer: Callable[[Any], Any]) -> AsyncOpenAI:
    """The same for an async client."""
    http_client = http_library().AsyncClient(transport=http_library().MockTransport(answer))
    return AsyncOpenAI(api_key="demo", base_url="http://test/v1", max_retries=0, http_client=http_client)


def usage_body(model: str = MODEL, tokens: int = 3, identity: str = "chatcmpl-1") -> dict[str, Any]:
    """A whole chat completion of the real shape, with ``tokens`` in and one out."""
    message = {"role": "assistant", "content": "ok"}
    return {
        "id": identity, "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1},
    }  # fmt: skip


def chunk_bodies(model: str = MODEL, tokens: int = 3) -> list[bytes]:
    """The events of a chat stream that carries its usage."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    delta = {"index": 0, "delta": {"content": "ok"}, "finish_reason": None}
    usage = {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}
    events = [{**head, "choices": [delta]}] * 3 + [{**head, "choices": [], "usage": usage}]
    return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]


# --- the table of shapes ----------------------------------------------------------------------------------------------
#
# One function serves both kinds of client: with a sync client none of these ever waits, so run() needs no event loop.


async def got(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) or hasattr(value, "__await__") else value


async def every(items: Any) -> list[Any]:
    return [item async for item in items] if hasattr(items, "__aiter__") else list(items)


async def one(items: Any) -> Any:
    return await anext(items) if hasattr(items, "__anext__") else next(items)


@contextlib.asynccontextmanager
async def inside(manager: Any) -> Any:
    if hasattr(manager, "__aenter__"):
        async with manager as entered:
            yield entered
    else:
        with manager as entered:
            yield entered


def shown(value: Any) -> Any:
    """A value with its type, in a form that can be compared."""
    kind = type(value).__module__ + "." + type(value).__qualname__
    if isinstance(value, BaseModel):
        return kind, value.model_dump_json(warnings=False), repr(sorted(value.model_fields_set))
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return kind, value if isinstance(value, str | bytes | int | float | None) else None


class Verdict(BaseModel):
    answer: str


class Strict(BaseModel):
    number: int


AUDIO = ("a.mp3", b"\x00\x01" * 500, "audio/mpeg")
PICTURE = ("a.png", b"\x89PNG" * 100, "image/png")
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}]


def chat(client: Any, **more: Any) -> Any:
    return client.chat.completions.create(**{"model": MODEL, "messages": HELLO, **more})


async def plain(client):
    answer = await got(chat(client))
    return answer, answer._request_id


async def with_tools(client):
    return await got(chat(client, tools=TOOLS, metadata={"a": "b"}, seed=3))


async def from_iterator(client):
    return await got(chat(client, messages=iter(HELLO)))


async def without_usage(client):
    return await got(chat(client, model=MODEL + "+silent"))


async def parsed(client):
    answer = await got(client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Verdict))
    return answer, answer.choices[0].message.parsed


async def parse_too_short(client):
    return await got(client.chat.completions.parse(model=MODEL + "+length", messages=HELLO, response_format=Verdict))


async def parse_not_fitting(client):
    return await got(client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Strict))


async def streamed(client):
    stream = await got(chat(client, stream=True))
    return stream, await every(stream)


async def streamed_with_usage(client):
    stream = await got(chat(client, stream=True, stream_options={"include_usage": True}))
    return stream, stream.response.is_closed, await every(stream), stream.response.is_closed


async def streamed_by_next(client):
    stream = await got(chat(client, stream=True))
    first, second = await one(stream), await one(stream)
    await got(stream.close())
    return first, second, stream.response.is_closed


async def streamed_in_with(client):
    stream = await got(chat(client, stream=True))
    async with inside(stream) as entered:
        return entered is stream, await one(entered)


async def streamed_to_the_end_twice(client):
    stream = await got(chat(client, stream=True))
    return await every(stream), await every(stream)


async def abandoned(client):
    stream = await got(chat(client, stream=True))
    first = await one(stream)
    await got(stream.response.aclose() if isinstance(client, AsyncOpenAI) else stream.response.close())
    return first


async def never_started(client):
    stream = await got(chat(client, stream=True))
    await got(stream.close())
    return stream


async def cut_stream(client):
    stream = await got(chat(client, model=MODEL + "+cut", stream=True))
    return [await one(stream), await one(stream), await one(stream), await one(stream), await one(stream)]


async def troubled_stream(client):
    return await every(await got(chat(client, model=MODEL + "+trouble", stream=True)))


async def raw(client):
    answer = await got(client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO))
    return answer, answer.status_code, answer.http_response.content, answer.parse(), answer.parse() is answer.parse()


async def raw_unparsed(client):
    answer = await got(client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO))
    return answer, answer.content


async def raw_stream(client):
    answer = await got(client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO, stream=True))
    closed = answer.http_response.is_closed
    return answer, closed, await every(answer.parse())


async def raw_stream_by_bytes(client):
    answer = await got(client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO, stream=True))
    response = answer.http_response
    found = await every(response.aiter_bytes() if isinstance(client, AsyncOpenAI) else response.iter_bytes())
    return answer, b"".join(found), response.num_bytes_downloaded


async def streaming_response(client):
    create = client.chat.completions.with_streaming_response.create
    async with inside(create(model=MODEL, messages=HELLO)) as answer:
        before = answer.http_response.num_bytes_downloaded, answer.is_closed
        return answer, before, await got(answer.parse()), answer.is_closed


async def streaming_response_by_lines(client):
    create = client.chat.completions.with_streaming_response.create
    async with inside(create(model=MODEL, messages=HELLO, stream=True)) as answer:
        return answer, await every(answer.iter_lines())


async def streaming_response_by_stream(client):
    create = client.chat.completions.with_streaming_response.create
    async with inside(create(model=MODEL, messages=HELLO, stream=True)) as answer:
        return await every(await got(answer.parse()))


async def streaming_response_by_text(client):
    create = client.chat.completions.with_streaming_response.create
    async with inside(create(model=MODEL, messages=HELLO)) as answer:
        return await got(answer.text()), await got(answer.json()), await got(answer.read())


async def streaming_response_unread(client):
    create = client.chat.completions.with_streaming_response.create
    async with inside(create(model=MODEL, messages=HELLO)) as answer:
        return answer.status_code


async def helper(client):
    async with inside(client.chat.completions.stream(model=MODEL, messages=HELLO)) as stream:
        events = await every(stream)
        return [event.type for event in events], await got(stream.get_final_completion())


async def helper_left_early(client):
    async with inside(client.chat.completions.stream(model=MODEL, messages=HELLO)) as stream:
        return stream, (await one(stream)).type


async def responses(client):
    return await got(client.responses.create(model=MODEL, input="hi"))


async def responses_parsed(client):
    answer = await got(client.responses.parse(model=MODEL, input="hi", text_format=Verdict))
    return answer, answer.output_parsed


async def responses_streamed(client):
    stream = await got(client.responses.create(model=MODEL, input="hi", stream=True))
    return stream, await every(stream)


async def responses_helper(client):
    async with inside(client.responses.stream(model=MODEL, input="hi")) as stream:
        events = await every(stream)
        return [event.type for event in events], await got(stream.get_final_response())


async def completions(client):
    return await got(client.completions.create(model=MODEL, prompt="hi"))


async def embeddings(client):
    return await got(client.embeddings.create(model="text-embedding-3-small", input="hi"))


async def moderations(client):
    return await got(client.moderations.create(model="omni", input="hi"))


async def images(client):
    return await got(client.images.generate(model="gpt-image-1", prompt="a form"))


async def image_edit(client):
    return await got(client.images.edit(model="gpt-image-1", image=PICTURE, prompt="a form"))


async def transcription(client):
    return await got(client.audio.transcriptions.create(model="whisper", file=AUDIO))


async def transcription_text(client):
    return await got(client.audio.transcriptions.create(model="whisper", file=AUDIO, response_format="text"))


async def speech(client):
    answer = await got(client.audio.speech.create(model="tts-1", voice="alloy", input="hi"))
    return answer, answer.content


async def speech_streamed(client):
    create = client.audio.speech.with_streaming_response.create
    async with inside(create(model="tts-1", voice="alloy", input="hi")) as answer:
        before = answer.http_response.num_bytes_downloaded
        return answer, before, b"".join(await every(answer.iter_bytes()))


async def models(client):
    return await got(client.get("/models", cast_to=object))


async def by_post(client):
    return await got(client.post("/chat/completions", cast_to=object, body={"model": MODEL, "messages": HELLO}))


async def by_post_as_response(client):
    answer = await got(
        client.post("/chat/completions", cast_to=http_library().Response, body={"model": MODEL, "messages": HELLO})
    )
    return type(answer).__name__, answer.content


async def extras(client):
    return await got(
        chat(client, extra_body={"top_k": 3}, extra_headers={"x-mine": "1"}, extra_query={"q": "1"}, timeout=9.0)
    )


async def of_a_copy(client):
    return await got(chat(client.with_options(max_retries=0, timeout=11.0).copy()))


async def refused(client):
    return await got(chat(client, model=MODEL + "+400"))


async def refused_stream(client):
    return await got(chat(client, model=MODEL + "+429", stream=True))


async def refused_in_html(client):
    return await got(chat(client, model=MODEL + "+html"))


async def refused_raw(client):
    return await got(client.chat.completions.with_raw_response.create(model=MODEL + "+404", messages=HELLO))


async def hung_up(client):
    return await got(chat(client, model=MODEL + "+hangup"))


async def wrong_argument(client):
    return await got(client.chat.completions.create(model=MODEL, messages=HELLO, nonsense=1))


async def unserialisable(client):
    return await got(chat(client, messages=[{"role": "user", "content": object()}]))


SHAPES: dict[str, Callable[[Any], Any]] = {
    shape.__name__: shape
    for shape in (
        plain, with_tools, from_iterator, without_usage, parsed, parse_too_short, parse_not_fitting,
        streamed, streamed_with_usage, streamed_by_next, streamed_in_with, streamed_to_the_end_twice, abandoned,
        never_started, cut_stream, troubled_stream,
        raw, raw_unparsed, raw_stream, raw_stream_by_bytes,
        streaming_response, streaming_response_by_lines, streaming_response_by_stream, streaming_response_by_text,
        streaming_response_unread, helper, helper_left_early,
        responses, responses_parsed, responses_streamed, responses_helper,
        completions, embeddings, moderations, images, image_edit, transcription, transcription_text, speech,
        speech_streamed, models, by_post, by_post_as_response, extras, of_a_copy,
        refused, refused_stream, refused_in_html, refused_raw, hung_up, wrong_argument, unserialisable,
    )
}  # fmt: skip
"""Every way to call that the rules are tried on. To add one, write a function above and name it here."""

CORE = (
    "plain", "parsed", "parse_not_fitting", "streamed", "streamed_by_next", "streamed_in_with", "cut_stream", "raw",
    "raw_stream", "raw_stream_by_bytes", "streaming_response", "streaming_response_by_lines", "helper", "responses",
    "responses_streamed", "image_edit", "transcription_text", "speech", "speech_streamed", "by_post",
    "by_post_as_response", "refused", "hung_up",
)  # fmt: skip
"""One shape for each way through the meter."""

UNBILLED = frozenset({"models", "wrong_argument", "unserialisable"})
"""Shapes that leave no record: free, or never sent."""


async def outcome(shape: Callable[[Any], Any], client: Any) -> Any:
    """What a shape gives or raises, in a form that can be compared."""
    try:
        with collecting_in_this_thread():
            return shown(await shape(client))
    except Exception as error:
        status = getattr(error, "status_code", None)
        body = json.dumps(getattr(error, "body", None))
        return (
            "raised",
            type(error).__name__,
            without_addresses(str(error)),
            status,
            body,
            type(error.__cause__).__name__,
        )


@contextlib.contextmanager
def collecting_in_this_thread() -> Iterator[None]:
    """Collects garbage at the end of the block, and not in between in a thread of the server.

    CPython finalizes nested async generators one after the other. When that happens in a thread that does not run the
    event loop, the loop can be closing an inner one at that moment ("async generator already executing").
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect(1)
        if collecting:
            gc.enable()


def without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+|127\.0\.0\.1:\d+", "...", text)


def run(coroutine: Any) -> Any:
    """Runs what never waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("a sync client has made somebody wait")


def with_client(server: Any, work: Callable[[Any], Coroutine[Any, Any, Any]], *, is_async: bool) -> None:
    """Does work with a client of one kind, which is closed after it."""
    if is_async:

        async def main() -> None:
            async with async_client(server) as client:
                await work(client)

        asyncio.run(main())
    else:
        with sync_client(server) as client:
            run(work(client))


def outcomes(
    api: Api, *, is_async: bool, names: Any = None, note: Callable[[str], None] = lambda name: None
) -> dict[str, Any]:
    """The outcome of each shape, by name; ``note`` is told each name when its shape is done."""
    found = {}

    async def all_of_them() -> None:
        async with async_client(api) as client:
            for name in names or SHAPES:
                api.restart()
                found[name] = await outcome(SHAPES[name], client)
                note(name)

    if is_async:
        asyncio.run(all_of_them())
    else:
        with sync_client(api) as client:
            for name in names or SHAPES:
                api.restart()
                found[name] = run(outcome(SHAPES[name], client))
                note(name)
    gc.collect()
    return found


# --- other processes --------------------------------------------------------------------------------------------------

_ROOTS = (str(Path(openai_meter.__file__).parents[1]), str(Path(__file__).parent))


def python(
    program: str, *arguments: str, timeout: float = 300.0, reraise: bool = True, fresh: bool = False
) -> tuple[int, str, str]:
    """Runs a program in a process of its own: its exit code, output and error output.

    The process is a fork of one that has imported openai and the meter, unless it has to be ``fresh``.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(_ROOTS), "OPENAI_METER_RERAISE_FAULTS": str(int(reraise))}
    if AVAILABLE and not fresh:
        warm = WARM.run(program, *arguments, environment=environment, timeout=timeout)
        return warm.code, warm.output.decode(), warm.errors.decode()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", "-c", program, *arguments],
        env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def printed(readings: openai_meter.Meter | openai_meter.Block) -> str:
    """What ``print_summary`` prints."""
    file = io.StringIO()
    readings.print_summary(file)
    return file.getvalue()


def threads(number: int, work: Callable[[int], None]) -> list[BaseException]:
    """Runs ``work(0)``, ``work(1)``, ... in so many threads at once, and returns what they raised."""
    raised: list[BaseException] = []
    start = threading.Barrier(number)

    def body(place: int) -> None:
        try:
            start.wait(60)
            work(place)
        except BaseException as error:
            raised.append(error)

    running = [threading.Thread(target=body, args=(place,), daemon=True) for place in range(number)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    return raised
