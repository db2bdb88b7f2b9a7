"""The iterators that stand in front of streams: what they show, how they are left, and what they read quickly."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import contract
import openai
import pytest
from openai._models import construct_type
from openai.types.chat import ChatCompletionChunk
from programs import PYTHON, execute
from replay import load

import openai_meter
from openai_meter.core.call import Call
from openai_meter.instrumentation import streams
from openai_meter.instrumentation.streams import EventReader, watch_events
from openai_meter.metering import container_sessions
from openai_meter.metering.call_in_flight import CallInFlight
from openai_meter.usage.endpoints import find

RECORDINGS = os.environ.get("OPENAI_METER_RECORDINGS", "")
REQUEST = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Where are the forms?"}], "stream": True}
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
TEXTS = [{**HEAD, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for text in "abc"]
LAST = {**HEAD, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}
TIMED = {"id", "started_at", "duration", "time_to_first_token", "price_book"}
COMPARED = [field.name for field in fields(Call) if field.name not in TIMED]


def events() -> list[Any]:
    """The chunks of a stream that reports its usage, as objects of the SDK."""
    return [construct_type(type_=ChatCompletionChunk, value=event) for event in (*TEXTS, LAST)]


class Response:
    """A response whose bytes cannot be watched."""

    stream = None


class FakeStream:
    """What the meter needs of a stream of the SDK."""

    def __init__(self, inner: Any) -> None:
        self.response = Response()
        self._iterator = inner


def watched(inner: Any, *, injected: bool = False, is_async: bool = False) -> tuple[FakeStream, openai_meter.Meter]:
    """A stream that a meter reads."""
    meter = openai_meter.Meter(thresholds=False)
    call = CallInFlight(
        find("POST", "/chat/completions"), (meter,), "openai", "api.openai.com", REQUEST, stream=True
    )  # fmt: skip
    stream = FakeStream(inner)
    watch_events(stream, call, is_async=is_async, injected=injected)
    return stream, meter


def outcomes(meter: openai_meter.Meter) -> list[tuple[str, str | None]]:
    """The status and the error of each record."""
    meter.settle()
    return [(call.status, call.error_type) for call in meter.calls]


def test_interrupt_anywhere_in_a_stream_leaves_one_record() -> None:
    """Wherever Ctrl-C comes while the meter looks at an event, the stream is one record, and is not open any more."""
    code, output, errors = execute([*PYTHON, "interrupted_streams.py"])
    assert (code, errors) == (0, b"")
    assert all(int(line) > 20 for line in output.split())


def test_iterator_closed_before_its_first_event_is_aborted() -> None:
    """A stream whose bytes cannot be watched, and that is never read, is one record."""
    stream, meter = watched(iter(events()))
    stream._iterator.close()
    assert outcomes(meter) == [("aborted", None)]


def test_collected_iterator_that_was_never_read_is_aborted() -> None:
    """The same where the program lets go of the stream."""
    stream, meter = watched(iter(events()))
    del stream
    gc.collect()
    assert outcomes(meter) == [("aborted", None)]


def test_closing_the_iterator_closes_the_one_behind_it() -> None:
    """What the SDK does at the end of its own generator is done at once."""
    closed = []

    def inner() -> Iterator[Any]:
        try:
            yield from events()
        finally:
            closed.append(True)

    stream, meter = watched(inner())
    next(stream._iterator)
    stream._iterator.close()
    assert closed == [True]
    assert outcomes(meter) == [("aborted", None)]


@pytest.mark.parametrize("kind", [openai.APIConnectionError, KeyboardInterrupt, GeneratorExit, ValueError])
def test_exception_of_an_iterator_reaches_the_program(kind: type[BaseException]) -> None:
    """The exception is the same object, and the call ends with it; after it, the stream has ended."""
    error = kind(request=None) if kind is openai.APIConnectionError else kind("mine")

    def inner() -> Iterator[Any]:
        yield events()[0]
        raise error

    stream, meter = watched(inner())
    next(stream._iterator)
    with pytest.raises(kind) as raised:
        next(stream._iterator)
    assert raised.value is error
    assert list(stream._iterator) == []
    status = "error" if issubclass(kind, Exception) else "aborted"
    assert outcomes(meter) == [(status, kind.__name__)]


def test_second_thread_in_one_stream_gets_the_error_of_the_bare_stream() -> None:
    """A generator runs in one thread at a time; the first thread reads on, and the call is whole."""
    waits, goes_on = threading.Event(), threading.Event()

    def inner() -> Iterator[Any]:
        waits.set()
        assert goes_on.wait(60)
        yield from events()

    stream, meter = watched(inner())
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(stream._iterator))
    thread.start()
    assert waits.wait(60)
    with pytest.raises(ValueError, match="generator already executing"):
        next(stream._iterator)
    goes_on.set()
    thread.join(60)
    assert len(found) == 4
    assert outcomes(meter) == [("ok", None)]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_injected_usage_is_hidden(is_async: bool) -> None:
    """Neither the chunk that answers the injected option is seen, nor the field that the others then have."""

    async def inner() -> AsyncIterator[Any]:
        for event in (*chunks, construct_type(type_=ChatCompletionChunk, value=LAST)):
            yield event

    chunks = [construct_type(type_=ChatCompletionChunk, value={**text, "usage": None}) for text in TEXTS]
    assert all("usage" in chunk.model_fields_set for chunk in chunks)
    last = construct_type(type_=ChatCompletionChunk, value=LAST)
    stream, meter = watched(inner() if is_async else iter([*chunks, last]), injected=True, is_async=is_async)

    async def read() -> list[Any]:
        return [event async for event in stream._iterator]

    assert (asyncio.run(read()) if is_async else list(stream._iterator)) == chunks
    assert not any("usage" in chunk.model_fields_set for chunk in chunks)
    assert outcomes(meter) == [("ok", None)]
    assert meter.calls[0].usage.total_tokens == 11


def test_async_iterator_has_the_methods_of_a_generator() -> None:
    """A program that closes the iterator itself, or throws into it, closes the one behind it."""

    async def inner() -> AsyncIterator[Any]:
        try:
            for event in events():
                yield event
        finally:
            closed.append(True)

    async def run() -> None:
        stream, meter = watched(inner(), is_async=True)
        await anext(stream._iterator)
        await stream._iterator.asend(None)
        await stream._iterator.aclose()
        assert closed == [True]
        stream, meter = watched(inner(), is_async=True)
        await anext(stream._iterator)
        with pytest.raises(ZeroDivisionError):
            await stream._iterator.athrow(ZeroDivisionError())
        del stream
        gc.collect()
        assert outcomes(meter) == [("aborted", None)]

    closed: list[bool] = []
    asyncio.run(run())


# --- text that is read quickly ----------------------------------------------------------------------------------------


@contextmanager
def no_quick_text() -> Iterator[None]:
    """Inside, each event is read by the folder of its endpoint."""
    begin = EventReader.__init__

    def begun(reader: EventReader, watcher: Any, *, injected: bool) -> None:
        begin(reader, watcher, injected=injected)
        reader.add_text = streams._no_text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventReader, "__init__", begun)
        yield


class Transport:
    """Answers with an event stream, to a client of OpenAI's own address."""

    def __init__(self) -> None:
        library = contract.http_library()
        self.body = b""

        def answer(_: Any) -> Any:
            return library.Response(200, content=self.body, headers={"content-type": "text/event-stream"})

        http = library.Client(transport=library.MockTransport(answer))
        self.client = openai.OpenAI(api_key="none", http_client=http, max_retries=0)

    def played(self, endpoint: str, request: dict[str, Any]) -> tuple[list[Any], list[Any]]:
        """What the program sees of a stream, and the record."""
        container_sessions._started.clear()  # each time is the first that uses the container
        meter = openai_meter.install(meter=openai_meter.Meter(thresholds=False, prices={}))
        kind = {"/chat/completions": ChatCompletionChunk, "/responses": openai.types.responses.ResponseStreamEvent}
        found: list[Any] = []
        try:
            stream = self.client.post(
                endpoint, cast_to=kind[endpoint], body=request, stream=True, stream_cls=openai.Stream[kind[endpoint]]
            )
            found.extend((event, getattr(event, "model_fields_set", None)) for event in stream)
        except Exception as error:
            found.append(type(error))
        meter.settle()
        openai_meter.uninstall()
        return found, [[getattr(call, name) for name in COMPARED] for call in meter.calls]


@pytest.mark.skipif(not RECORDINGS, reason="OPENAI_METER_RECORDINGS names no directory with recordings.jsonl")
@pytest.mark.parametrize("endpoint", ["/chat/completions", "/responses"])
@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.thorough)], ids=["sample", "all"])
def test_recorded_streams_leave_equal_records_without_the_fast_reading(endpoint: str, every: int) -> None:
    """What the program sees and what is recorded do not depend on how events with text are read."""
    transport = Transport()
    lines = [line for line in load(RECORDINGS) if line.endpoint == endpoint and line.stream and line.response_sse]
    assert lines
    for line in lines[::every]:
        transport.body = line.response_sse.encode()
        quick = transport.played(endpoint, line.request or {})
        with no_quick_text():
            assert quick == transport.played(endpoint, line.request or {}), line.id
        assert len(quick[1]) == 1, line.id
