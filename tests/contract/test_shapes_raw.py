"""Raw and streaming responses: however the program reads them, or does not."""

import json

import pytest
from openai import AsyncStream, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel
from shape_player import (
    CHAT,
    HELLO,
    RESPOND,
    RESPONSE_MODEL,
    STREAM,
    USAGE_STREAM,
    Said,
    chat_answer,
    row,
    sends,
)

from openai_meter.testing.fake_api.loopback import Answer

pytest_plugins = ("shape_player",)

zipped = pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])


class Plan(BaseModel):
    title: str


class Own(ChatCompletion):
    """A user's own type for the answer."""


# --- with_raw_response ------------------------------------------------------------------------------------------------


async def never(api, raw):
    return


async def once(api, raw):
    api.see(raw.parse())


async def twice(api, raw):
    api.see(raw.parse(), raw.parse() is raw.parse())


async def as_other(api, raw):
    api.see(raw.parse(to=Own), raw.parse(), raw.parse(to=dict[str, object]))


async def as_other_only(api, raw):
    api.see(raw.parse(to=Own))


async def as_text(api, raw):
    api.see(raw.text, raw.content, raw.http_response.json())


@zipped
@pytest.mark.parametrize("use", [never, once, twice, as_other, as_other_only, as_text])
def test_raw_response_is_one_record_parsed_or_not(play, use, gzip):
    """It has its usage, and keeps its type."""

    async def scenario(api):
        raw = await api.do(api.client.chat.completions.with_raw_response.create(**CHAT))
        api.see(type(raw), raw.status_code, raw.http_response.is_closed)
        await use(api, raw)

    play(scenario, gzip=gzip).counts(row())


@pytest.mark.parametrize("use", [never, once, twice])
def test_raw_response_of_other_endpoints_is_one_record(play, use):
    """Raw responses of responses and embeddings are one record each."""

    async def scenario(api):
        raw = await api.do(api.client.responses.with_raw_response.create(**RESPOND))
        await use(api, raw)
        embed = api.client.embeddings.with_raw_response.create
        raw = await api.do(embed(model="text-embedding-3-small", input="one", dimensions=4))
        await use(api, raw)

    play(scenario).counts(
        row("responses", RESPONSE_MODEL, Said(0)), row("embeddings", "text-embedding-3-small", Said(1))
    )


def test_raw_response_of_the_client_property_is_one_record(play):
    """``client.with_raw_response.chat...`` is the same."""

    async def scenario(api):
        raw = await api.do(api.client.with_raw_response.chat.completions.create(**CHAT))
        api.see(type(raw), raw.parse())

    play(scenario).counts(row())


def test_raw_response_whose_parsing_raises_is_one_record(play):
    """The error reaches the caller that parses."""

    async def scenario(api):
        create = api.client.chat.completions.with_raw_response.parse
        raw = await api.do(create(**CHAT, response_format=Plan, max_completion_tokens=2))
        await api.fail(raw.parse)

    played = play(scenario)
    assert [(call.usage.known, call.usage_source) for call in played.calls] == [(True, "api")]


def test_raw_response_without_usage_has_unknown_tokens(play):
    """A raw response without usage that nobody parses is one record with unknown tokens."""

    async def scenario(api):
        await api.do(api.client.chat.completions.with_raw_response.create(**CHAT))

    play(scenario, sends(chat_answer(usage=...))).counts(row(usage=None))


def test_failed_raw_call_raises_and_is_one_record(play):
    """A raw call that is answered with an error raises it, and is one record."""

    async def scenario(api):
        await api.fail(api.client.chat.completions.with_raw_response.create, model="no-such", messages=HELLO)

    play(scenario).counts(row(model="no-such", usage=None, status="error", error="NotFoundError"))


# --- with_raw_response, streamed --------------------------------------------------------------------------------------


async def parse_and_read(api, raw):
    stream = raw.parse()
    api.see(type(stream), raw.parse() is stream)
    await api.read(stream)


async def parse_to_and_read(api, raw):
    stream = raw.parse(to=(AsyncStream if api.is_async else Stream)[ChatCompletionChunk])
    api.see(type(stream))
    await api.read(stream)


async def lines(api, raw):
    response = raw.http_response
    await api.read(response.aiter_lines() if api.is_async else response.iter_lines())


@zipped
@pytest.mark.parametrize("use", [parse_and_read, parse_to_and_read, lines])
def test_raw_stream_is_one_record_however_it_is_read(play, use, gzip):
    """A raw stream is one record with its usage, parsed and iterated, or read line by line."""

    async def scenario(api):
        raw = await api.do(api.client.chat.completions.with_raw_response.create(**USAGE_STREAM))
        api.see(type(raw), raw.http_response.is_closed)
        await use(api, raw)

    play(scenario, gzip=gzip).counts(row(stream=True))


def test_raw_stream_parsed_and_read_as_lines_is_one_record(play):
    """The lines are read without the ``Stream`` that was made."""

    async def scenario(api):
        raw = await api.do(api.client.chat.completions.with_raw_response.create(**USAGE_STREAM))
        raw.parse()
        await lines(api, raw)

    play(scenario).counts(row(stream=True))


def test_unread_raw_stream_is_one_aborted_record(play):
    """A raw stream that is closed before anything was read is one record: aborted, of the requested model."""

    async def scenario(api):
        raw = await api.do(api.client.chat.completions.with_raw_response.create(**USAGE_STREAM))
        response = raw.http_response
        await api.do(response.aclose() if api.is_async else response.close())

    play(scenario).counts(row(model="gpt-4o-mini", usage=None, status="aborted", stream=True))


# --- with_streaming_response ------------------------------------------------------------------------------------------


async def by_parse(api, response):
    await api.get(response.parse())


async def by_parse_twice(api, response):
    await api.get(response.parse())
    await api.get(response.parse())


async def by_json(api, response):
    await api.get(response.json())


async def by_text(api, response):
    await api.get(response.text())


async def by_read(api, response):
    await api.get(response.read())


async def by_bytes(api, response):
    await api.read(response.iter_bytes(16))


async def by_text_pieces(api, response):
    await api.read(response.iter_text(16))


async def by_lines(api, response):
    await api.read(response.iter_lines())


async def by_http_bytes(api, response):
    http = response.http_response
    await api.read(http.aiter_bytes(16) if api.is_async else http.iter_bytes(16))


async def by_raw_bytes(api, response):
    http = response.http_response
    await api.read(http.aiter_raw(16) if api.is_async else http.iter_raw(16))


READ = [by_parse, by_json, by_text, by_read, by_bytes, by_text_pieces, by_lines, by_http_bytes, by_raw_bytes]


@zipped
@pytest.mark.parametrize("read", [*READ, by_parse_twice])
def test_streaming_response_is_one_record_however_it_is_read(play, read, gzip):
    """A streaming response is one record with usage, and its body is unread until the program reads it."""

    async def scenario(api):
        async with api.within(api.client.chat.completions.with_streaming_response.create(**CHAT)) as response:
            api.see(type(response), response.is_closed, response.http_response.is_stream_consumed)
            await read(api, response)
        api.see(response.is_closed)

    played = play(scenario, gzip=gzip).counts(row())
    assert played.log[1:3] == [False, False]
    assert played.log[-1] is True


async def nothing(api, response):
    return


async def one_piece(api, response):
    await api.read(response.iter_bytes(), stop=1)


def in_pieces(_):
    text = json.dumps(chat_answer()).encode()
    return Answer(200, {"content-type": "application/json"}, [text[:40], text[40:80], text[80:]])


@zipped
@pytest.mark.parametrize("read", [nothing, one_piece])
def test_unread_streaming_response_is_one_aborted_record(play, read, gzip):
    """A streaming response whose body is not read to its end is one record: aborted, of the requested model."""

    async def scenario(api):
        async with api.within(api.client.chat.completions.with_streaming_response.create(**CHAT)) as response:
            await read(api, response)

    play(scenario, in_pieces, gzip=gzip).counts(row(model="gpt-4o-mini", usage=None, status="aborted"))


def test_streaming_response_abandoned_after_its_last_byte_has_its_usage(play):
    """A streaming response that is left before its end, but when all bytes are there, is one record with its usage."""

    async def scenario(api):
        async with api.within(api.client.chat.completions.with_streaming_response.create(**CHAT)) as response:
            await api.read(response.iter_bytes(16), stop=1)

    play(scenario).counts(row())


def test_exception_inside_a_streaming_response_is_unchanged(play):
    """The call is one record."""

    async def scenario(api):
        with pytest.raises(ZeroDivisionError):
            async with api.within(api.client.chat.completions.with_streaming_response.create(**CHAT)):
                raise ZeroDivisionError

    play(scenario).counts(row(model="gpt-4o-mini", usage=None, status="aborted"))


def test_streaming_response_of_other_endpoints_is_one_record(play):
    """Streaming responses of responses and embeddings are one record each."""

    async def scenario(api):
        async with api.within(api.client.responses.with_streaming_response.create(**RESPOND)) as response:
            await by_lines(api, response)
        embed = api.client.embeddings.with_streaming_response.create
        async with api.within(embed(model="text-embedding-3-small", input="one", dimensions=1536)) as response:
            await by_bytes(api, response)

    play(scenario).counts(
        row("responses", RESPONSE_MODEL, Said(0)), row("embeddings", "text-embedding-3-small", Said(1))
    )


def test_failed_streaming_response_raises_and_is_one_record(play):
    """A streaming response that is answered with an error raises it, and is one record."""

    async def scenario(api):
        async def enter():
            create = api.client.chat.completions.with_streaming_response.create
            async with api.within(create(model="no-such", messages=HELLO)):
                pytest.fail("entered")

        await api.fail(enter)

    play(scenario).counts(row(model="no-such", usage=None, status="error", error="NotFoundError"))


# --- with_streaming_response, streamed --------------------------------------------------------------------------------


async def as_stream(api, response):
    stream = await api.do(response.parse())
    api.see(type(stream))
    await api.read(stream)


STREAM_READS = [as_stream, by_text, by_read, by_bytes, by_text_pieces, by_lines, by_http_bytes, by_raw_bytes]


@zipped
@pytest.mark.parametrize("read", STREAM_READS)
def test_stream_inside_a_streaming_response_is_one_record(play, read, gzip):
    """A stream inside a streaming response is one record with usage, however it is read."""

    async def scenario(api):
        async with api.within(api.client.chat.completions.with_streaming_response.create(**USAGE_STREAM)) as response:
            api.see(type(response), response.http_response.is_stream_consumed)
            await read(api, response)

    play(scenario, gzip=gzip).counts(row(stream=True))


@pytest.mark.parametrize("read", STREAM_READS)
def test_stream_without_usage_inside_a_streaming_response_has_unknown_tokens(play, read):
    """A stream that says no usage is one record with unknown tokens and the model of its chunks."""

    async def scenario(api):
        async with api.within(api.client.chat.completions.with_streaming_response.create(**STREAM)) as response:
            await read(api, response)

    play(scenario).counts(row(usage=None, stream=True))


@pytest.mark.parametrize("read", STREAM_READS)
def test_response_stream_inside_a_streaming_response_is_one_record(play, read):
    """A stream of a response inside a streaming response is one record with the usage of its last event."""

    async def scenario(api):
        create = api.client.responses.with_streaming_response.create
        async with api.within(create(**RESPOND, stream=True)) as response:
            await read(api, response)

    play(scenario).counts(row("responses", RESPONSE_MODEL, stream=True))


async def first_chunk(api, response):
    stream = await api.do(response.parse())
    await api.read(stream, stop=1)


async def first_line(api, response):
    await api.read(response.iter_lines(), stop=1)


@pytest.mark.parametrize("read", [nothing, first_chunk, first_line])
def test_abandoned_stream_inside_a_streaming_response_is_one_aborted_record(play, read):
    """A stream inside a streaming response that is left early is one record: aborted, with unknown tokens."""

    async def scenario(api):
        async with api.within(api.client.chat.completions.with_streaming_response.create(**USAGE_STREAM)) as response:
            await read(api, response)

    played = play(scenario)
    assert [(call.status, call.stream, call.requested_model) for call in played.calls] == [
        ("aborted", True, "gpt-4o-mini")
    ]
