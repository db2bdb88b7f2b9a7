"""Asking for the usage of streams in the caller's stead: what the caller sees, what the host sees, what is counted."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import time
from types import SimpleNamespace
from typing import Any, NamedTuple

import contract
import pytest
from contract import MODEL, chat
from openai import AsyncStream, Stream, UnprocessableEntityError

import openai_meter
from openai_meter.errors import ConfigurationError
from openai_meter.instrumentation import include_usage
from openai_meter.testing.fake_api.handlers import data_frames, event_answer, json_answer
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer

TOLD = {"prompt_tokens": 17, "completion_tokens": 6, "total_tokens": 23}
HOSTS = {"127.0.0.1": "openai"}


def delta(index: int = 0, finish: str | None = None, **parts: Any) -> dict[str, Any]:
    return {"index": index, "delta": parts, "logprobs": None, "finish_reason": finish}


def call_delta(index: int, **parts: Any) -> dict[str, Any]:
    return delta(tool_calls=[{"index": index, **parts}])


# What a stream consists of, without the usage: the choices of each chunk.
ANSWERS: dict[str, list[list[dict[str, Any]]]] = {
    "text": [
        [delta(role="assistant", content="")], [delta(content="Hel")], [delta(content="lo")], [delta(finish="stop")],
    ],
    "two choices": [
        [delta(0, role="assistant", content="")], [delta(1, role="assistant", content="")],
        [delta(0, content="A")], [delta(1, content="B")], [delta(1, finish="stop")], [delta(0, finish="length")],
    ],
    "tool calls": [
        [call_delta(0, id="call_1", type="function", function={"name": "look", "arguments": ""})],
        [call_delta(0, function={"arguments": '{"a"'})],
        [call_delta(0, function={"arguments": ": 1}"})],
        [call_delta(1, id="call_2", type="function", function={"name": "see", "arguments": "{}"})],
        [delta(finish="tool_calls")],
    ],
    "azure": [[], [delta(role="assistant", content="Hi")], [delta(finish="stop")], []],
    "nothing": [],
    "refusal": [[delta(refusal="No.")], [delta(finish="stop")]],
}  # fmt: skip


class Host(LoopbackServer):
    """A host of chat streams: what it makes of ``include_usage`` is its ``manner``."""

    def __init__(self, manner: str) -> None:
        super().__init__(self._answer_to)
        self.manner = manner
        self.refused: dict[str, Any] | None = None
        """What a request has to have for ``stream_options`` to be refused; ``None`` if they always are."""
        self.answer = ANSWERS["text"]
        self.base_url = ""

    def _answer_to(self, request: Any) -> Answer:
        body = request.json()
        requested = bool((body.get("stream_options") or {}).get("include_usage"))
        refuses = self.refused is None or self.refused.items() <= body.items()
        if "stream_options" in body and refuses and (refusal := REFUSALS.get(self.manner)):
            return json_answer(refusal[1], refusal[0])
        if self.manner == "busy" or body.get("model") == "wrong":
            return json_answer(
                {"error": {"message": "The prompt is not allowed here.", "type": "bad", "code": "x"}}, 400
            )
        requested = requested and self.manner != "ignores"
        return event_answer(data_frames(list(self._chunks(requested)), "\n"))

    def _chunks(self, requested: bool) -> Any:
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        growing = itertools.count(1)
        for choices in self.answer:
            chunk = {**base, "choices": choices}
            if self.manner == "on every chunk":
                made = next(growing)
                chunk["usage"] = {"prompt_tokens": 17, "completion_tokens": made, "total_tokens": 17 + made}
            elif requested:
                chunk["usage"] = None
            yield chunk
        if requested and self.manner != "on every chunk":
            yield {**base, "choices": [], "usage": TOLD}


REFUSALS: dict[str, tuple[int, Any]] = {
    "422": (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]}),
    "422 without a word": (422, {"error": {"message": "Unprocessable", "type": "invalid", "code": None}}),
    "400": (400, {"error": {"message": "Unknown parameter: include_usage", "type": "invalid", "code": None}}),
    "400 without a word": (400, {"error": {"message": "Bad request", "type": "invalid", "code": None}}),
}
MANNERS = ("takes it", "ignores", "on every chunk", *REFUSALS)
MODES: dict[str, dict[str, Any]] = {
    "auto": {"hosts": HOSTS},
    "named": {"stream_usage": ["127.0.0.1"]},
    "other host": {},
    "always": {"stream_usage": "always"},
    "never": {"hosts": HOSTS, "stream_usage": "never"},
}


class Seen(NamedTuple):
    """One chunk, as a program can look at it."""

    type: type
    shown: str
    json: str
    set_only: dict[str, Any]
    everything: dict[str, Any]
    fields: set[str]
    attributes: dict[str, Any]


def seen(chunk: Any) -> Seen:
    return Seen(
        type(chunk), repr(chunk), chunk.to_json(), chunk.to_dict(), chunk.model_dump(), set(chunk.model_fields_set),
        {name: value for name, value in vars(chunk).items() if name != "choices"},
    )  # fmt: skip


def read_each(host: Host, answers: list[Any], *, is_async: bool, **arguments: Any) -> list[list[Seen]]:
    """All chunks of one stream for each answer of the host, by one client."""
    if not is_async:
        with contract.sync_client(host) as client:
            read = []
            for host.answer in answers:
                stream = chat(client, stream=True, **arguments)
                assert type(stream) is Stream
                read.append([seen(chunk) for chunk in stream])
            return read

    async def main() -> list[list[Seen]]:
        async with contract.async_client(host) as client:
            read = []
            for host.answer in answers:
                stream = await chat(client, stream=True, **arguments)
                assert type(stream) is AsyncStream
                read.append([seen(chunk) async for chunk in stream])
            return read

    return asyncio.run(main())


def read(host: Host, *, is_async: bool, **arguments: Any) -> list[Seen]:
    """All chunks of one stream."""
    return read_each(host, [host.answer], is_async=is_async, **arguments)[0]


@pytest.fixture(params=["sync", "async"])
def is_async(request):
    return request.param == "async"


@pytest.fixture
def host(request):
    with Host(getattr(request, "param", "takes it")) as host:
        host.base_url = f"{host.url}/v1"
        yield host
        assert not host.faults


def every(name: str, values: Any, **more: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, values, ids=str, **more)


# --- what the caller sees ---------------------------------------------------------------------------------------------


@every("mode", MODES)
@every("host", MANNERS, indirect=True)
def test_chunks_equal_those_of_the_bare_stream(host, mode, is_async):
    """Types, fields set, order and number of the chunks are those without the meter, whatever the host does."""
    answers = list(ANSWERS.values())
    if host.manner == "on every chunk":  # without choices, such a chunk cannot be told from the answer to our question
        answers = [[choices for choices in answer if choices] for answer in answers]
    bare = read_each(host, answers, is_async=is_async)
    assert [len(chunks) for chunks in bare] == [len(answer) for answer in answers]
    meter = openai_meter.install(**MODES[mode])
    assert read_each(host, answers * 2, is_async=is_async) == bare * 2  # what is learnt of the host changes nothing
    assert meter.totals.calls == 2 * len(answers)
    assert not meter.internal_errors


def test_usage_chunk_that_the_caller_requested_is_passed_on(host, is_async):
    """A caller who requests usage gets its chunk, with and without the meter."""
    bare = read(host, is_async=is_async, stream_options={"include_usage": True})
    assert bare[-1].everything["usage"]["total_tokens"] == 23
    openai_meter.install(hosts=HOSTS)
    assert read(host, is_async=is_async, stream_options={"include_usage": True}) == bare


def test_stream_helper_has_the_events_of_the_bare_sdk(host):
    """``chat.completions.stream()`` has the same events and the same final completion."""

    def ask():
        with (
            contract.sync_client(host) as client,
            client.chat.completions.stream(model=MODEL, messages=contract.HELLO) as stream,
        ):
            events = [(event.type, event.to_dict()) for event in stream]
            return events, stream.get_final_completion().to_dict()

    bare = ask()
    meter = openai_meter.install(hosts=HOSTS)
    assert ask() == bare
    assert meter.totals.total_tokens == 23


def test_streaming_response_is_sent_and_read_unchanged(host):
    """``with_streaming_response`` reads bytes: no option is injected, and all bytes are the same."""

    def ask():
        with contract.sync_client(host) as client:
            create = client.chat.completions.with_streaming_response.create
            with create(model=MODEL, messages=contract.HELLO, stream=True) as response:
                return list(response.iter_lines()), [request.body for request in host.requests]

    bare = ask()
    host._requests.clear()
    meter = openai_meter.install(hosts=HOSTS)
    assert ask() == bare
    assert [(call.usage.total_tokens, call.usage_source) for call in meter.calls] == [(18, "tiktoken")]


def raw_stream(client, **arguments):
    """A stream of ``with_raw_response`` that has not been parsed; awaitable for an async client."""
    return client.chat.completions.with_raw_response.create(
        model=MODEL, messages=contract.HELLO, stream=True, **arguments
    )


async def in_one_way(host, read_sync, read_async, *, is_async):
    """What reading a raw stream gives, by a client of one kind."""
    if is_async:
        async with contract.async_client(host) as client:
            return await read_async(await raw_stream(client))
    with contract.sync_client(host) as client:
        return read_sync(raw_stream(client))


@every("host", MANNERS, indirect=True)
def test_parsed_raw_stream_has_injected_usage_and_unchanged_chunks(host, is_async):
    """Chunks that the SDK parses of ``with_raw_response`` are those of the bare stream; their usage is reported by the
    host.
    """

    async def parsed(raw):
        return [seen(chunk) async for chunk in raw.parse()]

    def ask():
        chunks = in_one_way(host, lambda raw: [seen(chunk) for chunk in raw.parse()], parsed, is_async=is_async)
        return asyncio.run(chunks)

    bare = ask()
    meter = openai_meter.install(hosts=HOSTS)
    assert ask() == bare
    (call,) = meter.calls
    assert call.usage_source == ("api" if host.manner in ("takes it", "on every chunk") else "tiktoken")
    assert call.status == "ok"


@every("size", [1, 7, 10_000])
@every("name", ANSWERS)
def test_bytes_of_a_raw_stream_equal_those_without_the_injected_option(host, name, size, is_async):
    """Where the program reads the bytes of ``with_raw_response``, the injected usage is removed from them."""
    host.answer = ANSWERS[name]

    async def pieces(raw):
        return b"".join([piece async for piece in raw.http_response.aiter_bytes(size)])

    def ask():
        read = in_one_way(host, lambda raw: b"".join(raw.http_response.iter_bytes(size)), pieces, is_async=is_async)
        return asyncio.run(read)

    bare = ask()
    meter = openai_meter.install(hosts=HOSTS)
    assert ask() == bare
    (call,) = meter.calls
    assert (call.usage.total_tokens, call.usage_source) == (23, "api")


def test_raw_stream_with_requested_usage_is_unchanged(host):
    """A caller who requested usage reads its event among the bytes."""
    openai_meter.install(hosts=HOSTS)
    with contract.sync_client(host) as client:
        raw = raw_stream(client, stream_options={"include_usage": True})
        assert b'"total_tokens":23' in raw.http_response.read().replace(b" ", b"")


@pytest.mark.parametrize(
    ("event", "visible"),
    [
        (b'data: {"id":"a","choices":[{"index":0}],"usage":null}\n\n', b'data: {"id":"a","choices":[{"index":0}]}\n\n'),
        (b'data: {"usage": null, "choices":[{"index":0}]}\r\n\r\n', b'data: {"choices":[{"index":0}]}\r\n\r\n'),
        (b'data: {"choices":[],"usage":{"total_tokens":2}}\n\n', b""),
        (b'data: {"choices":[],"usage":null}\n\n', b'data: {"choices":[]}\n\n'),
        (b'data: {"choices":[{"delta":{"content":",\\"usage\\":null"}}]}\n\n', None),
        (b'data: {"choices":[{"index":0}],"usage":{"total_tokens":2}}\n\n', None),
        (b'data: "usage"\n\n', None),
        (b': "usage" of a comment\n\n', None),
        (b'data: {"usage": not JSON\n\n', None),
        (b'data: {"choices":[],"usage":{"total_tokens":2}}', None),
    ],
    ids=["null", "null first", "answer", "null without choices", "text", "usage with choices", "word", "comment",
         "malformed", "not complete"],
)  # fmt: skip
def test_only_injected_usage_is_removed_from_the_bytes_of_an_event(event, visible):
    """The event with the injected usage is removed, and ``usage: null`` of others; all other bytes are unchanged."""
    for size in (1, 5, len(event)):
        reader = include_usage.UsageFilter()
        pieces = [reader.feed(event[start : start + size]) for start in range(0, len(event), size)]
        assert b"".join([*pieces, reader.end()]) == (event if visible is None else visible)


# --- what the host sees -----------------------------------------------------------------------------------------------


def sent(host: Host) -> list[Any]:
    return [request.json().get("stream_options") for request in host.requests]


ASKED = {"include_usage": True}


@pytest.mark.parametrize(
    ("settings", "given", "expected"),
    [
        ({"hosts": HOSTS}, None, ASKED),
        ({"hosts": {"127.0.0.1": "azure"}}, None, ASKED),
        ({"hosts": HOSTS}, {}, ASKED),
        ({"hosts": HOSTS}, {"include_obfuscation": False}, {"include_obfuscation": False, **ASKED}),
        ({"hosts": HOSTS}, {"include_usage": False}, {"include_usage": False}),
        ({"hosts": HOSTS}, ASKED, ASKED),
        ({"stream_usage": "always"}, {"include_usage": False}, ASKED),
        ({"stream_usage": "always"}, None, ASKED),
        ({"stream_usage": ["elsewhere.example"]}, None, None),
        ({"hosts": HOSTS, "stream_usage": "never"}, None, None),
        ({}, None, None),
    ],
    ids=str,
)
def test_include_usage_is_injected_only_where_it_is_allowed(host, settings, given, expected):
    """The request differs by ``include_usage`` only, for hosts that accept it; the dict of the caller is unchanged."""
    mine = copy.deepcopy(given)
    openai_meter.install(**settings)
    read(host, is_async=False, **({} if given is None else {"stream_options": given}))
    assert sent(host) == [expected]
    assert given == mine


def test_rest_of_an_injected_request_is_the_same(host, is_async):
    """Without ``stream_options``, the body that is sent is that of the caller, in its order."""
    read(host, is_async=is_async, temperature=0, user="u", extra_body={"mine": [1]})
    openai_meter.install(hosts=HOSTS)
    read(host, is_async=is_async, temperature=0, user="u", extra_body={"mine": [1]})
    bare, requested = (request.json() for request in host.requests)
    assert requested.pop("stream_options") == ASKED
    assert list(requested.items()) == list(bare.items())


def test_options_in_an_extra_body_are_completed_there(host):
    """``stream_options`` in ``extra_body`` keep their other fields."""
    extra = {"stream_options": {"include_obfuscation": False}}
    openai_meter.install(hosts=HOSTS)
    read(host, is_async=False, extra_body=extra)
    assert sent(host) == [{"include_obfuscation": False, "include_usage": True}]
    assert extra == {"stream_options": {"include_obfuscation": False}}


def test_plain_call_gets_no_injected_option(host):
    """The option is injected into streams only."""
    host.answer = []
    openai_meter.install(stream_usage="always")
    with contract.sync_client(host) as client:
        client.chat.completions.with_raw_response.create(model=MODEL, messages=contract.HELLO)
    assert sent(host) == [None]


# --- hosts that refuse ------------------------------------------------------------------------------------------------


@every("host", REFUSALS, indirect=True)
def test_refused_option_is_removed_and_not_injected_again(host, is_async):
    """After a 400 or 422 the request is sent once more without the option, and later requests are sent without it."""
    meter = openai_meter.install(stream_usage="always")
    for _ in range(3):
        assert len(read(host, is_async=is_async)) == 4
    assert sent(host) == [ASKED, None, None, None]
    assert [(call.status, call.usage_source, call.usage.total_tokens) for call in meter.calls] == [
        ("ok", "tiktoken", 18)
    ] * 3
    in_order = sorted(meter.calls, key=lambda call: call.started_at)
    assert [call.attempts for call in in_order] == [2, 1, 1]


PARTS: dict[str, dict[str, Any]] = {
    "a key": {"extra_body": {"search": {"index": 1}}},
    "a value's key": {"user": "u"},
    "a model": {"model": "without-options"},
}


@every("part", PARTS)
@every("host", REFUSALS, indirect=True)
def test_refusal_of_one_shape_does_not_stop_other_shapes_of_the_host(host, part, is_async):
    """If a host refuses the option together with a key or a model, only requests with these are sent without it."""
    given = PARTS[part]
    host.refused = given.get("extra_body", given)
    meter = openai_meter.install(stream_usage="always")
    for arguments in (given, {}, given, {}, given):
        assert len(read(host, is_async=is_async, **arguments)) == 4
    assert sent(host) == [ASKED, None, ASKED, None, ASKED, None]
    in_order = sorted(meter.calls, key=lambda call: call.started_at)  # estimates are recorded later
    assert [call.usage_source for call in in_order] == ["tiktoken", "api", "tiktoken", "api", "tiktoken"]


@every("host", ["400", "422"], indirect=True)
def test_refusal_after_an_acceptance_is_remembered_for_its_shape(host, is_async):
    """A host that has accepted the option may still refuse it by name for another shape."""
    host.refused = PARTS["a model"]
    openai_meter.install(stream_usage="always")
    for arguments in ({}, PARTS["a model"], {}, PARTS["a model"]):
        read(host, is_async=is_async, **arguments)
    assert sent(host) == [ASKED, ASKED, None, ASKED, None]


@every("host", ["400 without a word"], indirect=True)
def test_unclear_refusal_of_a_new_key_is_retried_without_the_option(host, is_async):
    """A key that the host has not accepted together with the option is sent again without the option."""
    host.refused = PARTS["a key"]["extra_body"]
    openai_meter.install(stream_usage="always")
    for arguments in ({}, PARTS["a key"], {}, PARTS["a key"]):
        assert len(read(host, is_async=is_async, **arguments)) == 4
    assert sent(host) == [ASKED, ASKED, None, ASKED, None]


@every("host", REFUSALS, indirect=True)
def test_refused_option_is_injected_again_after_ten_minutes(host, monkeypatch):
    """Hosts are updated, so a refusal does not last for ever."""
    now = time.monotonic()
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(include_usage, "time", clock)
    meter = openai_meter.install(stream_usage="always")
    read(host, is_async=False)
    now += 599
    read(host, is_async=False)
    assert sent(host) == [ASKED, None, None]
    host.manner = "takes it"
    now += 2
    read(host, is_async=False)
    read(host, is_async=False)
    assert sent(host)[3:] == [ASKED, ASKED]
    in_order = sorted(meter.calls, key=lambda call: call.started_at)
    assert [call.usage_source for call in in_order] == ["tiktoken", "tiktoken", "api", "api"]


@every("host", REFUSALS, indirect=True)
def test_host_that_refuses_three_shapes_gets_no_injected_option(host):
    """After three refused shapes, and none accepted, new shapes are not tried for ten minutes."""
    openai_meter.install(stream_usage="always")
    for number in range(6):
        read(host, is_async=False, extra_body={f"key{number}": 1})
    assert [options for options in sent(host) if options is not None] == [ASKED] * 3


@every("host", ["busy"], indirect=True)
def test_error_unrelated_to_the_option_is_raised_unchanged(host, is_async):
    """An error that the injected option did not cause is raised as by the bare client, and is one record."""

    def failure():
        with pytest.raises(Exception) as raised:
            read(host, is_async=is_async)
        error = raised.value
        return type(error), str(error), error.body, type(error.__context__), type(error.__cause__)

    bare = failure()
    meter = openai_meter.install(stream_usage="always")
    assert failure() == bare
    assert [(call.status, call.cost_status) for call in meter.calls] == [("error", "free")]


def test_bad_request_is_not_sent_to_openai_twice():
    """A 400 of OpenAI itself is a mistake of the program, and the request is not sent again."""
    requested = []

    def answer(request):
        requested.append(json.loads(request.content).get("stream_options"))
        return contract.http_library().Response(400, json={"error": {"message": "not allowed", "type": "bad"}})

    openai_meter.install()
    with contract.in_process(answer) as client, pytest.raises(Exception, match="not allowed"):
        chat(client.with_options(base_url="https://api.openai.com/v1"), stream=True)
    assert requested == [ASKED]


def test_bad_request_is_not_sent_twice_to_a_host_that_accepts_the_option(host):
    """A host that has accepted the option before has another reason for a 400."""
    openai_meter.install(stream_usage="always")
    read(host, is_async=False)
    with pytest.raises(Exception, match="not allowed"):
        read(host, is_async=False, model="wrong")
    assert len(host.requests) == 2


@every("host", ["422"], indirect=True)
def test_refusal_of_requested_usage_is_raised_unchanged(host):
    """If the caller requested usage, the refusal is raised."""
    openai_meter.install(stream_usage="always")
    with pytest.raises(UnprocessableEntityError):
        read(host, is_async=False, stream_options=ASKED)
    assert len(host.requests) == 1


# --- what is counted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "mode", "expected"),
    [
        ("takes it", "auto", (17, 6, "api")),
        ("takes it", "always", (17, 6, "api")),
        ("takes it", "never", (17, 1, "tiktoken")),
        ("takes it", "other host", (17, 1, "tiktoken")),
        ("ignores", "always", (17, 1, "tiktoken")),
        ("on every chunk", "never", (17, 4, "api")),
        ("on every chunk", "auto", (17, 4, "api")),
        ("422", "always", (17, 1, "tiktoken")),
    ],
    indirect=["host"],
)
def test_usage_of_a_stream_is_reported_or_estimated(host, mode, expected, is_async):
    """Reported usage counts, the last one where there are many; without it the usage is estimated and marked."""
    meter = openai_meter.install(**MODES[mode])
    read(host, is_async=is_async)
    (call,) = meter.calls
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage_source) == expected
    assert (call.cost_estimated, call.stream, call.status) == (expected[2] != "api", True, "ok")


def test_two_choices_and_tool_calls_are_estimated_together(host):
    """Every choice and every tool call of a stream is in its estimate."""
    meter = openai_meter.install(stream_usage="never")
    for name in ("two choices", "tool calls", "refusal"):
        host.answer = ANSWERS[name]
        read(host, is_async=False)
    one_each, calls, refusal = (call.usage.output_tokens for call in meter.calls)
    assert one_each == 2  # "A" and "B"
    assert refusal == 3  # "No", "." and the end of a refusal
    assert calls > 20  # the wrapper of parallel calls


def test_abandoned_stream_counts_the_chunks_that_were_read(host):
    """After two chunks of text, one output token was read; the input is counted as a whole."""
    host.answer = [[delta(content="Hello")], *([delta(content=" there")] for _ in range(20))]
    meter = openai_meter.install(hosts=HOSTS)
    with contract.sync_client(host) as client, chat(client, stream=True) as stream:
        for _ in range(3):
            next(stream)
    (call,) = meter.calls
    assert (call.status, call.usage_source) == ("aborted", "tiktoken")
    assert (call.usage.input_tokens, call.usage.output_tokens) == (17, 3)


def test_message_appended_during_a_stream_is_not_counted(host):
    """A program may append to its messages while it reads: the estimate is of the request as it was sent."""
    meter = openai_meter.install(stream_usage="never")
    messages = list(contract.HELLO)
    with contract.sync_client(host) as client:
        body = {"model": MODEL, "messages": messages, "stream": True}
        from openai.types.chat import ChatCompletionChunk

        kind = Stream[ChatCompletionChunk]
        stream = client.post("/chat/completions", cast_to=ChatCompletionChunk, body=body, stream=True, stream_cls=kind)
        next(stream)
        messages.append({"role": "assistant", "content": "something long " * 100})
        list(stream)
    assert meter.totals.input_tokens == 17


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["sometimes", 5, [1], True])
def test_wrong_stream_usage_setting_raises(wrong):
    """A setting that is neither a known word nor a list of hosts is a configuration error, and nothing is installed."""
    with pytest.raises(ConfigurationError, match="stream_usage"):
        openai_meter.install(stream_usage=wrong)
    assert openai_meter.instrumentation.listening.registry.installed is None


def test_stream_usage_setting_is_read_from_the_environment(host, monkeypatch):
    """``OPENAI_METER_STREAM_USAGE`` is used where the program passes no setting."""
    monkeypatch.setenv("OPENAI_METER_STREAM_USAGE", "always")
    openai_meter.install()
    read(host, is_async=False)
    assert sent(host) == [ASKED]


def test_only_a_usage_chunk_without_choices_is_removed():
    """A chunk with usage and no choices is the answer to the injected option; all others stay."""
    assert include_usage.strip_usage({"choices": [], "usage": TOLD})
    assert not include_usage.strip_usage({"choices": [delta(content="x")], "usage": TOLD})
    assert not include_usage.strip_usage({"choices": [], "usage": None})
    assert not include_usage.strip_usage({"choices": []})
    assert not include_usage.strip_usage("text")
