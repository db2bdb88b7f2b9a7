"""The metering proxy: what passes through it is unchanged, and one record of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra [server] is not installed: the proxy is NOT tested")
import httpx
import openai
import websocket_server as on
from contract import got, inside
from openai import AsyncOpenAI, OpenAI

from openai_meter import Budget, Call, ConfigurationError, Meter
from openai_meter.server import proxy
from openai_meter.testing.fake_api.handlers import data_frames, event_answer, json_answer, typed_frames
from openai_meter.testing.fake_api.loopback import Answer, Hangup, LoopbackServer, Request
from openai_meter.usage import providers

MODEL = "gpt-5-mini"
CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}  # fmt: skip
CHUNKS = [
    {**CHAT, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    for choices, usage in (
        ([{"index": 0, "delta": {"content": "Hi."}, "finish_reason": "stop"}], None), ([], CHAT["usage"]),
    )
]  # fmt: skip
PIECE = {**CHUNKS[0], "choices": [{"index": 0, "delta": {"content": "Hi."}, "finish_reason": None}]}
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": MODEL, "output": [],
    "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
}  # fmt: skip
BODY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
HEADERS = {"openai-organization": "org-1", "openai-project": "proj_1", "x-request-id": "req_9"}
KEY = "sk-a-key-that-passes-through"


class Api(LoopbackServer):
    """The API behind the proxy; ``answer`` can be replaced."""

    def __init__(self) -> None:
        super().__init__(lambda request: self.answer(request))
        self.answer: Callable[[Request], Answer] = self.usual

    @staticmethod
    def usual(request: Request) -> Answer:
        """A chat, a response, or a transcription; each also as a stream."""
        if "/audio/" in request.path:
            return json_answer({"text": "Hi.", "usage": {"type": "duration", "seconds": 3}})
        stream = b'"stream":true' in request.body.replace(b" ", b"")
        if request.path.endswith("/responses"):
            answer = {"type": "response.completed", "sequence_number": 1, "response": RESPONSE}
            made = event_answer(typed_frames([answer])) if stream else json_answer(RESPONSE)
        else:
            made = event_answer(data_frames(CHUNKS)) if stream else json_answer(CHAT)
        return made._replace(headers={**made.headers, **HEADERS})


@pytest.fixture
def api() -> Iterator[Api]:
    """The API."""
    with Api() as made:
        yield made


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """The meter of the proxy; the API on this machine counts as OpenAI's."""
    monkeypatch.setattr(providers.Hosts, "known", {"127.0.0.1": "openai"})
    providers._known.clear()
    providers._providers.clear()
    return Meter()


@pytest.fixture
def server(api: Api, meter: Meter) -> Iterator[proxy.ProxyServer]:
    """The proxy."""
    with proxy.start(meter, port=0, upstream=f"{api.url}/v1") as made:
        yield made


def client_of(server: proxy.ProxyServer, **more: Any) -> OpenAI:
    """A client of the SDK that calls the proxy. This process itself meters nothing."""
    return OpenAI(api_key=KEY, base_url=server.base_url, max_retries=0, **more)


def recorded(meter: Meter, number: int = 1) -> list[Call]:
    """The records, once there are so many."""
    end = time.monotonic() + 60
    while len(meter.calls) < number and time.monotonic() < end:
        time.sleep(0.01)
    meter.settle()
    assert len(meter.calls) == number
    return [*meter.calls]


# --- what passes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["chat", "chat stream", "response", "response stream"])
def test_call_through_the_proxy_is_one_record(server: proxy.ProxyServer, api: Api, meter: Meter, way: str) -> None:
    """The program gets the answer, the API gets the key and the request, and the record has tokens and price."""
    with client_of(server) as client:
        stream = way.endswith("stream")
        if way.startswith("chat"):
            answer: Any = client.chat.completions.create(**BODY, stream=stream)
            said = [chunk.id for chunk in answer] if stream else [answer.id]
            assert said == ["chatcmpl-1"] * (2 if stream else 1)
        else:
            answer = client.responses.create(model=MODEL, input="Hello", stream=stream)
            assert [one.type for one in answer] == ["response.completed"] if stream else answer.id == "resp_1"
    (call,) = recorded(meter)
    chat = way.startswith("chat")
    assert (call.status, call.stream, call.model, call.provider) == ("ok", stream, MODEL, "openai")
    assert (call.usage.input_tokens, call.usage.output_tokens) == ((9, 2) if chat else (7, 3))
    assert (call.organization, call.project, call.request_id) == ("org-1", "proj_1", "req_9")
    assert call.cost is not None
    (request,) = api.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(call.to_dict())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "path", ["/chat/completions", "/models", "/files/file-1/content?x=%2F&y=a%20b", "/unknown/place"]
)
def test_bytes_pass_unchanged(server: proxy.ProxyServer, api: Api, path: str, compressed: bool) -> None:
    """Method, path, query, body and headers arrive as they were sent; so do status, headers and body of the answer."""
    body = gzip.compress(json.dumps(CHAT).encode()) if compressed else json.dumps(CHAT, indent=3).encode()
    headers = {
        "content-type": "application/json",
        "x-odd": "a, b",
        **({"content-encoding": "gzip"} if compressed else {}),
    }
    api.answer = lambda _: Answer(206, headers, body)
    sent = json.dumps(BODY, indent=1).encode()
    with httpx.Client() as client:
        request = client.build_request(
            "POST", f"{server.base_url}{path}", content=sent,
            headers={"content-type": "application/json", "authorization": "Bearer k", "accept-encoding": "gzip"},
        )  # fmt: skip
        response = client.send(request, stream=True)
        assert b"".join(response.iter_raw()) == body
    assert (response.status_code, response.headers["x-odd"]) == (206, "a, b")
    assert response.headers.get("content-encoding") == ("gzip" if compressed else None)
    (arrived,) = api.requests
    whole = f"{arrived.path}?{arrived.query}" if arrived.query else arrived.path
    assert (arrived.method, whole, arrived.body) == ("POST", f"/v1{path}", sent)
    assert {"authorization": "Bearer k", "accept-encoding": "gzip"}.items() <= arrived.headers.items()
    assert "via" not in arrived.headers


def test_only_billed_requests_leave_a_record(server: proxy.ProxyServer, api: Api, meter: Meter) -> None:
    """A list of models passes, and is not counted; a compressed answer is read."""
    packed = gzip.compress(json.dumps(CHAT).encode())
    api.answer = lambda request: (
        json_answer({"object": "list", "data": []})
        if request.path.endswith("/models")
        else Answer(200, {"content-type": "application/json", "content-encoding": "gzip"}, packed)
    )  # fmt: skip
    with client_of(server) as client:
        assert client.models.list().data == []
        assert client.chat.completions.create(**BODY).usage
    assert [call.usage.total_tokens for call in recorded(meter)] == [11]


def test_requests_are_attributed_by_headers(server: proxy.ProxyServer, api: Api, meter: Meter) -> None:
    """The headers of the proxy are taken off; each request has its own attribution."""
    headers = {
        "x-openai-meter-agent": "planner", "x-openai-meter-user": "u1", "x-openai-meter-session": "s1",
        "x-openai-meter-operation": "plan", "X-OpenAI-Meter-Tag-Team": "söuth",
    }  # fmt: skip
    with client_of(server) as client:
        client.chat.completions.create(**BODY, extra_headers={k: v for k, v in headers.items() if "Tag" not in k})
        client.chat.completions.create(**BODY, extra_headers={"x-openai-meter-tag-team": "south"})
        client.chat.completions.create(**BODY)
    first, second, third = recorded(meter, 3)
    assert (first.agent, first.operation, first.user, first.session) == ("planner", "plan", "u1", "s1")
    assert (dict(second.tags), second.agent) == ({"team": "south"}, None)
    assert (dict(third.tags), third.agent) == ({}, None)
    assert not [name for request in api.requests for name in request.headers if name.startswith("x-openai-meter")]


def test_upload_passes_as_it_comes(server: proxy.ProxyServer, api: Api, meter: Meter) -> None:
    """A file of several megabytes arrives byte for byte; the model that stands after it is in the record."""
    recording = bytes(range(256)) * 12_000
    with httpx.Client() as client:
        form = {"file": ("a.mp3", recording, "audio/mpeg")}
        request = client.build_request(
            "POST", f"{server.base_url}/audio/transcriptions", data={"model": "whisper-1"}, files=form
        )
        sent = request.read()
        at = sent.index(b'name="model"')
        mark = sent[: sent.index(b"\r\n")]
        field = mark + b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        assert at < 200
        moved = sent.replace(field, b"", 1).removesuffix(mark + b"--\r\n") + field + mark + b"--\r\n"
        for body in (sent, moved):

            def pieces(body: bytes = body) -> Iterator[bytes]:
                for start in range(0, len(body), 100_000):
                    yield body[start : start + 100_000]

            headers = {"content-type": request.headers["content-type"]}
            assert client.post(str(request.url), content=pieces(), headers=headers).json()["text"] == "Hi."
    assert [one.body for one in api.requests] == [sent, moved]
    assert [(call.model, call.usage.seconds, call.status) for call in recorded(meter, 2)] == [
        ("whisper-1", 3.0, "ok")
    ] * 2


def test_stream_is_passed_on_piece_by_piece(server: proxy.ProxyServer, api: Api, meter: Meter) -> None:
    """The first event arrives before the API has made the second one."""
    arrived = threading.Event()

    def frames() -> Iterator[bytes]:
        frames = [*data_frames(CHUNKS)]
        yield frames[0]
        assert arrived.wait(60)
        yield from frames[1:]

    api.answer = lambda _: event_answer(frames())
    with client_of(server) as client:
        stream = client.chat.completions.create(**BODY, stream=True)
        next(stream)
        arrived.set()
        assert len([*stream]) == 1
    (call,) = recorded(meter)
    assert call.time_to_first_token is not None
    assert call.usage_source == "api"


def test_many_streams_run_at_once(server: proxy.ProxyServer, api: Api, meter: Meter) -> None:
    """Five hundred streams are open at the same time, and each ends with its record."""
    number = 500
    opened = threading.Semaphore(0)
    release = threading.Event()

    def frames() -> Iterable[bytes]:
        made = [*data_frames(CHUNKS)]
        yield made[0]
        opened.release()
        assert release.wait(120)
        yield from made[1:]

    api.answer = lambda _: event_answer(frames())

    async def play() -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=120) as client:

            async def one() -> int:
                async with client.stream(
                    "POST", f"{server.base_url}/chat/completions", json={**BODY, "stream": True}
                ) as answer:
                    return len(b"".join([data async for data in answer.aiter_bytes()]))

            tasks = [asyncio.create_task(one()) for _ in range(number)]
            for _ in range(number):
                assert await asyncio.to_thread(opened.acquire, timeout=120)
            release.set()
            assert len(set(await asyncio.gather(*tasks))) == 1

    asyncio.run(play())
    assert {call.status for call in recorded(meter, number)} == {"ok"}


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_error_of_the_api_is_passed_on(server: proxy.ProxyServer, api: Api, meter: Meter) -> None:
    """The program gets the same exception, and the record names it."""
    api.answer = lambda _: json_answer({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, 429)
    with client_of(server) as client, pytest.raises(openai.RateLimitError, match="slow down"):
        client.chat.completions.create(**BODY)
    (call,) = recorded(meter)
    assert (call.status, call.error_type) == ("error", "RateLimitError")


def test_unreachable_api_is_a_gateway_error(meter: Meter) -> None:
    """The answer is 502 in the form of OpenAI's errors, which the SDKs try again."""
    with proxy.start(meter, port=0, upstream="http://127.0.0.1:1/v1") as server, client_of(server) as client:
        with pytest.raises(openai.InternalServerError, match="cannot be reached") as caught:
            client.chat.completions.create(**BODY)
        assert caught.value.status_code == 502
        assert caught.value.code == "upstream_unreachable"
    (call,) = recorded(meter)
    assert (call.status, call.cost_status) == ("error", "free")


def test_answer_that_breaks_off_breaks_off(server: proxy.ProxyServer, api: Api, meter: Meter) -> None:
    """The client sees a broken connection, as without the proxy, and the record has what arrived."""

    def frames() -> Iterator[bytes]:
        yield next(iter(data_frames([PIECE])))
        raise Hangup

    api.answer = lambda _: event_answer(frames())
    with client_of(server) as client, pytest.raises((openai.APIConnectionError, httpx.HTTPError, Exception)) as caught:
        list(client.chat.completions.create(**BODY, stream=True))
    assert "peer closed connection" in f"{caught.value!r} {caught.value.__cause__!r}"
    (call,) = recorded(meter)
    assert (call.status, call.usage_source) == ("error", "tiktoken")


def test_client_that_leaves_ends_the_request(server: proxy.ProxyServer, api: Api, meter: Meter) -> None:
    """The API's answer is given up too, and the record is marked as aborted, with an estimate of what was sent."""
    over = threading.Event()

    def frames() -> Iterator[bytes]:
        try:
            while True:
                yield next(iter(data_frames([PIECE])))
                time.sleep(0.01)
        finally:
            over.set()

    api.answer = lambda _: event_answer(frames())
    with client_of(server) as client, client.chat.completions.create(**BODY, stream=True) as stream:
        next(iter(stream))
    assert over.wait(60)
    (call,) = recorded(meter)
    assert (call.status, call.estimated) == ("aborted", True)


def test_proxy_that_stops_leaves_aborted_records(api: Api, meter: Meter) -> None:
    """A stream that is open when the proxy ends breaks off for the client, and is recorded as aborted."""
    release = threading.Event()

    def frames() -> Iterator[bytes]:
        yield next(iter(data_frames([PIECE])))
        release.wait(60)

    api.answer = lambda _: event_answer(frames())
    server = proxy.start(meter, port=0, upstream=f"{api.url}/v1")
    with client_of(server) as client:
        stream = client.chat.completions.create(**BODY, stream=True)
        next(stream)
        server.stop(timeout=30)
        with pytest.raises(Exception, match=r"peer closed|incomplete|Connection|reset"):
            list(stream)
        release.set()
    (call,) = recorded(meter)
    assert call.status == "aborted"


def test_budget_refuses_with_an_answer_of_429(api: Api) -> None:
    """The body has the form of OpenAI's, the SDK does not try again, and nothing is sent."""
    meter = Meter(budgets=[Budget("one call", calls=1, per="user")])
    with proxy.start(meter, port=0, upstream=f"{api.url}/v1") as server:
        client = OpenAI(api_key=KEY, base_url=server.base_url, max_retries=3)
        headers = {"x-openai-meter-user": "u1"}
        client.chat.completions.create(**BODY, extra_headers=headers)
        recorded(meter)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**BODY, extra_headers=headers)
        assert (caught.value.code, caught.value.type) == ("budget_exceeded", "insufficient_quota")
        client.chat.completions.create(**BODY, extra_headers={"x-openai-meter-user": "u2"})
        client.close()
    assert len(api.requests) == 2


# --- who may use it ---------------------------------------------------------------------------------------------------


def test_proxy_with_a_token_refuses_requests_without_it(api: Api, meter: Meter) -> None:
    """The token is in a header of its own, which is taken off; the key of OpenAI is none."""
    with (
        proxy.start(meter, port=0, upstream=f"{api.url}/v1", token="a long token") as server,
        client_of(server) as client,
    ):
        for headers in ({}, {"x-openai-meter-token": "another token"}, {"authorization": "Bearer a long token"}):
            with pytest.raises(openai.AuthenticationError, match="x-openai-meter-token"):
                client.chat.completions.create(**BODY, extra_headers=headers)
        client.chat.completions.create(**BODY, extra_headers={"x-openai-meter-token": "a long token"})
    assert len(api.requests) == 1
    recorded(meter)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"host": "0.0.0.0"}, "set a token"),
        ({"token": "short"}, "8 printable"),
        ({"upstream": "api.openai.com"}, "not the base URL"),
        ({"upstream": "https://host/v1?key=1"}, "not the base URL"),
    ],
)
def test_unusable_setting_is_refused(meter: Meter, settings: dict[str, Any], text: str) -> None:
    """Nothing is served then."""
    with pytest.raises(ConfigurationError, match=text):
        proxy.start(meter, port=0, **settings)


def test_path_outside_the_api_is_not_found(server: proxy.ProxyServer, api: Api) -> None:
    """Only paths below ``/v1`` are passed on."""
    for path in ("/", "/v2/models", "/v1x"):
        assert httpx.get(f"{server.url}{path}").status_code == 404
    assert not api.requests


# --- WebSockets -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
@pytest.mark.parametrize("kind", on.CLIENTS, ids=["sync", "async"])
def test_realtime_turn_through_the_proxy_is_one_record(meter: Meter, kind: type[OpenAI | AsyncOpenAI]) -> None:
    """All messages pass in both directions, and the turn is counted with its usage."""
    with on.stage() as stage, proxy.start(meter, port=0, upstream=f"http://{stage.url}/v1") as server:
        stage.headers = {"openai-organization": "org-1"}
        stage.script = [on.session_created(), on.HEAR, on.begun(), on.words("Hello"), on.done()]
        base = server.base_url.replace("http://", "ws://")
        client: Any = kind(api_key=KEY, base_url=server.base_url, websocket_base_url=base)

        async def talk() -> list[str]:
            async with inside(on.REALTIME(client)) as connection:
                await got(connection.response.create())
                return [(await got(connection.recv())).type for _ in range(4)]

        assert asyncio.run(talk())[-1] == "response.done"
        (call,) = recorded(meter)
        assert [one["type"] for one in stage.heard] == ["response.create"]
    assert (call.endpoint, call.status, call.organization) == ("realtime", "ok", "org-1")
    assert call.usage.total_tokens


def test_refused_websocket_is_refused_by_the_proxy(api: Api, server: proxy.ProxyServer) -> None:
    """A handshake that the API answers with an error fails for the client too."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    api.answer = lambda _: json_answer({"error": {"message": "no"}}, 401)
    with (
        pytest.raises(InvalidStatus) as caught,
        contextlib.closing(connect(f"{server.base_url.replace('http', 'ws')}/realtime?model=m")),
    ):
        pass
    assert caught.value.response.status_code == 401
