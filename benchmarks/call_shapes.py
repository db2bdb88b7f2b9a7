"""The shapes of call that a program can make, each as a program writes it, for both kinds of client.

To add one, add a coroutine function that is given a `Player`, and a row to `SHAPES`. For the sync client nothing that
it awaits ever suspends. Needs nothing but openai: it also runs in the environments of other packages.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import openai
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel
from shape_api import FAULT, GIVEN, MADE, SOUND, Api

HELLO = [{"role": "user", "content": "How does one greet in the morning?"}]
CHAT: dict[str, Any] = {"model": "gpt-5.4-mini", "messages": HELLO}
STREAM: dict[str, Any] = {**CHAT, "stream": True}
USAGE_STREAM: dict[str, Any] = {**STREAM, "stream_options": {"include_usage": True}}
RESPOND: dict[str, Any] = {"model": "gpt-5.4-mini", "input": "How does one greet in the morning?"}
URL = "https://api.openai.com/v1"

TOLD = (GIVEN, MADE)
"""The record has what the API said."""
SOME = ("some", "some")
"""The API did not say: the record has a number of tokens all the same, counted or asked for."""
ANY = ("any", "any")
"""The record may have any tokens or none: there are none to know."""


class Greeting(BaseModel):
    """What answers are parsed into."""

    word: str


class Performance(NamedTuple):
    """What came of a shape that was played."""

    observed: list[Any]
    """What the program saw: of each thing the classes that it is of, and what is in it."""
    sent: list[Any]
    """The requests that it made; ``stream_options`` may differ."""
    error: str | None
    """The exception that the shape does not expect."""


class Player:
    """A program with a client of one kind."""

    def __init__(self, shape: str, *, is_async: bool) -> None:
        self.is_async = is_async
        self.api = Api(f"{zlib.crc32(shape.encode()):08x}{int(is_async)}")
        self.observed: list[Any] = []
        self.wrap: Callable[[Any], Any] = lambda plain: plain
        early = self._make()
        self.early, self.bound = early, early.chat.completions.create
        self.client: Any = None

    def begin(self, wrap: Callable[[Any], Any] | None = None) -> None:
        """Makes the client that most shapes use, as the program does once all is set up."""
        self.wrap = wrap or self.wrap
        self.client = self.new()

    def new(self, sync: type[Any] = OpenAI, asynchronous: type[Any] = AsyncOpenAI, **options: Any) -> Any:
        """Another client, instrumented as the program's."""
        return self.wrap(self._make(sync, asynchronous, **options))

    def _make(self, sync: type[Any] = OpenAI, asynchronous: type[Any] = AsyncOpenAI, **options: Any) -> Any:
        where = {} if "azure_endpoint" in options else {"base_url": URL}
        return self.api.client(asynchronous if self.is_async else sync, is_async=self.is_async, **where, **options)

    def see(self, value: Any) -> None:
        """Writes down what the program sees."""
        self.observed.append(shown(value))

    async def do(self, value: Any) -> Any:
        """What a method gave, awaited where there is something to await."""
        return await value if inspect.isawaitable(value) else value

    async def get(self, value: Any) -> Any:
        """Like `do`, and writes down what came."""
        answer = await self.do(value)
        self.see(answer)
        return answer

    async def fail(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Calls something that is to raise, and writes down what."""
        try:
            await self.do(call(*args, **kwargs))
        except Exception as error:
            self.see(error)
        else:
            self.see("nothing was raised")

    async def read(self, items: Any, stop: int | None = None) -> None:
        """Reads and writes down items, all or the first few."""
        left = -1 if stop is None else stop
        if self.is_async:
            async for item in items:
                self.see(item)
                left -= 1
                if left == 0:
                    break
            return
        for item in items:
            self.see(item)
            left -= 1
            if left == 0:
                break

    @asynccontextmanager
    async def within(self, manager: Any) -> AsyncIterator[Any]:
        """Enters a context manager of either kind."""
        if self.is_async:
            async with manager as value:
                yield value
        else:
            with manager as value:
                yield value

    async def collect(self) -> None:
        """Lets go of what was abandoned."""
        gc.collect()
        for _ in range(5 if self.is_async else 0):
            await asyncio.sleep(0)
            gc.collect()

    def perform(self, shape: Shape) -> Performance:
        """Plays a shape to its end."""
        error = None
        try:
            if self.is_async:
                asyncio.run(self._play(shape))
            else:
                steps = self._play(shape)
                try:
                    contextvars.copy_context().run(steps.send, None)  # nothing in it suspends
                    error = "it suspended"
                except StopIteration:
                    pass
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"[:300]
        return Performance(self.observed, self.api.heard, error)

    async def _play(self, shape: Shape) -> None:
        await shape.play(self)


def shown(value: Any) -> Any:
    """A value as it can be compared: the classes it is of (a transparent proxy is of its object's), and its content."""
    # Neither the module of a generic model nor its parameter is always the same: both say who needed it first.
    kinds = [
        f"{kind.__module__.partition('.')[0]}.{kind.__qualname__.partition('[')[0]}" for kind in value.__class__.__mro__
    ]
    if isinstance(value, BaseModel):
        return kinds, value.model_dump(mode="json", warnings=False)
    if isinstance(value, BaseException | str | int | float | dict | list | tuple | bytes | None):
        return kinds, str(value)
    return kinds, None


# --- chat completions -------------------------------------------------------------------------------------------------


async def chat(player: Player) -> None:
    await player.get(player.client.chat.completions.create(**CHAT))


async def chat_parse(player: Player) -> None:
    await player.get(player.client.chat.completions.parse(**CHAT, response_format=Greeting))


async def chat_parse_cut(player: Player) -> None:
    parse = player.client.chat.completions.parse
    await player.fail(parse, **CHAT, response_format=Greeting, extra_headers={FAULT: "length"})


async def chat_two(player: Player) -> None:
    await player.get(player.client.chat.completions.create(**CHAT, n=2))


async def chat_raw(player: Player) -> None:
    answer = await player.get(player.client.chat.completions.with_raw_response.create(**CHAT))
    player.see(answer.headers["x-request-id"])
    player.see(answer.parse())


async def chat_raw_unparsed(player: Player) -> None:
    await player.get(player.client.chat.completions.with_raw_response.create(**CHAT))


async def chat_raw_stream(player: Player) -> None:
    answer = await player.do(player.client.chat.completions.with_raw_response.create(**USAGE_STREAM))
    await player.read(answer.parse())


async def chat_streaming(player: Player) -> None:
    create = player.client.chat.completions.with_streaming_response.create
    async with player.within(create(**CHAT)) as response:
        await player.get(response)
        await player.get(response.json())


async def chat_streaming_lines(player: Player) -> None:
    create = player.client.chat.completions.with_streaming_response.create
    async with player.within(create(**USAGE_STREAM)) as response:
        await player.read(response.iter_lines())


async def stream_asked(player: Player) -> None:
    await player.read(await player.do(player.client.chat.completions.create(**USAGE_STREAM)))


async def stream_unasked(player: Player) -> None:
    await player.read(await player.do(player.client.chat.completions.create(**STREAM)))


async def stream_two(player: Player) -> None:
    await player.read(await player.do(player.client.chat.completions.create(**USAGE_STREAM, n=2)))


async def stream_type(player: Player) -> None:
    stream = await player.get(player.client.chat.completions.create(**USAGE_STREAM))
    player.see(stream.response.status_code)
    await player.read(stream)


async def stream_with(player: Player) -> None:
    async with player.within(await player.do(player.client.chat.completions.create(**USAGE_STREAM))) as stream:
        await player.read(stream)


async def stream_break(player: Player) -> None:
    async with player.within(await player.do(player.client.chat.completions.create(**USAGE_STREAM))) as stream:
        await player.read(stream, 3)


async def stream_abandoned(player: Player) -> None:
    await player.read(await player.do(player.client.chat.completions.create(**USAGE_STREAM)), 3)
    await player.collect()


async def stream_closed(player: Player) -> None:
    stream = await player.do(player.client.chat.completions.create(**USAGE_STREAM))
    await player.do(stream.close())


async def stream_cut(player: Player) -> None:
    stream = await player.do(player.client.chat.completions.create(**USAGE_STREAM, extra_headers={FAULT: "cut"}))
    await player.fail(player.read, stream)


async def stream_cancelled(player: Player) -> None:
    create = player.client.chat.completions.create
    stream = await create(**USAGE_STREAM, extra_headers={FAULT: "hang"})
    task = asyncio.ensure_future(player.read(stream))
    while len(player.observed) < 4 and not task.done():  # noqa: ASYNC110 - it is the program's own step that is waited for
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError as error:
        player.see(error)
    del task, stream
    await player.collect()


async def stream_helper(player: Player) -> None:
    async with player.within(player.client.chat.completions.stream(**USAGE_STREAM_HELPER)) as stream:
        await player.read(stream)


async def legacy(player: Player) -> None:
    await player.get(player.client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Good"))


# --- responses --------------------------------------------------------------------------------------------------------


async def respond(player: Player) -> None:
    await player.get(player.client.responses.create(**RESPOND))


async def respond_parse(player: Player) -> None:
    await player.get(player.client.responses.parse(**RESPOND, text_format=Greeting))


async def respond_raw(player: Player) -> None:
    answer = await player.get(player.client.responses.with_raw_response.create(**RESPOND))
    player.see(answer.parse())


async def respond_stream(player: Player) -> None:
    await player.read(await player.do(player.client.responses.create(**RESPOND, stream=True)))


async def respond_incomplete(player: Player) -> None:
    create = player.client.responses.create
    await player.read(await player.do(create(**RESPOND, stream=True, extra_headers={FAULT: "incomplete"})))


async def respond_break(player: Player) -> None:
    async with player.within(await player.do(player.client.responses.create(**RESPOND, stream=True))) as stream:
        await player.read(stream, 5)


async def respond_helper(player: Player) -> None:
    async with player.within(player.client.responses.stream(**RESPOND)) as stream:
        await player.read(stream)


async def respond_background(player: Player) -> None:
    made = await player.get(player.client.responses.create(**RESPOND, background=True))
    for _ in range(5):
        await player.get(player.client.responses.retrieve(made.id))


async def respond_looked_up(player: Player) -> None:
    made = await player.get(player.client.responses.create(**RESPOND))
    for _ in range(4):
        await player.get(player.client.responses.retrieve(made.id))


async def free(player: Player) -> None:
    await player.get(player.client.chat.completions.retrieve("chatcmpl-1"))
    if hasattr(player.client.responses, "input_tokens"):  # older SDKs cannot count
        await player.get(player.client.responses.input_tokens.count(**RESPOND))
    await player.read(await player.do(player.client.models.list()))


# --- clients ----------------------------------------------------------------------------------------------------------


async def copied(player: Player) -> None:
    await player.get(player.client.with_options(timeout=4).copy().chat.completions.create(**CHAT))


async def made_before(player: Player) -> None:
    await player.get(player.wrap(player.early).chat.completions.create(**CHAT))


async def bound_before(player: Player) -> None:
    await player.get(player.bound(**CHAT))


async def posted(player: Player) -> None:
    await player.get(player.client.post("/chat/completions", body=CHAT, cast_to=ChatCompletion))


async def module_level(player: Player) -> None:
    openai.api_key, openai.base_url = "none", f"{URL}/"
    openai.http_client = player.api.http_client(is_async=False)
    openai._reset_client()
    player.see(openai.chat.completions.create(**CHAT))


async def azure(player: Player) -> None:
    where = {"azure_endpoint": "https://ours.openai.azure.com", "api_version": "2024-10-21"}
    client = player.new(AzureOpenAI, AsyncAzureOpenAI, **where)
    await player.get(client.chat.completions.create(model="our-chat", messages=HELLO))


async def together(player: Player) -> None:
    create = player.client.chat.completions.create
    if player.is_async:
        await asyncio.gather(*(create(**CHAT, user=str(number)) for number in range(3)))
    else:
        for number in range(3):
            create(**CHAT, user=str(number))


# --- other endpoints --------------------------------------------------------------------------------------------------


async def embed(player: Player) -> None:
    embed = player.client.embeddings.create
    await player.get(embed(model="text-embedding-3-small", input="Good morning", encoding_format="float"))


async def draw(player: Player) -> None:
    await player.get(player.client.images.generate(model="gpt-image-1", prompt="A morning"))


async def transcribe(player: Player) -> None:
    create = player.client.audio.transcriptions.create
    await player.get(create(model="gpt-4o-mini-transcribe", file=("talk.mp3", SOUND)))


async def speak(player: Player) -> None:
    speech = await player.get(player.client.audio.speech.create(model="tts-1", voice="alloy", input="Good morning"))
    player.see(speech.read())


async def moderate(player: Player) -> None:
    await player.get(player.client.moderations.create(input="Good morning"))


# --- what goes wrong, and what is odd ---------------------------------------------------------------------------------


async def refused(player: Player) -> None:
    await player.fail(player.client.chat.completions.create, **CHAT, extra_headers={FAULT: "refused"})


async def unreachable(player: Player) -> None:
    await player.fail(player.client.chat.completions.create, **CHAT, extra_headers={FAULT: "unreachable"})


async def retried(player: Player) -> None:
    client = player.new(max_retries=2)
    await player.get(client.chat.completions.create(**CHAT, extra_headers={FAULT: "once"}))


async def null(player: Player) -> None:
    await player.get(player.client.chat.completions.create(**CHAT, extra_headers={FAULT: "null"}))


async def odd(player: Player) -> None:
    await player.get(player.client.chat.completions.create(**CHAT, extra_headers={FAULT: "odd"}))


async def iterator(player: Player) -> None:
    await player.get(player.client.chat.completions.create(model="gpt-5.4-mini", messages=iter(HELLO)))


async def labelled(player: Player) -> None:
    await player.get(player.client.chat.completions.create(**CHAT, store=True, metadata={"team": "front desk"}))


class Shape(NamedTuple):
    """One way to call the API."""

    name: str
    play: Callable[[Player], Awaitable[None]]
    records: tuple[tuple[Any, Any], ...] = (TOLD,)
    """The tokens of the records it has to leave."""
    kinds: str = "both"
    """``sync`` or ``async`` for what only one kind of client can do."""


USAGE_STREAM_HELPER = {name: value for name, value in USAGE_STREAM.items() if name != "stream"}
SHAPES = (
    Shape("chat.completions.create", chat),
    Shape("responses.create", respond),
    Shape("embeddings.create", embed, ((GIVEN, 0),)),
    Shape("completions.create", legacy),
    Shape("chat.completions.create, n=2", chat_two),
    Shape("chat.completions.parse", chat_parse),
    Shape("chat.completions.parse, LengthFinishReasonError", chat_parse_cut),
    Shape("responses.parse", respond_parse),
    Shape("chat, with_raw_response", chat_raw),
    Shape("chat, with_raw_response, never parsed", chat_raw_unparsed),
    Shape("chat, with_raw_response, stream=True", chat_raw_stream),
    Shape("responses, with_raw_response", respond_raw),
    Shape("chat, with_streaming_response", chat_streaming),
    Shape("chat, with_streaming_response, stream=True", chat_streaming_lines),
    Shape("chat stream, include_usage", stream_asked),
    Shape("chat stream, include_usage not asked for", stream_unasked, (SOME,)),
    Shape("chat stream, n=2", stream_two),
    Shape("chat stream, is an openai.Stream", stream_type),
    Shape("chat stream, in a with block", stream_with),
    Shape("chat stream, break", stream_break, (ANY,)),
    Shape("chat stream, abandoned", stream_abandoned, (ANY,)),
    Shape("chat stream, close() without reading", stream_closed, (ANY,)),
    Shape("chat stream, connection lost", stream_cut, (ANY,)),
    Shape("chat stream, task cancelled", stream_cancelled, (ANY,), "async"),
    Shape("chat.completions.stream()", stream_helper),
    Shape("responses stream", respond_stream),
    Shape("responses stream, incomplete", respond_incomplete),
    Shape("responses stream, break", respond_break, (ANY,)),
    Shape("responses.stream()", respond_helper),
    Shape("responses.create(background=True), 5 polls", respond_background),
    Shape("responses.create, then retrieve", respond_looked_up),
    Shape("retrieve, count, list (free)", free, ()),
    Shape("with_options().copy()", copied),
    Shape("client made before", made_before),
    Shape("method bound before", bound_before),
    Shape('client.post("/chat/completions")', posted),
    Shape("openai.chat.completions (module)", module_level, kinds="sync"),
    Shape("AzureOpenAI", azure),
    Shape("3 calls, async at once", together, (TOLD,) * 3),
    Shape("images.generate", draw),
    Shape("audio.transcriptions.create", transcribe),
    Shape("audio.speech.create", speak, (ANY,)),
    Shape("moderations.create", moderate, (ANY,)),
    Shape("HTTP error", refused, (ANY,)),
    Shape("connection error", unreachable, (ANY,)),
    Shape("retry inside the SDK", retried),
    Shape("usage: null, choices: null", null, (ANY,)),
    Shape("usage of another form", odd, (ANY,)),
    Shape("messages=iter(...)", iterator),
    Shape("metadata=", labelled),
)
"""Every shape, in the order in which the report shows them."""
