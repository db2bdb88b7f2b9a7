"""What a record takes over from the headers of a response, in every way of calling."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import contract
import openai
import pytest
import websocket_server as on
from contract import got, inside

import openai_meter
from openai_meter.core.call import Call
from openai_meter.testing.fake_api.handlers import data_frames, event_answer, json_answer
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer, Request

SENT = {
    "openai-organization": "org-shop", "openai-project": "proj_search", "x-request-id": "req_77",
    "openai-processing-ms": "321", "x-ratelimit-remaining-requests": "4998", "x-ratelimit-remaining-tokens": "29000",
    "set-cookie": "session=do-not-keep", "x-ratelimit-limit-requests": "5000",
}  # fmt: skip
FIELDS = ("organization", "project", "request_id", "processing_ms", "remaining_requests", "remaining_tokens")
READ = ("org-shop", "proj_search", "req_77", 321, 4998, 29000)
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": contract.MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}  # fmt: skip
CHUNKS = [
    {**ANSWER, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    for choices, usage in (
        ([{"index": 0, "delta": {"content": "Hi."}, "finish_reason": "stop"}], None), ([], ANSWER["usage"]),
    )
]  # fmt: skip
BODY: dict[str, Any] = {"model": contract.MODEL, "messages": contract.HELLO}


class Api(LoopbackServer):
    """An API with headers; its first answers are errors."""

    def __init__(self) -> None:
        super().__init__(self._answer_to)
        self.errors: list[int] = []
        self.base_url = f"{self.url}/v1"

    def _answer_to(self, request: Request) -> Answer:
        if self.errors:
            answer = json_answer({"error": {"message": "no"}}, self.errors.pop(0))
            return answer._replace(headers={**answer.headers, **SENT, "retry-after-ms": "1"})
        answer = event_answer(data_frames(CHUNKS)) if request.json().get("stream") else json_answer(ANSWER)
        return answer._replace(headers={**answer.headers, **SENT})


@pytest.fixture
def api() -> Iterator[Api]:
    """The API."""
    with Api() as made:
        yield made


@pytest.fixture
def meter() -> openai_meter.Meter:
    """The process-wide meter; the API on this machine counts as OpenAI's."""
    return openai_meter.install(hosts={"127.0.0.1": "openai"})


def fields_of(call: Call) -> tuple[Any, ...]:
    """The fields that come from headers."""
    return tuple(getattr(call, name) for name in FIELDS)


def ask(client: Any, way: str) -> None:
    """One call, read to its end."""
    completions = client.chat.completions
    if way == "stream":
        assert list(completions.create(**BODY, stream=True))
    elif way == "raw":
        completions.with_raw_response.create(**BODY)
    elif way == "streaming":
        with completions.with_streaming_response.create(**BODY) as response:
            response.read()
    elif way == "post":
        client.post("/chat/completions", body=BODY, cast_to=object)
    else:
        completions.create(**BODY)


async def ask_async(client: Any, way: str) -> None:
    """The same for an async client."""
    completions = client.chat.completions
    if way == "stream":
        assert [chunk async for chunk in await completions.create(**BODY, stream=True)]
    elif way == "raw":
        await completions.with_raw_response.create(**BODY)
    elif way == "streaming":
        async with completions.with_streaming_response.create(**BODY) as response:
            await response.read()
    elif way == "post":
        await client.post("/chat/completions", body=BODY, cast_to=object)
    else:
        await completions.create(**BODY)


WAYS = pytest.mark.parametrize("way", ["plain", "raw", "stream", "streaming", "post"])


@WAYS
def test_record_has_the_headers_of_its_response(api: Api, meter: openai_meter.Meter, way: str) -> None:
    """Also where the first calls have warmed the quick path up; nothing else of the headers is kept."""
    with contract.sync_client(api) as client:
        for _ in range(3):
            ask(client, way)
            meter.settle()
    assert [fields_of(call) for call in meter.calls] == [READ] * 3
    assert "do-not-keep" not in repr([call.to_dict() for call in meter.calls])


@WAYS
def test_record_of_an_async_call_has_the_headers_of_its_response(api: Api, meter: openai_meter.Meter, way: str) -> None:
    """The same for an async client, several calls at once."""

    async def calls() -> None:
        async with contract.async_client(api) as client:
            await ask_async(client, way)
            await asyncio.gather(*(ask_async(client, way) for _ in range(4)))

    asyncio.run(calls())
    assert [fields_of(call) for call in meter.calls] == [READ] * 5


def test_record_of_a_failed_call_has_the_headers_of_the_error(api: Api, meter: openai_meter.Meter) -> None:
    """An error that the API answers with names the request too; one without a response names nothing."""
    with contract.sync_client(api) as client:
        ask(client, "plain")
        api.errors = [401]
        with pytest.raises(openai.AuthenticationError):
            ask(client, "plain")
        api.errors = [401]
        with pytest.raises(openai.AuthenticationError):
            ask(client, "stream")
    with contract.sync_client(api) as client:
        unreachable = client.with_options(base_url="http://127.0.0.1:1/v1", max_retries=0)
        with pytest.raises(openai.APIConnectionError):
            ask(unreachable, "plain")
    assert [fields_of(call) for call in meter.calls] == [READ, READ, READ, (None,) * 6]
    assert [call.status for call in meter.calls] == ["ok", "error", "error", "error"]


def test_record_of_a_retried_call_has_the_headers_of_the_last_response(api: Api, meter: openai_meter.Meter) -> None:
    """Each attempt has an id of its own: the record names the one that was answered, and counts all."""
    api.errors = [500, 500]
    with contract.sync_client(api) as client:
        ask(client.with_options(max_retries=3), "plain")
    (call,) = meter.calls
    assert (call.attempts, *fields_of(call)) == (3, *READ)


def test_headers_of_another_response_are_not_taken_over(api: Api, meter: openai_meter.Meter) -> None:
    """A call that is answered without these headers has none, whatever was answered before."""
    with contract.sync_client(api) as client:
        ask(client, "plain")
        ask(client, "plain")
        bare = {name: SENT.pop(name) for name in tuple(SENT)}
        try:
            ask(client, "plain")
        finally:
            SENT.update(bare)
    assert [fields_of(call) for call in meter.calls] == [READ, READ, (None,) * 6]


def test_totals_are_grouped_by_organization_and_project(api: Api, meter: openai_meter.Meter) -> None:
    """Both are dimensions; calls without them are unattributed."""
    with contract.sync_client(api) as client:
        for _ in range(3):
            ask(client, "plain")
        with contextlib.suppress(openai.APIConnectionError):
            ask(client.with_options(base_url="http://127.0.0.1:1/v1", max_retries=0), "plain")
    assert {name: one.calls for name, one in meter.by("project").items()} == {"proj_search": 3, "(unattributed)": 1}
    assert {key: one.calls for key, one in meter.by("organization", "model").items()} == {
        ("org-shop", contract.MODEL): 3, ("(unattributed)", contract.MODEL): 1,
    }  # fmt: skip


def test_call_with_headers_survives_json_and_copies(api: Api, meter: openai_meter.Meter) -> None:
    """The fields are in the JSON of a call, and come back from it."""
    with contract.sync_client(api) as client:
        ask(client, "plain")
        ask(client, "plain")
    call = meter.calls[-1]
    assert {name: call.to_dict()[name] for name in FIELDS} == dict(zip(FIELDS, READ, strict=True))
    assert fields_of(Call.from_dict(call.to_dict())) == READ
    assert fields_of(copy.deepcopy(call)) == READ


@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
@pytest.mark.parametrize("kind", on.CLIENTS, ids=["sync", "async"])
def test_turn_has_organization_and_project_of_its_handshake(meter: openai_meter.Meter, kind: type[Any]) -> None:
    """The rate limit of a handshake is not that of its turns, so it is not recorded."""
    with on.stage() as stage:
        stage.headers = {name: value for name, value in SENT.items() if name != "set-cookie"}
        stage.script = [on.session_created(), on.HEAR, on.begun(), on.words("Hello"), on.done()]

        async def talk() -> None:
            async with inside(on.REALTIME(stage.client(kind))) as connection:
                await got(connection.response.create())
                for _ in range(4):
                    await got(connection.recv())

        asyncio.run(talk())
    (call,) = meter.calls
    assert fields_of(call) == ("org-shop", "proj_search", "req_77", None, None, None)


@pytest.mark.parametrize("streamed", [False, True])
def test_call_of_an_http_library_has_the_headers_of_its_response(api: Api, streamed: bool) -> None:
    """A request that does not pass through the SDK has them in its record too."""
    meter = openai_meter.install(http=True, hosts={"127.0.0.1": "openai"})
    with openai.DefaultHttpxClient() as client:
        client.post(f"{api.base_url}/chat/completions", json={**BODY, "stream": streamed}).read()
    (call,) = meter.calls
    assert fields_of(call) == READ
