"""Odd but real answers, and calls that fail: one record each, and the program sees what it saw without the meter."""

import gzip
import json
import socket
import threading

import openai
import pytest
from openai.types.chat import ChatCompletion
from shape_player import (
    CHAT,
    HELLO,
    RESPOND,
    RESPONSE_MODEL,
    STREAM,
    USAGE_STREAM,
    Said,
    act,
    chat_answer,
    chunk,
    error_body,
    row,
    sends,
    streams,
    usage,
)

import openai_meter
from openai_meter.testing.fake_api.handlers import data_frames, event_answer, json_answer
from openai_meter.testing.fake_api.loopback import Answer, Hangup

pytest_plugins = ("shape_player",)


async def chat(api):
    await api.get(api.client.chat.completions.create(**CHAT))


async def raw_chat(api):
    raw = await api.do(api.client.chat.completions.with_raw_response.create(**CHAT))
    api.see(type(raw), raw.text)


async def failing_chat(api):
    await api.fail(api.client.chat.completions.create, **CHAT)


async def read(api):
    await api.read(await api.do(api.client.chat.completions.create(**STREAM)))


async def read_lines(api):
    async with api.within(api.client.chat.completions.with_streaming_response.create(**STREAM)) as response:
        await api.read(response.iter_lines())


# --- odd whole answers ------------------------------------------------------------------------------------------------

TOLD = row(usage=(12, 5, 17))
SILENT = row(usage=None)
HUGE = 10**30

BODIES = {
    "usage null": (chat_answer(usage=None), SILENT),
    "no usage": (chat_answer(usage=...), SILENT),
    "usage empty": (chat_answer(usage={}), SILENT),
    "usage is a list": (chat_answer(usage=[1, 2]), SILENT),
    "usage is text": (chat_answer(usage="12"), SILENT),
    "usage of unknown words": (chat_answer(usage={"tokens": 5, "billed_units": {"a": 1}}), SILENT),
    "usage with text for counts": (
        chat_answer(usage={"prompt_tokens": "12", "completion_tokens": "5", "total_tokens": "17"}),
        TOLD,
    ),
    "usage with whole floats": (
        chat_answer(usage={"prompt_tokens": 12.0, "completion_tokens": 5.0, "total_tokens": 17.0}),
        TOLD,
    ),
    "usage with nulls": (
        chat_answer(usage={"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}),
        SILENT,
    ),
    "usage without a total": (chat_answer(usage={"prompt_tokens": 12, "completion_tokens": 5}), TOLD),
    "usage without an input": (
        chat_answer(usage={"completion_tokens": 5}),
        row(usage={"input_tokens": None, "output_tokens": 5, "total_tokens": 5}),
    ),
    "usage with details null": (
        chat_answer(usage={**usage(12, 5), "prompt_tokens_details": None, "completion_tokens_details": None}),
        TOLD,
    ),
    "usage with details of text": (chat_answer(usage={**usage(12, 5), "prompt_tokens_details": "none"}), TOLD),
    "usage with more words": (chat_answer(usage={**usage(12, 5), "cost": 0.1, "queue_time": 0.2}), TOLD),
    "usage in the words of responses": (
        chat_answer(usage={"input_tokens": 12, "output_tokens": 5, "total_tokens": 17}),
        TOLD,
    ),
    "usage of negative counts": (
        chat_answer(usage={"prompt_tokens": -1, "completion_tokens": -1, "total_tokens": -2}),
        SILENT,
    ),
    "huge counts": (chat_answer(usage=usage(HUGE, HUGE)), SILENT),
    "total that is no sum": (
        chat_answer(usage={**usage(12, 5), "total_tokens": 40}),
        row(usage=(12, 5, 40), inconsistent=True),
    ),
    "more reasoning than output": (
        chat_answer(usage={**usage(12, 5), "completion_tokens_details": {"reasoning_tokens": 9}}),
        row(usage=(12, 5, 17), reasoning_tokens=9, inconsistent=True),
    ),
    "more cached than input": (
        chat_answer(usage={**usage(12, 5), "prompt_tokens_details": {"cached_tokens": 99}}),
        row(usage=(12, 5, 17), cached_input_tokens=99, inconsistent=True),
    ),
    "choices null": (chat_answer(choices=None), TOLD),
    "no choices": (chat_answer(choices=...), TOLD),
    "choices empty": (chat_answer(choices=[]), TOLD),
    "no model": (chat_answer(model=...), TOLD._replace(model="gpt-4o-mini")),
    "model null": (chat_answer(model=None), TOLD._replace(model="gpt-4o-mini")),
    "model empty": (chat_answer(model=""), TOLD._replace(model="gpt-4o-mini")),
    "model is a number": (chat_answer(model=4), TOLD._replace(model="gpt-4o-mini")),
    "no id": (chat_answer(id=...), TOLD),
    "id null": (chat_answer(id=None), TOLD),
    "created 0": (chat_answer(created=0), TOLD),
    "content null": (
        chat_answer(choices=[{"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": None}]),
        TOLD,
    ),
    "usage of groq": (chat_answer(usage=..., x_groq={"id": "req_1", "usage": usage(12, 5)}), TOLD),
    "error object in a 200": (
        error_body("content", "server_error", "content_filter"),
        row(model="gpt-4o-mini", usage=None, status="failed", error="content_filter"),
    ),
    "error text in a 200": (
        {"error": "overloaded"},
        row(model="gpt-4o-mini", usage=None, status="failed", error="unknown_error"),
    ),
    "empty object": ({}, row(model="gpt-4o-mini", usage=None)),
}


@pytest.mark.parametrize("scenario", [chat, raw_chat])
@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES)
def test_answers_with_odd_usage_are_one_record_each(play, scenario, body, expected):
    """The record has the parts that are valid, and the program gets the answer as without the meter."""
    play(scenario, sends(body)).counts(expected)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"", "text/plain"),
        (b"<html>Welcome</html>", "text/html"),
        (b"[1, 2]", "application/json"),
        (b"null", "application/json"),
        (b'"usage"', "application/json"),
        (b'{"id": "x", "usage": {"prompt', "application/json"),
        (b"\xff\xfe\x00", "application/json"),
    ],
    ids=["empty", "empty text", "html", "list", "null", "text", "half", "no utf-8"],
)
def test_answer_that_is_not_a_json_object_is_one_record(play, body, kind):
    """A 200 with such a body has no usage of the API, and is not free."""

    async def scenario(api):
        try:
            await api.get(api.client.chat.completions.create(**CHAT))
        except Exception as error:
            api.see(error)

    played = play(scenario, sends(body, kind=kind))
    (call,) = played.calls
    assert (call.model, call.usage.output_tokens) == ("gpt-4o-mini", None)
    assert call.usage_source != "api"
    assert call.cost_status != "free"


def test_answer_without_content_is_one_record(play):
    """A 204 is one record with unknown tokens."""
    play(chat, lambda _: Answer(204)).counts(row(model="gpt-4o-mini", usage=None))


def test_usage_of_zeros_with_an_answer_is_estimated(play):
    """Zeros beside real output are no usage: it is estimated."""
    assert play(chat, sends(chat_answer(usage=usage(0, 0)))).counts(row(usage=None)).totals.input_tokens == 17


def test_usage_of_zeros_without_an_answer_stays_zero(play):
    """Zeros without any output are taken as reported."""
    play(chat, sends(chat_answer(choices=[], usage=usage(0, 0)))).counts(row(usage=(0, 0, 0)))


def test_json_with_another_content_type_is_read(play):
    """An answer of a type that merely ends in json is read, too."""
    script = sends(json.dumps(chat_answer()).encode(), kind="application/vnd.api+json; charset=utf-8")
    play(raw_chat, script).counts(TOLD)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/octet-stream"])
def test_raw_json_without_a_content_type_is_read(play, kind):
    """A raw answer is read as one that the SDK parses, whatever its content type says."""
    text = json.dumps(chat_answer()).encode()
    play(raw_chat, lambda _: Answer(200, {"content-type": kind} if kind else {}, text)).counts(TOLD)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/octet-stream"])
def test_json_without_a_content_type_is_read(play, kind):
    """An answer that the SDK parses is one record with its usage, whatever its content type says."""
    text = json.dumps(chat_answer()).encode()
    play(chat, lambda _: Answer(200, {"content-type": kind} if kind else {}, text)).counts(TOLD)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("scenario", [read, read_lines])
def test_stream_in_odd_pieces_is_one_record_with_its_usage(play, scenario, size):
    """Its bytes are split anywhere, in the middle of its line ends too."""
    whole = b"".join(data_frames([chunk("a"), chunk(finish="stop"), TOTAL], "\r\n"))
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    play(scenario, lambda _: event_answer(pieces)).counts(STREAMED)


ODD_PARTS = [
    {"choices": "x"},
    {"choices": [None, "x", 5]},
    {"choices": [{"finish_reason": ["x"]}]},
    {"id": 5, "service_tier": {}},
    {"usage": {"prompt_tokens": True, "completion_tokens": [1], "total_tokens": "9" * 5000}},
    {"usage": 5, "x_groq": "z"},
]


@pytest.mark.parametrize("part", ODD_PARTS, ids=[", ".join(part) + str(i) for i, part in enumerate(ODD_PARTS)])
def test_parts_of_the_wrong_type_change_neither_result_nor_record(play, part):
    """Parts of a wrong type, in an answer, a raw answer or a chunk, disturb neither the program nor the record."""

    async def scenario(api):
        await chat(api)
        await raw_chat(api)
        await read(api)
        await read_lines(api)

    def script(request):
        return (streams(chunk(**part)) if request.json().get("stream") else sends(chat_answer(**part)))(request)

    told = row(usage=None) if "usage" in part else TOLD
    play(scenario, script).counts(told, told, UNTOLD, UNTOLD)


def test_large_answer_read_as_bytes_has_its_usage(play):
    """A body too large to be kept is read at its ends, and the program gets all of it."""
    text = "words and more words " * 50_000
    message = {"role": "assistant", "content": text + '"usage": {"prompt_tokens": 1}'}
    body = chat_answer(choices=[{"index": 0, "message": message, "finish_reason": "stop"}])

    async def scenario(api):
        async with api.within(api.client.chat.completions.with_streaming_response.create(**CHAT)) as response:
            pieces = response.iter_bytes()
            # How the bytes are cut into pieces is up to the network.
            api.see(b"".join([piece async for piece in pieces] if api.is_async else list(pieces)))

    play(scenario, sends(body)).counts(TOLD)


def test_compressed_answer_has_its_usage(play):
    """A compressed whole answer is one record with its usage."""
    packed = gzip.compress(json.dumps(chat_answer()).encode())

    def script(_):
        return Answer(200, {"content-type": "application/json", "content-encoding": "gzip"}, packed)

    play(chat, script).counts(TOLD)


# --- odd streams ------------------------------------------------------------------------------------------------------

TEXT = [chunk("Hel"), chunk("lo"), chunk(finish="stop")]
TOTAL = chunk(choices=[], usage=usage(12, 5))
FIRST = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []}
STREAMED = row(usage=(12, 5, 17), stream=True)
UNTOLD = row(usage=None, stream=True)

STREAMS = {
    "usage at the end": (streams(*TEXT, TOTAL), STREAMED),
    "usage on the finish chunk": (streams(*TEXT[:2], chunk(finish="stop", usage=usage(12, 5))), STREAMED),
    "usage on every chunk": (
        streams(*(chunk("a", usage=usage(12, made)) for made in range(1, 5)), chunk(finish="stop", usage=usage(12, 5))),
        STREAMED,
    ),
    "usage null after it was told": (
        streams(chunk("a", usage=usage(12, 5)), chunk("b", usage=None), chunk(finish="stop", usage=None)),
        STREAMED,
    ),
    "usage null": (streams(*(chunk("a", usage=None) for _ in range(2)), chunk(finish="stop", usage=None)), UNTOLD),
    "content after the usage": (streams(*TEXT[:2], TOTAL, chunk("!"), TEXT[2]), STREAMED),
    "usage of groq": (
        streams(chunk("a", x_groq={"id": "req"}), chunk(finish="stop", x_groq={"id": "req", "usage": usage(12, 5)})),
        STREAMED,
    ),
    "strings for counts": (
        streams(
            *TEXT, chunk(choices=[], usage={"prompt_tokens": "12", "completion_tokens": "5", "total_tokens": "17"})
        ),
        STREAMED,
    ),
    "unknown usage": (streams(*TEXT, chunk(choices=[], usage={"units": 5})), UNTOLD),
    "choices null": (streams(TEXT[0], chunk(choices=None), TEXT[2], chunk(choices=None, usage=usage(12, 5))), STREAMED),
    "no choices": (streams(TEXT[0], chunk(choices=...), TEXT[2], TOTAL), STREAMED),
    "crlf": (streams(*TEXT, TOTAL, end="\r\n"), STREAMED),
    "no done": (streams(*TEXT, TOTAL, done=False), STREAMED),
    "no done, crlf": (streams(*TEXT, TOTAL, end="\r\n", done=False), STREAMED),
    "comments": (streams(b": keep-alive\n\n", TEXT[0], b": keep-alive\n\n", *TEXT[1:], b":\n\n", TOTAL), STREAMED),
    "no finish reason": (streams(*TEXT[:2], TOTAL), STREAMED),
    "no usage and no finish reason": (streams(*TEXT[:2]), UNTOLD),
    "first chunk of azure": (streams(FIRST, *TEXT, TOTAL), STREAMED),
    "no model": (
        streams(*(chunk("a", model=...) for _ in range(2)), chunk(choices=[], usage=usage(12, 5), model=...)),
        STREAMED._replace(model="gpt-4o-mini"),
    ),
    "model empty": (
        streams(chunk("a", model=""), chunk(finish="stop", model="")),
        UNTOLD._replace(model="gpt-4o-mini"),
    ),
    "no id": (streams(chunk("a", id=...), chunk(finish="stop", id=...), TOTAL), STREAMED),
    "only done": (streams(), UNTOLD._replace(model="gpt-4o-mini")),
    "nothing": (streams(done=False), UNTOLD._replace(model="gpt-4o-mini")),
    "stopped by a filter": (
        streams(TEXT[0], chunk(finish="content_filter"), TOTAL),
        STREAMED._replace(status="incomplete"),
    ),
    "extra chunks after the usage": (
        streams(*TEXT, TOTAL, chunk(choices=[], moderation={"flagged": False})),
        STREAMED,
    ),
}


@pytest.mark.parametrize("scenario", [read, read_lines])
@pytest.mark.parametrize(("script", "expected"), STREAMS.values(), ids=STREAMS)
def test_streams_with_odd_events_are_one_record_each(play, scenario, script, expected):
    """The record has the parts that are valid, whether the chunks or the lines are read."""
    play(scenario, script).counts(expected)


def test_stream_answered_with_json_is_one_record(play):
    """The program gets the same as without the meter."""

    async def scenario(api):
        try:
            await api.read(await api.do(api.client.chat.completions.create(**STREAM)))
        except Exception as error:
            api.see(error)

    played = play(scenario, sends(chat_answer()))
    assert len(played.calls) == 1


def test_stream_with_an_error_object_in_a_200_raises_and_is_one_record(play):
    """A stream that is an error object and nothing else raises the SDK's error and is one record."""

    async def scenario(api):
        await api.fail(api.read, await api.do(api.client.chat.completions.create(**STREAM)))

    play(scenario, streams(error_body("no"))).counts(
        row(model="gpt-4o-mini", usage=None, status="error", error="APIError", stream=True)
    )


def test_request_without_a_model_has_that_of_its_answer(play):
    """A request that names no model has that of its answer."""

    async def scenario(api):
        await api.get(api.client.post("/chat/completions", body={"messages": HELLO}, cast_to=ChatCompletion))

    (call,) = play(scenario, sends(chat_answer())).counts(TOLD).calls
    assert call.requested_model is None


# --- errors -----------------------------------------------------------------------------------------------------------

ERRORS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "InternalServerError",
    418: "APIStatusError",
}
FAILED = row(model="gpt-4o-mini", usage=None, status="error")


@pytest.mark.parametrize(("status", "name"), ERRORS.items())
def test_http_error_is_one_free_record(play, status, name):
    """A call that the API refuses raises the SDK's error and is one record with its class."""
    played = play(failing_chat, sends(error_body(), status=status)).counts(FAILED._replace(error_type=name))
    assert (played.totals.errors, played.totals.unmeasured_calls) == (1, 0)


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>Bad gateway</html>", "text/html"), (b"", "text/plain"), (b"{oops", "application/json"), (b"\xff", "x/y")],
    ids=["html", "empty", "half", "bytes"],
)
def test_error_that_is_not_json_is_one_record(play, body, kind):
    """An error whose body is no JSON is one record."""
    script = sends(body, status=502, kind=kind)
    play(failing_chat, script).counts(FAILED._replace(error_type="InternalServerError"))


def test_wrong_key_and_unknown_model_are_one_record_each(play):
    """A wrong key and an unknown model are one record each."""

    async def scenario(api):
        await api.fail(api.client.with_options(api_key="bad").chat.completions.create, **CHAT)
        await api.fail(api.client.chat.completions.create, model="no-such-model", messages=HELLO)
        await api.fail(api.client.embeddings.create, model="text-embedding-3-small", input=[])

    play(scenario).counts(
        FAILED._replace(error_type="AuthenticationError"),
        FAILED._replace(error_type="NotFoundError", model="no-such-model"),
        row("embeddings", "text-embedding-3-small", None, status="error", error="BadRequestError"),
    )


def test_refused_stream_is_one_record(play):
    """A stream that the API refuses is one record."""

    async def scenario(api):
        await api.fail(api.client.chat.completions.create, **USAGE_STREAM)

    play(scenario, sends(error_body(), status=429)).counts(FAILED._replace(error_type="RateLimitError", stream=True))


def test_refused_connection_is_one_free_record(play):
    """No server listens at the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"

        async def scenario(api):
            await api.fail(api.client.with_options(base_url=url).chat.completions.create, **CHAT)

        played = play(scenario).counts(FAILED._replace(error_type="APIConnectionError"))
    assert played.requests == []


def test_lost_connection_is_one_record(play):
    """A connection that breaks before there is an answer is one record: the request was sent, and may be billed."""

    def script(_):
        raise Hangup

    played = play(failing_chat, script, live=True)
    played.counts(row(model="gpt-4o-mini", usage=None, status="error", error="APIConnectionError"))
    assert [call.cost_status for call in played.calls] != ["free"]


def test_timeout_is_one_record(stage, is_async):
    """A call that takes longer than its timeout is one record."""
    go = threading.Event()
    stage.set(lambda _: go.wait(60) and None, live=True)
    meter = openai_meter.install()

    async def scenario(api):
        await api.fail(api.client.with_options(timeout=0.1).chat.completions.create, **CHAT)

    try:
        api = act(stage, scenario, is_async=is_async)
    finally:
        go.set()
    assert api.error == "APITimeoutError"
    assert [(call.status, call.error_type) for call in meter.calls] == [("error", "APITimeoutError")]


def test_request_that_cannot_be_built_raises_the_error_of_the_sdk(play):
    """A request that the SDK refuses to send raises as before, and nothing was sent."""

    async def scenario(api):
        await api.fail(api.client.chat.completions.create, model="gpt-4o-mini", messages=[{"content": object()}])

    assert play(scenario).requests == []


# --- retries ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch):
    """Retries of the SDK do not wait."""
    monkeypatch.setattr(openai._base_client.BaseClient, "_calculate_retry_timeout", lambda *_, **__: 0)


def refusals(*statuses):
    return sends(*(json_answer(error_body(), status) for status in statuses), json_answer(chat_answer()))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("statuses", [(500,), (429,), (500, 429), (408, 409, 503)])
def test_retries_inside_the_sdk_are_one_record(play, statuses):
    """A call that the SDK repeats until it succeeds is one record, with the usage of the last answer."""

    async def scenario(api):
        await api.get(api.client.with_options(max_retries=3).chat.completions.create(**CHAT))

    played = play(scenario, refusals(*statuses)).counts(TOLD)
    assert len(played.requests) == len(statuses) + 1


@pytest.mark.usefixtures("at_once")
def test_retries_that_all_fail_are_one_record(play):
    """A call that the SDK gives up after its retries is one record with the error."""

    async def scenario(api):
        await api.fail(api.client.with_options(max_retries=2).chat.completions.create, **CHAT)

    played = play(scenario, sends(error_body(), status=500)).counts(FAILED._replace(error_type="InternalServerError"))
    assert len(played.requests) == 3


@pytest.mark.usefixtures("at_once")
def test_retried_streams_and_raw_responses_are_one_record_each(play):
    """Streams and raw responses that the SDK repeats are one record each."""

    async def scenario(api):
        chats = api.client.with_options(max_retries=3).chat.completions
        raw = await api.do(chats.with_raw_response.create(**CHAT))
        api.see(raw.retries_taken, raw.text)
        await api.read(await api.do(chats.create(**USAGE_STREAM)))

    left = [500, 200, 429, 200]

    def script(request):
        status = left.pop(0)
        return json_answer(error_body(), status) if status != 200 else None

    played = play(scenario, script).counts(row(usage=Said(1)), row(usage=Said(3), stream=True))
    assert played.log[0] == 1


def test_responses_with_odd_usage_are_one_record_each(play):
    """A response with text for its counts, without a status, or with nothing in it, is one record."""
    body = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": RESPONSE_MODEL, "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    counted = {"input_tokens": "12", "output_tokens": 5, "total_tokens": 17}

    async def scenario(api):
        for _ in range(4):
            await api.get(api.client.responses.create(**RESPOND))

    script = sends(
        {**body, "usage": counted},
        {**body, "id": "resp_2", "usage": None, "status": None},
        {**body, "id": "resp_3", "model": "", "output": None, "usage": {}, "status": "completed"},
        {},
    )
    play(scenario, script).counts(
        row("responses", RESPONSE_MODEL, (12, 5, 17)),
        row("responses", RESPONSE_MODEL, None),
        row("responses", "gpt-5-mini", None),
        row("responses", "gpt-5-mini", None),
    )


def test_answers_with_the_same_id_are_counted_call_by_call(play):
    """Hosts that give all their answers one id are counted call by call."""

    async def scenario(api):
        for _ in range(3):
            await chat(api)

    play(scenario, sends(chat_answer(id="chatcmpl-same"))).counts(TOLD, TOLD, TOLD)
