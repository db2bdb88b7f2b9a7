"""The shapes of call that a program can make of chat completions and responses, and the table of all shapes.

Each is written as a program with the ``openai`` client is: nothing in it meters anything. To add a shape, add a
coroutine function that takes a :class:`Caller`, and a row to :data:`SHAPES`. With the sync client, nothing that it
awaits suspends.
"""

import asyncio
from typing import Any

import openai
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from openai_meter.testing.fake_api import call_shapes_more
from openai_meter.testing.fake_api.shape_runner import FAULT, Caller, Shape

_HELLO = [{"role": "user", "content": "How do we get rid of the paper forms?"}]
_CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": _HELLO}
_STREAM: dict[str, Any] = {**_CHAT, "stream": True}
_USAGE_STREAM: dict[str, Any] = {**_STREAM, "stream_options": {"include_usage": True}}
_RESPOND: dict[str, Any] = {"model": "gpt-5-mini", "input": "How do we get rid of the paper forms?"}


class Plan(BaseModel):
    """The model that an answer is parsed into."""

    goal: str
    steps: list[str]


class _Client(OpenAI):
    """A subclass, as a program may define one."""


class _AsyncClient(AsyncOpenAI):
    """A subclass, as a program may define one."""


# --- chat completions -------------------------------------------------------------------------------------------------


async def _chat(caller: Caller) -> None:
    await caller.get(caller.client.chat.completions.create(**_CHAT))


async def _chat_parse(caller: Caller) -> None:
    await caller.get(caller.client.chat.completions.parse(**_CHAT, response_format=Plan))


async def _chat_parse_too_long(caller: Caller) -> None:
    parse = caller.client.chat.completions.parse
    await caller.fail(parse, **_CHAT, response_format=Plan, max_completion_tokens=2)


async def _chat_raw(caller: Caller) -> None:
    answer = await caller.get(caller.client.chat.completions.with_raw_response.create(**_CHAT))
    await caller.get(answer.parse())


async def _chat_raw_unparsed(caller: Caller) -> None:
    await caller.get(caller.client.chat.completions.with_raw_response.create(**_CHAT))


async def _chat_streaming_response(caller: Caller) -> None:
    create = caller.client.chat.completions.with_streaming_response.create
    async with caller.within(create(**_CHAT)) as response:
        await caller.get(response.json())


async def _chat_streaming_response_lines(caller: Caller) -> None:
    create = caller.client.chat.completions.with_streaming_response.create
    async with caller.within(create(**_USAGE_STREAM)) as response:
        await caller.read(response.iter_lines())


async def _chat_raw_stream(caller: Caller) -> None:
    answer = await caller.do(caller.client.chat.completions.with_raw_response.create(**_USAGE_STREAM))
    await caller.read(answer.parse())


async def _chat_stream(caller: Caller) -> None:
    stream = await caller.get(caller.client.chat.completions.create(**_USAGE_STREAM))
    await caller.read(stream)


async def _chat_stream_unasked(caller: Caller) -> None:
    await caller.read(await caller.get(caller.client.chat.completions.create(**_STREAM)))


async def _chat_stream_two(caller: Caller) -> None:
    await caller.read(await caller.do(caller.client.chat.completions.create(**_STREAM, n=2)))


async def _chat_stream_left(caller: Caller) -> None:
    async with caller.within(await caller.do(caller.client.chat.completions.create(**_STREAM))) as stream:
        await caller.read(stream, 3)


async def _chat_stream_abandoned(caller: Caller) -> None:
    await caller.read(await caller.do(caller.client.chat.completions.create(**_STREAM)), 3)
    await caller.collect()


async def _chat_stream_unread(caller: Caller) -> None:
    stream = await caller.do(caller.client.chat.completions.create(**_STREAM))
    await caller.do(stream.close())


async def _chat_stream_cut(caller: Caller) -> None:
    stream = await caller.do(caller.client.chat.completions.create(**_STREAM, extra_headers={FAULT: "cut"}))
    await caller.fail(caller.read, stream)


async def _chat_stream_helper(caller: Caller) -> None:
    async with caller.within(caller.client.chat.completions.stream(**_CHAT)) as stream:
        await caller.read(stream)


async def _legacy(caller: Caller) -> None:
    completions = caller.client.completions
    await caller.get(completions.create(model="gpt-3.5-turbo-instruct", prompt="How?"))


# --- clients and transports -------------------------------------------------------------------------------------------


async def _bound_before(caller: Caller) -> None:
    await caller.get(caller.bound(**_CHAT))


async def _copied(caller: Caller) -> None:
    await caller.get(caller.client.with_options(timeout=4).copy().chat.completions.create(**_CHAT))


async def _posted(caller: Caller) -> None:
    await caller.get(caller.client.post("/chat/completions", body=_CHAT, cast_to=ChatCompletion))


async def _subclass(caller: Caller) -> None:
    await caller.get(caller.new(_Client, _AsyncClient).chat.completions.create(**_CHAT))


async def _azure(caller: Caller) -> None:
    where = {"azure_endpoint": caller.server.url, "api_version": "2024-10-21", "base_url": None}
    client = caller.new(AzureOpenAI, AsyncAzureOpenAI, **where)
    await caller.get(client.chat.completions.create(model="our-chat", messages=_HELLO))


async def _module(caller: Caller) -> None:
    openai.api_key, openai.base_url = "demo", f"{caller.server.base_url}/"
    openai.http_client = caller.client._client  # noqa: SLF001 - the client that ignores proxies
    caller.see(openai.chat.completions.create(**_CHAT))


async def _together(caller: Caller) -> None:
    create = caller.client.chat.completions.create
    if caller.is_async:
        await asyncio.gather(*(create(**_CHAT) for _ in range(5)))
    else:
        for _ in range(5):
            create(**_CHAT)


async def _refused(caller: Caller) -> None:
    await caller.fail(caller.client.chat.completions.create, model="no-such-model", messages=_HELLO)


async def _unreachable(caller: Caller) -> None:
    client = caller.new(base_url="http://127.0.0.1:9/v1")  # the port of "discard": there is no server
    await caller.fail(client.chat.completions.create, **_CHAT)


async def _retried(caller: Caller) -> None:
    client = caller.new(max_retries=1)
    await caller.get(client.chat.completions.create(**_CHAT, extra_headers={FAULT: "once"}))


async def _odd(caller: Caller) -> None:
    await caller.get(caller.client.chat.completions.create(**_CHAT, extra_headers={FAULT: "null"}))


async def _iterated(caller: Caller) -> None:
    create = caller.client.chat.completions.create
    await caller.get(create(model="gpt-4o-mini", messages=iter(_HELLO), metadata={"team": "x"}, store=True))


async def _looked_up(caller: Caller) -> None:
    completions = caller.client.chat.completions
    made = await caller.get(completions.create(**_CHAT, store=True))
    await caller.get(completions.retrieve(made.id))


# --- responses --------------------------------------------------------------------------------------------------------


async def _respond(caller: Caller) -> None:
    await caller.get(caller.client.responses.create(**_RESPOND))


async def _respond_parse(caller: Caller) -> None:
    await caller.get(caller.client.responses.parse(**_RESPOND, text_format=Plan))


async def _respond_stream(caller: Caller) -> None:
    await caller.read(await caller.get(caller.client.responses.create(**_RESPOND, stream=True)))


async def _respond_left(caller: Caller) -> None:
    async with caller.within(await caller.do(caller.client.responses.create(**_RESPOND, stream=True))) as stream:
        await caller.read(stream, 6)


async def _respond_helper(caller: Caller) -> None:
    async with caller.within(caller.client.responses.stream(**_RESPOND)) as stream:
        await caller.read(stream)


async def _respond_background(caller: Caller) -> None:
    responses = caller.client.responses
    made = await caller.get(responses.create(**_RESPOND, background=True))
    for _ in range(5):
        await caller.get(responses.retrieve(made.id))


async def _respond_again(caller: Caller) -> None:
    made = await caller.get(caller.client.responses.create(**_RESPOND))
    await caller.get(caller.client.responses.retrieve(made.id))


async def _compact(caller: Caller) -> None:
    await caller.get(caller.client.responses.compact(model="gpt-5-mini", input=_HELLO))


async def _count(caller: Caller) -> None:
    await caller.get(caller.client.responses.input_tokens.count(**_RESPOND))


SHAPES: tuple[Shape, ...] = (
    Shape("chat.completions.create", _chat),
    Shape("chat.completions.parse", _chat_parse, needs="chat.completions.parse"),
    Shape("chat.completions.parse, LengthFinishReasonError", _chat_parse_too_long, needs="chat.completions.parse"),
    Shape("chat.completions.with_raw_response", _chat_raw),
    Shape("chat.completions.with_raw_response, not parsed", _chat_raw_unparsed),
    Shape("chat.completions.with_streaming_response", _chat_streaming_response),
    Shape("chat.completions.with_streaming_response, stream=True", _chat_streaming_response_lines),
    Shape("chat.completions.with_raw_response, stream=True", _chat_raw_stream),
    Shape("chat stream, include_usage", _chat_stream),
    Shape("chat stream, without include_usage", _chat_stream_unasked),
    Shape("chat stream, n=2", _chat_stream_two),
    Shape("chat stream, break", _chat_stream_left, usage="estimate"),
    Shape("chat stream, abandoned", _chat_stream_abandoned, usage="estimate"),
    Shape("chat stream, close() without reading", _chat_stream_unread, usage="estimate"),
    Shape("chat stream, connection lost", _chat_stream_cut, usage="estimate"),
    Shape("chat.completions.stream()", _chat_stream_helper, needs="chat.completions.stream"),
    Shape("method bound before install()", _bound_before),
    Shape("with_options().copy()", _copied),
    Shape('client.post("/chat/completions")', _posted),
    Shape("subclass of the client", _subclass),
    Shape("AzureOpenAI", _azure),
    Shape("openai.chat.completions.create (module)", _module, sync_only=True),
    Shape("5 calls, async at once", _together, records=5),
    Shape("error of the API (404)", _refused, usage="none"),
    Shape("APIConnectionError", _unreachable, usage="none"),
    Shape("retry inside the SDK", _retried),
    Shape("usage: null, choices: null", _odd, usage="none"),
    Shape("messages=iter(...), metadata=", _iterated),
    Shape("create(store=True), then retrieve", _looked_up, needs="chat.completions.retrieve"),
    Shape("completions.create", _legacy),
    Shape("responses.create", _respond, needs="responses.create"),
    Shape("responses.parse", _respond_parse, needs="responses.parse"),
    Shape("responses stream", _respond_stream, needs="responses.create"),
    Shape("responses stream, break", _respond_left, usage="estimate", needs="responses.create"),
    Shape("responses.stream()", _respond_helper, needs="responses.stream"),
    Shape("responses.create(background=True), 5 polls", _respond_background, needs="responses.create"),
    Shape("responses.create, then retrieve", _respond_again, needs="responses.create"),
    Shape("responses.compact", _compact, needs="responses.compact"),
    Shape("responses.input_tokens.count", _count, records=0, usage="none", needs="responses.input_tokens"),
    *call_shapes_more.SHAPES,
)
"""Every shape, in the order in which a report shows them."""
