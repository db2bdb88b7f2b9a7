"""The shapes of call that a program can make of chat completions and responses, and the table of all shapes.

Each is written as any program with the ``openai`` client is: nothing in it meters anything. To add a shape, add a
coroutine function that is given a :class:`Player`, and a row to :data:`SHAPES`; for the sync client nothing that it
awaits ever suspends.
"""

import asyncio
from typing import Any

import openai
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from openai_meter.testing.fake_api import call_shapes_more
from openai_meter.testing.fake_api.shape_player import FAULT, Player, Shape

_HELLO = [{"role": "user", "content": "How do we get rid of the paper forms?"}]
_CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": _HELLO}
_STREAM: dict[str, Any] = {**_CHAT, "stream": True}
_USAGE_STREAM: dict[str, Any] = {**_STREAM, "stream_options": {"include_usage": True}}
_RESPOND: dict[str, Any] = {"model": "gpt-5-mini", "input": "How do we get rid of the paper forms?"}


class Plan(BaseModel):
    """What an answer is parsed into."""

    goal: str
    steps: list[str]


class _Client(OpenAI):
    """A client of the program's own."""


class _AsyncClient(AsyncOpenAI):
    """A client of the program's own."""


# --- chat completions -------------------------------------------------------------------------------------------------


async def _chat(player: Player) -> None:
    await player.get(player.client.chat.completions.create(**_CHAT))


async def _chat_parse(player: Player) -> None:
    await player.get(player.client.chat.completions.parse(**_CHAT, response_format=Plan))


async def _chat_parse_too_long(player: Player) -> None:
    parse = player.client.chat.completions.parse
    await player.fail(parse, **_CHAT, response_format=Plan, max_completion_tokens=2)


async def _chat_raw(player: Player) -> None:
    answer = await player.get(player.client.chat.completions.with_raw_response.create(**_CHAT))
    await player.get(answer.parse())


async def _chat_raw_unparsed(player: Player) -> None:
    await player.get(player.client.chat.completions.with_raw_response.create(**_CHAT))


async def _chat_streaming_response(player: Player) -> None:
    create = player.client.chat.completions.with_streaming_response.create
    async with player.within(create(**_CHAT)) as response:
        await player.get(response.json())


async def _chat_streaming_response_lines(player: Player) -> None:
    create = player.client.chat.completions.with_streaming_response.create
    async with player.within(create(**_USAGE_STREAM)) as response:
        await player.read(response.iter_lines())


async def _chat_raw_stream(player: Player) -> None:
    answer = await player.do(player.client.chat.completions.with_raw_response.create(**_USAGE_STREAM))
    await player.read(answer.parse())


async def _chat_stream(player: Player) -> None:
    stream = await player.get(player.client.chat.completions.create(**_USAGE_STREAM))
    await player.read(stream)


async def _chat_stream_unasked(player: Player) -> None:
    await player.read(await player.get(player.client.chat.completions.create(**_STREAM)))


async def _chat_stream_two(player: Player) -> None:
    await player.read(await player.do(player.client.chat.completions.create(**_STREAM, n=2)))


async def _chat_stream_left(player: Player) -> None:
    async with player.within(await player.do(player.client.chat.completions.create(**_STREAM))) as stream:
        await player.read(stream, 3)


async def _chat_stream_abandoned(player: Player) -> None:
    await player.read(await player.do(player.client.chat.completions.create(**_STREAM)), 3)
    await player.collect()


async def _chat_stream_unread(player: Player) -> None:
    stream = await player.do(player.client.chat.completions.create(**_STREAM))
    await player.do(stream.close())


async def _chat_stream_cut(player: Player) -> None:
    stream = await player.do(player.client.chat.completions.create(**_STREAM, extra_headers={FAULT: "cut"}))
    await player.fail(player.read, stream)


async def _chat_stream_helper(player: Player) -> None:
    async with player.within(player.client.chat.completions.stream(**_CHAT)) as stream:
        await player.read(stream)


async def _legacy(player: Player) -> None:
    completions = player.client.completions
    await player.get(completions.create(model="gpt-3.5-turbo-instruct", prompt="How?"))


# --- clients and transports -------------------------------------------------------------------------------------------


async def _bound_before(player: Player) -> None:
    await player.get(player.bound(**_CHAT))


async def _copied(player: Player) -> None:
    await player.get(player.client.with_options(timeout=4).copy().chat.completions.create(**_CHAT))


async def _posted(player: Player) -> None:
    await player.get(player.client.post("/chat/completions", body=_CHAT, cast_to=ChatCompletion))


async def _subclass(player: Player) -> None:
    await player.get(player.new(_Client, _AsyncClient).chat.completions.create(**_CHAT))


async def _azure(player: Player) -> None:
    where = {"azure_endpoint": player.stage.url, "api_version": "2024-10-21", "base_url": None}
    client = player.new(AzureOpenAI, AsyncAzureOpenAI, **where)
    await player.get(client.chat.completions.create(model="our-chat", messages=_HELLO))


async def _module(player: Player) -> None:
    openai.api_key, openai.base_url = "demo", f"{player.stage.base_url}/"
    openai.http_client = player.client._client  # noqa: SLF001 - the client that ignores proxies
    player.see(openai.chat.completions.create(**_CHAT))


async def _together(player: Player) -> None:
    create = player.client.chat.completions.create
    if player.is_async:
        await asyncio.gather(*(create(**_CHAT) for _ in range(5)))
    else:
        for _ in range(5):
            create(**_CHAT)


async def _refused(player: Player) -> None:
    await player.fail(player.client.chat.completions.create, model="no-such-model", messages=_HELLO)


async def _unreachable(player: Player) -> None:
    client = player.new(base_url="http://127.0.0.1:9/v1")  # the port of "discard": nobody listens there
    await player.fail(client.chat.completions.create, **_CHAT)


async def _retried(player: Player) -> None:
    client = player.new(max_retries=1)
    await player.get(client.chat.completions.create(**_CHAT, extra_headers={FAULT: "once"}))


async def _odd(player: Player) -> None:
    await player.get(player.client.chat.completions.create(**_CHAT, extra_headers={FAULT: "null"}))


async def _iterated(player: Player) -> None:
    create = player.client.chat.completions.create
    await player.get(create(model="gpt-4o-mini", messages=iter(_HELLO), metadata={"team": "x"}, store=True))


async def _looked_up(player: Player) -> None:
    completions = player.client.chat.completions
    made = await player.get(completions.create(**_CHAT, store=True))
    await player.get(completions.retrieve(made.id))


# --- responses --------------------------------------------------------------------------------------------------------


async def _respond(player: Player) -> None:
    await player.get(player.client.responses.create(**_RESPOND))


async def _respond_parse(player: Player) -> None:
    await player.get(player.client.responses.parse(**_RESPOND, text_format=Plan))


async def _respond_stream(player: Player) -> None:
    await player.read(await player.get(player.client.responses.create(**_RESPOND, stream=True)))


async def _respond_left(player: Player) -> None:
    async with player.within(await player.do(player.client.responses.create(**_RESPOND, stream=True))) as stream:
        await player.read(stream, 6)


async def _respond_helper(player: Player) -> None:
    async with player.within(player.client.responses.stream(**_RESPOND)) as stream:
        await player.read(stream)


async def _respond_background(player: Player) -> None:
    responses = player.client.responses
    made = await player.get(responses.create(**_RESPOND, background=True))
    for _ in range(5):
        await player.get(responses.retrieve(made.id))


async def _respond_again(player: Player) -> None:
    made = await player.get(player.client.responses.create(**_RESPOND))
    await player.get(player.client.responses.retrieve(made.id))


async def _compact(player: Player) -> None:
    await player.get(player.client.responses.compact(model="gpt-5-mini", input=_HELLO))


async def _count(player: Player) -> None:
    await player.get(player.client.responses.input_tokens.count(**_RESPOND))


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
