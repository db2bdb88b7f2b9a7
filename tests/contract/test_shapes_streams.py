"""Streams: read to their end, or left in any way."""

import asyncio
import copy
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from contract import http_library
from openai import AsyncStream, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel
from shape_player import (
    CHAT,
    CHAT_MODEL,
    CUT,
    HELLO,
    RESPOND,
    RESPONSE_MODEL,
    STREAM,
    USAGE_STREAM,
    VERSION,
    Said,
    act,
    chunk,
    row,
    streams,
    typed,
    usage,
)

import openai_meter
from openai_meter.testing.fake_api.handlers import event_answer, frame

pytest_plugins = ("shape_player",)

TOOLS = [
    {
        "type": "function",
        "function": {"name": "find", "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}}},
    }
]


class Plan(BaseModel):
    title: str


async def opened(api, **more):
    return await api.do(api.client.chat.completions.create(**{**USAGE_STREAM, **more}))


# --- read to the end --------------------------------------------------------------------------------------------------

WHOLE = {
    "usage": (USAGE_STREAM, row(stream=True)),
    "no usage": (STREAM, row(usage=None, stream=True)),
    "two choices": ({**USAGE_STREAM, "n": 2}, row(stream=True)),
    "two choices, no usage": ({**STREAM, "n": 2}, row(usage=None, stream=True)),
    "tool call": ({**USAGE_STREAM, "tools": TOOLS}, row(stream=True)),
    "tool call, no usage": ({**STREAM, "tools": TOOLS}, row(usage=None, stream=True)),
    "cut at its length": ({**USAGE_STREAM, "max_tokens": 3}, row(status="incomplete", stream=True)),
    "other options": ({**STREAM, "stream_options": {"include_obfuscation": False}}, row(usage=None, stream=True)),
    "reasoning": ({**USAGE_STREAM, "model": "gpt-5-mini"}, row(model=RESPONSE_MODEL, stream=True)),
}


@pytest.mark.parametrize(("request_", "expected"), WHOLE.values(), ids=WHOLE)
def test_stream_read_to_its_end_is_one_record_with_its_usage(play, request_, expected):
    """Every chunk is passed on unchanged."""

    async def scenario(api):
        stream = await api.do(api.client.chat.completions.create(**request_))
        api.see(type(stream), isinstance(stream, (AsyncStream if api.is_async else Stream)))
        await api.read(stream)

    played = play(scenario).counts(expected)
    chunks = [line for line in played.said[0].splitlines() if line.startswith(b"data: {")]
    assert len(played.log) == 2 + len(chunks)
    assert [call.time_to_first_token is not None for call in played.calls] == [True]


def test_stream_read_by_next_is_one_record(play):
    """A stream that is read by ``next()`` to its end is one record."""

    async def scenario(api):
        stream = await opened(api)
        end = object()
        while (item := await anext(stream, end) if api.is_async else next(stream, end)) is not end:
            api.see(item)

    play(scenario).counts(row(stream=True))


def test_stream_in_a_with_block_is_one_record(play):
    """A stream in its own ``with`` block is one record."""

    async def scenario(api):
        async with api.within(await opened(api)) as stream:
            api.see(type(stream))
            await api.read(stream)
        api.see(stream.response.is_closed)

    assert play(scenario).counts(row(stream=True)).log[-1] is True


def test_stream_iterated_twice_is_one_record(play):
    """A stream that is read to its end and iterated again is one record."""

    async def scenario(api):
        stream = await opened(api)
        await api.read(stream)
        await api.read(stream)
        await api.close(stream)

    play(scenario).counts(row(stream=True))


def test_stream_read_in_two_parts_is_one_record(play):
    """A stream that is left and taken up again is one record with its usage."""

    async def scenario(api):
        stream = await opened(api)
        await api.next(stream)
        await api.next(stream)
        await api.read(stream)

    play(scenario).counts(row(stream=True))


def test_completion_stream_is_one_record(play):
    """A stream of text completions is one record."""

    async def scenario(api):
        create = api.client.completions.create
        more = {"model": "babbage-002", "prompt": "a", "max_tokens": 500, "stream": True}
        await api.read(await api.do(create(**more, stream_options={"include_usage": True})))
        await api.read(await api.do(create(**more)))

    play(scenario).counts(
        row("completions", "babbage-002", Said(0), stream=True), row("completions", "babbage-002", None, stream=True)
    )


def test_posted_stream_is_one_record(play):
    """A stream that is posted by hand is one record."""

    async def scenario(api):
        cls = (AsyncStream if api.is_async else Stream)[ChatCompletionChunk]
        post = api.client.post
        await api.read(
            await api.do(
                post("/chat/completions", body=USAGE_STREAM, cast_to=ChatCompletionChunk, stream=True, stream_cls=cls)
            )
        )
        await api.read(
            await api.do(
                post("/chat/completions", body=USAGE_STREAM, cast_to=ChatCompletionChunk, stream=True, stream_cls=cls)
            )
        )

    play(scenario).counts(row(usage=Said(0), stream=True), row(usage=Said(1), stream=True))


# --- left early -------------------------------------------------------------------------------------------------------


async def break_and_close(api):
    stream = await opened(api)
    await api.read(stream, stop=2)
    await api.close(stream)
    await api.close(stream)


async def leave_with(api):
    async with api.within(await opened(api)) as stream:
        await api.read(stream, stop=2)


async def raise_in_with(api):
    with pytest.raises(ZeroDivisionError):
        async with api.within(await opened(api)) as stream:
            await api.read(stream, stop=2)
            raise ZeroDivisionError


async def close_response(api):
    stream = await opened(api)
    await api.next(stream)
    await api.next(stream)
    await api.do(stream.response.aclose() if api.is_async else stream.response.close())


async def break_and_forget(api):
    stream = await opened(api)
    await api.read(stream, stop=2)
    del stream
    await api.collect()


async def break_and_keep(api):
    api.kept = await opened(api)
    await api.read(api.kept, stop=2)
    api.kept = None


async def next_and_forget(api):
    stream = await opened(api)
    await api.next(stream)
    await api.next(stream)


LEFT = [break_and_close, leave_with, raise_in_with, close_response, break_and_forget, break_and_keep, next_and_forget]


@pytest.mark.parametrize("scenario", LEFT, ids=lambda scenario: scenario.__name__)
def test_abandoned_stream_is_one_aborted_record(play, scenario):
    """A stream that is left after two chunks, in whatever way, is one record: aborted, with unknown tokens."""
    play(scenario).counts(row(usage=None, status="aborted", stream=True))


async def never_started_closed(api):
    await api.close(await opened(api))


async def never_started_forgotten(api):
    await opened(api)
    await api.collect()


async def never_started_with(api):
    async with api.within(await opened(api)):
        pass


@pytest.mark.parametrize(
    "scenario", [never_started_closed, never_started_forgotten, never_started_with], ids=lambda one: one.__name__
)
def test_unread_stream_is_one_aborted_record(play, scenario):
    """A stream of which nothing was read is one record: aborted, of the requested model."""
    play(scenario).counts(row(model="gpt-4o-mini", usage=None, status="aborted", stream=True))


def test_stream_abandoned_after_its_last_chunk_has_its_usage(play):
    """A stream that is closed after all chunks were seen, before its end was, keeps its usage."""

    async def scenario(api):
        stream = await opened(api)
        for _ in range(4):
            await api.next(stream)
        await api.close(stream)

    last = chunk(choices=[], usage=usage(12, 5))
    play(scenario, streams(chunk("a"), chunk("b"), chunk(finish="stop"), last)).counts(
        row(usage=(12, 5, 17), stream=True)
    )


def test_open_streams_are_pending(stage):
    """At its end a stream is not pending any more."""
    stage.set()
    meter = openai_meter.install()
    with openai.OpenAI(
        base_url=stage.base_url, api_key="demo", http_client=openai.DefaultHttpxClient(verify=False)
    ) as client:
        stream = client.chat.completions.create(**USAGE_STREAM)
        next(stream)
        assert [(one.endpoint, one.model, one.stream) for one in meter.pending] == [
            ("chat.completions", CHAT_MODEL, True)
        ]
        assert meter.totals.calls == 0
        list(stream)
        assert meter.pending == ()
        assert meter.totals.calls == 1


# --- broken off -------------------------------------------------------------------------------------------------------


def test_error_event_in_a_stream_raises_and_is_one_record(play):
    """An error event in a stream raises the SDK's own error, and the call is one record with its class."""

    async def scenario(api):
        stream = await opened(api)
        await api.next(stream)
        await api.fail(api.read, stream)

    error = {"error": {"message": "overloaded", "type": "server_error", "code": None, "param": None}}
    play(scenario, streams(chunk("a"), error)).counts(row(usage=None, status="error", error="APIError", stream=True))


def test_connection_lost_in_a_stream_raises_and_is_one_record(play):
    """A connection that breaks in a stream raises what it raises without the meter, and the call is one record."""

    async def scenario(api):
        stream = await opened(api)
        await api.next(stream)
        await api.fail(api.read, stream)

    played = play(scenario, streams(chunk("a"), CUT)).counts(
        row(usage=None, status="error", error="raised", stream=True)
    )
    assert played.error in ("RemoteProtocolError", "APIConnectionError")


def test_usage_before_a_lost_connection_is_counted(play):
    """Usage that was told before the connection broke is counted."""

    async def scenario(api):
        await api.fail(api.read, await opened(api))

    script = streams(chunk("a"), chunk(choices=[], usage=usage(12, 5)), CUT)
    play(scenario, script).counts(row(usage=(12, 5, 17), status="error", error="raised", stream=True))


def test_line_in_a_stream_that_is_not_json_raises_and_is_one_record(play):
    """A line that is no JSON raises what it raises without the meter, and the call is one record."""

    async def scenario(api):
        await api.fail(api.read, await opened(api))

    play(scenario, streams(chunk("a"), b"data: {oops\n\n")).counts(
        row(usage=None, status="error", error="JSONDecodeError", stream=True)
    )


class Slow:
    """A script that sends one chunk and then waits to be let go."""

    def __init__(self):
        self.go = threading.Event()
        self.waited = threading.Event()

    def __call__(self, _):
        def body():
            yield frame(chunk("a"))
            self.waited.set()
            self.go.wait(60)
            yield frame(chunk("b"))
            yield frame(chunk(choices=[], usage=usage(12, 5)))
            yield frame("[DONE]")

        return event_answer(body())


@pytest.fixture
def slow(stage):
    script = Slow()
    stage.set(script, live=True)
    yield script
    script.go.set()


def new_async(stage, **options):
    http = openai.DefaultAsyncHttpxClient(verify=False)
    return openai.AsyncOpenAI(base_url=stage.base_url, api_key="demo", max_retries=0, http_client=http, **options)


def statuses(meter):
    return [(call.endpoint, call.status, call.error_type, call.stream, call.usage.total_tokens) for call in meter.calls]


def test_cancelled_task_is_one_aborted_record(stage, meter, slow):
    """A task that is cancelled while it waits for a chunk is one record: aborted."""

    async def main():
        async with new_async(stage) as client:
            first = asyncio.Event()

            async def read():
                async for _ in await client.chat.completions.create(**USAGE_STREAM):
                    first.set()

            task = asyncio.create_task(read())
            await first.wait()
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert statuses(meter) == [("chat.completions", "aborted", "CancelledError", True, 18)]


def test_stream_ended_by_wait_for_is_one_aborted_record(stage, meter, slow):
    """A stream that ``asyncio.wait_for`` gives up is one record: aborted."""

    async def main():
        async with new_async(stage) as client:
            first = asyncio.Event()

            async def read():
                async for _ in await client.chat.completions.create(**USAGE_STREAM):
                    first.set()

            reading = asyncio.create_task(read())
            await first.wait()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(reading, 0.01)

    asyncio.run(main())
    assert statuses(meter) == [("chat.completions", "aborted", "CancelledError", True, 18)]


def test_call_cancelled_before_the_answer_is_one_aborted_record(stage, meter):
    """A call that is cancelled before its answer came is one record: aborted."""
    asked, go = threading.Event(), threading.Event()

    def late(_):
        asked.set()
        go.wait(60)

    stage.set(late, live=True)

    async def main():
        async with new_async(stage) as client:
            call = asyncio.create_task(client.chat.completions.create(**CHAT))
            assert await asyncio.to_thread(asked.wait, 60)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(call, 0.01)

    try:
        asyncio.run(main())
    finally:
        go.set()
    assert statuses(meter) == [("chat.completions", "aborted", "CancelledError", False, 17)]


def test_stream_closed_by_another_thread_is_one_record(stage, meter, slow):
    """A stream that is closed while another thread waits for its next chunk is one record, whatever it sees."""
    http = openai.DefaultHttpxClient(verify=False)
    client = openai.OpenAI(base_url=stage.base_url, api_key="demo", max_retries=0, http_client=http)
    stream = client.chat.completions.create(**USAGE_STREAM)
    seen = []

    def read():
        try:
            seen.extend(item.id for item in stream)
        except Exception as error:
            seen.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert slow.waited.wait(60)
    stream.close()
    slow.go.set()
    thread.join(60)
    client.close()
    assert not thread.is_alive()
    assert len(meter.calls) == 1
    assert meter.pending == ()


def test_chunk_arrives_before_the_next_is_sent(stage, slow, is_async):
    """The first chunk reaches the program before the server has made the second."""
    openai_meter.install()

    async def scenario(api):
        stream = await opened(api)
        await api.next(stream)
        api.see(slow.go.is_set())
        slow.go.set()
        await api.read(stream)

    api = act(stage, scenario, is_async=is_async)
    assert api.log[1] is False
    assert [call.usage.total_tokens for call in openai_meter.get_meter().calls] == [17]


# --- the helpers ------------------------------------------------------------------------------------------------------


def helper(api, **more):
    return api.client.chat.completions.stream(**CHAT, **more)


def test_chat_helper_is_one_record(play):
    """``chat.completions.stream()`` is one record, with and without usage."""

    async def scenario(api):
        for more in ({"stream_options": {"include_usage": True}}, {}):
            async with api.within(helper(api, **more)) as stream:
                api.see(type(stream))
                await api.read(stream)
                await api.get(stream.get_final_completion())

    play(scenario).counts(row(usage=Said(0), stream=True), row(usage=None, stream=True))


def test_abandoned_chat_helper_is_one_aborted_record(play):
    """``chat.completions.stream()`` that is left early is one record: aborted."""

    async def scenario(api):
        async with api.within(helper(api)) as stream:
            await api.read(stream, stop=3)

    play(scenario).counts(row(usage=None, status="aborted", stream=True))


def test_chat_helper_until_done_is_one_record(play):
    """``until_done()`` of the helper is one record."""

    async def scenario(api):
        async with api.within(helper(api, stream_options={"include_usage": True})) as stream:
            await api.do(stream.until_done())

    play(scenario).counts(row(stream=True))


def test_chat_helper_whose_parsing_raises_is_one_record(play):
    """A helper that raises because the answer was too short is one record, and the error reaches the caller."""

    async def scenario(api):
        async def read():
            async with api.within(helper(api, response_format=Plan, max_completion_tokens=2)) as stream:
                await api.read(stream)

        await api.fail(read)

    played = play(scenario)
    assert [(call.endpoint, call.stream, call.usage_source) for call in played.calls] == [
        ("chat.completions", True, "tiktoken")
    ]
    assert played.error == "LengthFinishReasonError"


def test_responses_helper_is_one_record_with_its_usage(play):
    """``responses.stream()`` is one record with the usage of its last event."""

    async def scenario(api):
        async with api.within(api.client.responses.stream(**RESPOND)) as stream:
            api.see(type(stream))
            await api.read(stream)
            await api.get(stream.get_final_response())

    play(scenario).counts(row("responses", RESPONSE_MODEL, stream=True))


def test_abandoned_responses_helper_is_one_aborted_record(play):
    """``responses.stream()`` that is left early is one record: aborted, with the model of its first event."""

    async def scenario(api):
        async with api.within(api.client.responses.stream(**RESPOND)) as stream:
            await api.read(stream, stop=3)

    play(scenario).counts(row("responses", RESPONSE_MODEL, None, status="aborted", stream=True))


# --- streams of responses ---------------------------------------------------------------------------------------------


async def respond(api, **more):
    return await api.do(api.client.responses.create(**{**RESPOND, "stream": True, **more}))


async def read_response(api):
    await api.read(await respond(api))


def response_body(status="completed", **changes):
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": RESPONSE_MODEL,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 12,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 17,
        },
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


def event(kind, **fields):
    return {"type": kind, "sequence_number": 0, **fields}


CREATED = event("response.created", response=response_body("in_progress", usage=None))
DELTA = event("response.output_text.delta", item_id="a", output_index=0, content_index=0, delta="Hi", logprobs=[])


def ending(kind, **changes):
    return event(f"response.{kind}", response=response_body(kind, **changes))


TOLD = {"reasoning_tokens": 2}
ENDS = {
    "completed": (ending("completed"), {"usage": (12, 5, 17), **TOLD}),
    "incomplete": (
        ending("incomplete", incomplete_details={"reason": "max_output_tokens"}),
        {"usage": (12, 5, 17), "status": "incomplete", **TOLD},
    ),
    "failed": (
        ending("failed", error={"code": "server_error", "message": "sorry"}),
        {"usage": (12, 5, 17), "status": "failed", "error": "server_error", **TOLD},
    ),
    "failed without usage": (
        ending("failed", error={"code": "rate_limit_exceeded", "message": "sorry"}, usage=None),
        {"usage": None, "status": "failed", "error": "rate_limit_exceeded"},
    ),
}


@pytest.mark.parametrize(("last", "expected"), ENDS.values(), ids=ENDS)
def test_response_stream_has_usage_and_status_of_its_last_event(play, last, expected):
    """A response stream is one record with the usage and the status of its last event."""
    play(read_response, typed(CREATED, DELTA, last)).counts(row("responses", RESPONSE_MODEL, **expected, stream=True))


def test_full_response_stream_is_one_record(play):
    """A stream that is truncated at its length is incomplete."""

    async def scenario(api):
        await api.read(await respond(api))
        await api.read(await respond(api, model="gpt-4o-mini", max_output_tokens=16))

    play(scenario).counts(
        row("responses", RESPONSE_MODEL, Said(0), stream=True),
        row("responses", CHAT_MODEL, Said(1), status="incomplete", stream=True),
    )


def test_error_event_in_a_response_stream_is_one_record(play):
    """An error event in a response stream is one record that names the error."""

    async def scenario(api):
        try:
            await api.read(await respond(api))
        except openai.APIError as error:  # SDKs differ in whether they raise it
            api.see(error)

    last = event("error", code="server_error", message="sorry", param=None)
    (call,) = play(scenario, typed(CREATED, last)).calls
    assert (call.status, call.error_type) in (("failed", "server_error"), ("error", "APIError"))
    assert (call.model, call.usage_source) == (RESPONSE_MODEL, "none")


def test_response_stream_without_its_last_event_is_estimated(play):
    """A response stream whose connection ends in peace, but too early, is one record with estimated tokens."""
    (call,) = play(read_response, typed(CREATED, DELTA)).calls
    assert (call.endpoint, call.model, call.usage_source) == ("responses", RESPONSE_MODEL, "tiktoken")


def test_broken_response_stream_is_one_record_with_the_error(play):
    """A response stream whose connection breaks is one record with the error."""

    async def scenario(api):
        await api.fail(api.read, await respond(api))

    play(scenario, typed(CREATED, DELTA, CUT)).counts(
        row("responses", RESPONSE_MODEL, None, status="error", error="raised", stream=True)
    )


def test_response_stream_abandoned_after_its_last_event_is_complete(play):
    """A response stream that is left right after its last event is whole."""

    async def scenario(api):
        stream = await respond(api)
        for _ in range(3):
            await api.next(stream)
        await api.close(stream)

    play(scenario, typed(CREATED, DELTA, ending("completed"))).counts(
        row("responses", RESPONSE_MODEL, (12, 5, 17), stream=True, **TOLD)
    )


def test_abandoned_response_stream_is_one_aborted_record(play):
    """A response stream that is left early is one record: aborted, with the model and the id of its first event."""

    async def scenario(api):
        stream = await respond(api)
        await api.next(stream)
        await api.close(stream)

    played = play(scenario, typed(CREATED, DELTA, ending("completed"))).counts(
        row("responses", RESPONSE_MODEL, None, status="aborted", stream=True)
    )
    assert played.calls[0].response_id == "resp_1"


def test_text_deltas_reach_the_caller(play):
    """The text that a program puts together from the deltas is the text of the answer."""

    async def scenario(api):
        stream = await opened(api)
        text = ""
        async for item in _all(stream):
            text += (item.choices[0].delta.content or "") if item.choices else ""
        api.see(text)

    played = play(scenario).counts(row(stream=True))
    chunks = [json.loads(line[6:]) for line in played.said[0].splitlines() if line.startswith(b"data: {")]
    assert played.log == ["".join(one["choices"][0]["delta"].get("content") or "" for one in chunks if one["choices"])]


async def _all(stream):
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


@pytest.mark.skipif(VERSION >= (2, 54), reason="newer SDKs close a stream that is broken off")
def test_abandoned_streams_stay_open_as_in_the_bare_sdk(play):
    """Where the SDK leaves an abandoned stream open, the meter leaves it open too."""

    async def scenario(api):
        stream = await opened(api)
        await api.read(stream, stop=1)
        api.see(stream.response.is_closed)
        await api.close(stream)

    assert play(scenario).counts(row(usage=None, status="aborted", stream=True)).log[-1] is False


def test_interleaved_streams_are_counted_apart(play):
    """Streams that are read in turns are told apart."""

    async def scenario(api):
        one, two = await opened(api), await opened(api, messages=[*HELLO, *HELLO])
        for _ in range(3):
            await api.next(one)
            await api.next(two)
        await api.read(two)
        await api.read(one)

    play(scenario).counts(row(usage=Said(1), stream=True), row(usage=Said(0), stream=True))


# --- what the meter leaves alone --------------------------------------------------------------------------------------


def one_client(stage):
    http = openai.DefaultHttpxClient(verify=False)
    return openai.OpenAI(base_url=stage.base_url, api_key="demo", max_retries=0, http_client=http)


def test_uninstall_during_a_stream_counts_it_to_its_end(stage):
    """A stream that is opened after uninstall is not counted."""
    stage.set()
    meter = openai_meter.install()
    with one_client(stage) as client:
        stream = client.chat.completions.create(**USAGE_STREAM)
        next(stream)
        openai_meter.uninstall()
        list(stream)
        list(client.chat.completions.create(**USAGE_STREAM))
    assert statuses(meter) == [("chat.completions", "ok", None, True, meter.totals.total_tokens)]
    assert meter.totals.total_tokens > 0


def test_stream_opened_before_install_is_not_counted(stage):
    """A stream that was opened before the meter was installed is not counted."""
    stage.set()
    with one_client(stage) as client:
        stream = client.chat.completions.create(**USAGE_STREAM)
        next(stream)
        meter = openai_meter.install()
        list(stream)
        assert meter.totals.calls == 0
        list(client.chat.completions.create(**USAGE_STREAM))
        assert meter.totals.calls == 1


def test_answers_can_be_copied_and_pickled(play):
    """Answers, chunks and the response of a finished stream can be copied and pickled as without the meter."""

    async def scenario(api):
        answer = await api.do(api.client.chat.completions.create(**CHAT))
        api.see(copy.deepcopy(answer), pickle.loads(pickle.dumps(answer)))
        stream = await opened(api)
        item = await api.next(stream)
        api.see(copy.copy(item), pickle.loads(pickle.dumps(item)))
        await api.read(stream)
        try:
            api.see(pickle.loads(pickle.dumps(stream.response)).status_code)
        except Exception as error:
            api.see(type(error))
        raw = await api.do(api.client.chat.completions.with_raw_response.create(**CHAT))
        api.see(pickle.loads(pickle.dumps(raw.http_response)).content)

    play(scenario).counts(row(usage=Said(0)), row(usage=Said(1), stream=True), row(usage=Said(2)))


def test_stream_in_a_closed_generator_is_one_aborted_record(play):
    """A stream inside a generator of the program, which is closed after two chunks, is one record: aborted."""

    async def scenario(api):
        stream = await opened(api)
        if api.is_async:

            async def passed():
                async with stream:
                    async for item in stream:
                        yield item

            items = passed()
            await api.next(items)
            await api.next(items)
            await items.aclose()
        else:

            def passed():
                with stream:
                    yield from stream

            items = passed()
            await api.next(items)
            await api.next(items)
            items.close()

    play(scenario).counts(row(usage=None, status="aborted", stream=True))


def test_stream_of_a_failed_loop_is_one_aborted_record(play):
    """The record is made when the program drops its own error."""

    async def scenario(api):
        kept = []

        async def work():
            async for _ in _all(await opened(api)):
                raise ZeroDivisionError

        try:
            await work()
        except ZeroDivisionError as error:
            kept.append(error)
        await api.collect()
        kept.clear()
        await api.collect()

    play(scenario).counts(row(usage=None, status="aborted", stream=True))


def test_stream_whose_response_lines_are_read_is_one_record(play):
    """A stream of which only the lines of its response are read is one record with its usage."""

    async def scenario(api):
        response = (await opened(api)).response
        await api.collect()  # the stream itself
        await api.read(response.aiter_lines() if api.is_async else response.iter_lines())

    play(scenario).counts(row(stream=True))


def test_collected_raw_stream_is_one_aborted_record(play):
    """A raw stream that is neither parsed nor read nor closed, and collected, is one record: aborted."""

    async def scenario(api):
        await api.do(api.client.chat.completions.with_raw_response.create(**USAGE_STREAM))
        await api.collect()

    play(scenario).counts(row(model="gpt-4o-mini", usage=None, status="aborted", stream=True))


def test_error_event_in_a_stream_read_as_lines_is_one_record(play):
    """A stream that is read line by line and tells an error is one record that names it."""

    async def scenario(api):
        async with api.within(api.client.chat.completions.with_streaming_response.create(**STREAM)) as response:
            await api.read(response.iter_lines())

    error = {"error": {"message": "overloaded", "type": "server_error", "code": None, "param": None}}
    play(scenario, streams(chunk("a"), error, done=False)).counts(
        row(usage=None, status="failed", error="server_error", stream=True)
    )


def test_post_parser_of_the_program_runs_once(play):
    """On the same value as without the meter."""

    async def scenario(api):
        seen = []

        def parser(parsed):
            seen.append(type(parsed))
            return parsed

        options = {"post_parser": parser}
        await api.get(api.client.post("/chat/completions", body=CHAT, cast_to=ChatCompletion, options=options))
        cls = (AsyncStream if api.is_async else Stream)[ChatCompletionChunk]
        more = {"cast_to": ChatCompletionChunk, "options": options, "stream": True, "stream_cls": cls}
        await api.read(await api.do(api.client.post("/chat/completions", body=USAGE_STREAM, **more)))
        api.see(seen)

    play(scenario).counts(row(usage=Said(0)), row(usage=Said(1), stream=True))


def test_stream_of_a_closed_client_is_one_record(stage, meter, slow, is_async):
    """A stream whose client is closed before its next chunk was sent is one record, of what reading it raised."""

    async def scenario(api):
        stream = await opened(api)
        await api.next(stream)
        await api.close(api.client)
        await api.fail(api.read, stream)

    api = act(stage, scenario, is_async=is_async)
    assert statuses(meter) == [("chat.completions", "error", api.error, True, 18)]


def test_timeout_in_a_stream_is_one_record_with_the_error(stage, meter, slow, is_async):
    """A stream whose next chunk takes longer than the timeout is one record with the error that was raised."""

    async def scenario(api):
        for seconds in (0.2, 2.0, 20.0):  # a busy machine may need more than the first for the first chunk
            client = api.client.with_options(timeout=seconds)
            try:
                stream = await api.do(client.chat.completions.create(**USAGE_STREAM))
                await api.next(stream)
                break
            except (openai.APITimeoutError, http_library().TimeoutException):
                meter.reset()
        await api.fail(api.read, stream)

    api = act(stage, scenario, is_async=is_async)
    assert statuses(meter) == [("chat.completions", "error", api.error, True, 18)]


def test_streams_of_many_threads_are_all_counted(stage, meter):
    """Streams that are read by many threads at once are all counted."""
    stage.set(live=True)
    with one_client(stage) as client, ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: len(list(client.chat.completions.create(**USAGE_STREAM))), range(32)))
    assert len(set(counts)) == 1
    assert (meter.totals.calls, meter.totals.unmeasured_calls, meter.pending) == (32, 0, ())
