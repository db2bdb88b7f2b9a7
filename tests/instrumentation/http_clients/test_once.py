"""With the SDK and all HTTP libraries watched, each call leaves one record, however they are nested."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from raw_traffic import metered

import openai_meter
from openai_meter.testing.fake_api.call_shapes import SHAPES
from openai_meter.testing.fake_api.handlers import json_answer
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer, Request
from openai_meter.testing.fake_api.server import DemoServer
from openai_meter.testing.fake_api.shape_runner import Shape, ShapeRunner

BODY: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Where is the archive?"}]}
STREAM = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
HEADERS = {"authorization": "Bearer demo"}
HTTPX: Any = openai._base_client.__dict__.get("httpx2") or openai._base_client.httpx
"""The library of this version of the SDK."""


@pytest.fixture
def server() -> Iterator[DemoServer]:
    """The local stand-in."""
    with DemoServer() as server:
        yield server


def records(meter: openai_meter.Meter) -> list[Any]:
    """What was recorded: endpoint, status and tokens of each call."""
    meter.settle()
    return [(call.endpoint, call.status, call.usage.total_tokens) for call in meter.calls]


ONCE = [("chat.completions", "ok", 44)]
"""The record of one call with these messages."""


@pytest.fixture(scope="module")
def runner() -> Iterator[ShapeRunner]:
    """The clients of the SDK."""
    with ShapeRunner() as runner:
        yield runner


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shape_of_the_sdk_with_all_libraries_watched_is_counted_by_the_sdk_alone(
    shape: Shape, runner: ShapeRunner
) -> None:
    """No call of the SDK is counted again by the library that sends it, sync or async."""
    meter = metered(http=True)
    for caller in runner.callers:
        if not caller.has(shape.needs) or (shape.sync_only and caller.is_async):
            continue
        before = len(meter.calls)
        result = runner.run(shape, caller)
        if len(meter.calls) - before < shape.records:  # a stream that was abandoned
            runner._run(caller, caller.collect())
        meter.settle()
        assert result.error is None
        assert len(meter.calls) - before == shape.records
    assert meter.internal_errors == 0


class OverRequests(HTTPX.BaseTransport):  # type: ignore[misc]
    """A transport that sends with requests, as programs with their own proxies have it."""

    def handle_request(self, request: Any) -> Any:
        requests = pytest.importorskip("requests", reason="requests is not installed: this is NOT tested")
        answer = requests.request(request.method, str(request.url), data=request.read(), headers=dict(request.headers))
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "transfer-encoding"}
        return HTTPX.Response(answer.status_code, headers=headers, content=answer.content)


def test_sdk_over_requests_over_urllib3_over_http_client_is_counted_once(server: DemoServer) -> None:
    """Four libraries that are watched send one call."""
    meter = metered(http=True)
    with OpenAI(
        base_url=server.base_url, api_key="demo", http_client=HTTPX.Client(transport=OverRequests(), verify=False)
    ) as client:
        client.chat.completions.create(**BODY)
        list(client.chat.completions.create(**STREAM))
    assert records(meter) == ONCE * 2


def test_async_sdk_over_aiohttp_is_counted_once(server: DemoServer) -> None:
    """The SDK's own aiohttp client sends by way of two libraries that are watched."""
    pytest.importorskip("httpx_aiohttp", reason="httpx_aiohttp is not installed: this is NOT tested")
    meter = metered(http=True)

    async def main() -> None:
        try:
            http_client = openai.DefaultAioHttpClient(trust_env=False)
        except RuntimeError as error:
            pytest.skip(str(error))
        async with AsyncOpenAI(base_url=server.base_url, api_key="demo", http_client=http_client) as client:
            await client.chat.completions.create(**BODY)
            assert [chunk async for chunk in await client.chat.completions.create(**STREAM)]

    asyncio.run(main())
    assert records(meter) == ONCE * 2


def test_task_that_outlives_the_call_it_was_begun_in_is_counted_for_itself(server: DemoServer) -> None:
    """A task inherits the context of the call that it was begun in; its own calls are others."""
    httpx = pytest.importorskip("httpx", reason="httpx is not installed: this is NOT tested")
    meter = metered(http=True)
    tasks: list[asyncio.Task[Any]] = []
    answered = asyncio.Event()

    async def later() -> None:
        await answered.wait()
        async with httpx.AsyncClient(verify=False) as client:
            await client.post(f"{server.base_url}/chat/completions", json=BODY, headers=HEADERS)

    async def begin(_: Any) -> None:
        tasks.append(asyncio.create_task(later()))

    async def main() -> None:
        hooks = {"request": [begin]}
        async with HTTPX.AsyncClient(verify=False, event_hooks=hooks) as http_client:
            client = AsyncOpenAI(base_url=server.base_url, api_key="demo", http_client=http_client)
            await client.chat.completions.create(**BODY)
            answered.set()
            await asyncio.gather(*tasks)

    asyncio.run(main())
    assert records(meter) == ONCE * 2


def test_calls_in_threads_of_all_kinds_are_counted_each_once(server: DemoServer) -> None:
    """The mark of one thread does not hide the calls of another."""
    requests = pytest.importorskip("requests", reason="requests is not installed: this is NOT tested")
    meter = metered(http=True)
    client = OpenAI(base_url=server.base_url, api_key="demo", http_client=HTTPX.Client(verify=False))
    start = threading.Barrier(8)

    def work(place: int) -> None:
        start.wait(60)
        for _ in range(5):
            if place % 2:
                client.chat.completions.create(**BODY)
            else:
                requests.post(f"{server.base_url}/chat/completions", json=BODY, headers=HEADERS)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    client.close()
    assert records(meter) == ONCE * 40


class Moving(LoopbackServer):
    """Redirects the first path to the API, once fails, and then answers."""

    def __init__(self, demo: DemoServer) -> None:
        super().__init__(self._reply)
        self.demo = demo
        self.requests_seen = 0

    def _reply(self, request: Request) -> Answer:
        self.requests_seen += 1
        if request.path.startswith("/old/"):
            return Answer(307, {"location": f"{self.url}/v1/chat/completions"})
        if self.requests_seen == 2:
            return json_answer({"error": {"message": "busy", "code": "overloaded"}}, 503)
        return self.demo.answer(request)


@pytest.mark.parametrize("library", ["httpx", "requests", "aiohttp", "urllib3"])
def test_redirect_is_followed_within_one_record(library: str, server: DemoServer) -> None:
    """Each send of the program is one record: an error, and then an answer, each behind a redirect."""
    package = pytest.importorskip(library, reason=f"{library} is not installed: this is NOT tested")
    meter = metered(http=True)
    with Moving(server) as moving:
        url = f"{moving.url}/old/chat/completions"

        async def by_aiohttp() -> int:
            async with package.ClientSession() as session, session.post(url, json=BODY, headers=HEADERS) as answer:
                await answer.read()
                status: int = answer.status
                return status

        def send() -> int:
            if library == "httpx":
                status = package.post(url, json=BODY, headers=HEADERS, follow_redirects=True, verify=False).status_code
            elif library == "requests":
                status = package.post(url, json=BODY, headers=HEADERS).status_code
            elif library == "aiohttp":
                status = asyncio.run(by_aiohttp())
            else:
                status = package.PoolManager().request("POST", url, json=BODY, headers=HEADERS).status
            return int(status)

        assert [send(), send()] == [503, 200]
        assert moving.requests_seen == 4
    assert records(meter) == [("chat.completions", "error", None), *ONCE]
    assert meter.calls[0].error_type == "InternalServerError"


def test_retries_of_urllib3_within_one_send_are_one_record(server: DemoServer) -> None:
    """What requests tries again through its adapter is one call, as the retries of the SDK are."""
    requests = pytest.importorskip("requests", reason="requests is not installed: this is NOT tested")
    retry = pytest.importorskip(
        "urllib3.util.retry", reason="urllib3.util.retry is not installed: this is NOT tested"
    ).Retry(1, status_forcelist=[503], allowed_methods=None)
    meter = metered(http=True)
    with Moving(server) as moving, requests.Session() as session:
        moving.requests_seen = 1
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        session.post(f"{moving.url}/v1/chat/completions", json=BODY, headers=HEADERS)
        assert moving.requests_seen == 3
    assert records(meter) == ONCE


def test_uninstall_restores_every_function_and_ends_counting(server: DemoServer) -> None:
    """The identical functions are there again, and clients made before the meter are counted while it is installed."""
    httpx = pytest.importorskip("httpx", reason="httpx is not installed: this is NOT tested")
    places = [(httpx.Client, "send"), (httpx.AsyncClient, "send"), (http.client.HTTPConnection, "request"),
              (http.client.HTTPConnection, "getresponse")]  # fmt: skip
    for module, owner, name in (
        ("requests", "Session", "send"), ("aiohttp", "ClientSession", "_request"),
        ("urllib3.connectionpool", "HTTPConnectionPool", "urlopen"),
    ):  # fmt: skip
        places.append(
            (getattr(pytest.importorskip(module, reason=f"{module} is not installed: this is NOT tested"), owner), name)
        )
    before = [vars(owner)[name] for owner, name in places]
    with httpx.Client(verify=False) as client:
        meter = metered(http=True)
        assert all(vars(owner)[name] is not found for (owner, name), found in zip(places, before, strict=True))
        client.post(f"{server.base_url}/chat/completions", json=BODY, headers=HEADERS)
        openai_meter.uninstall()
        assert all(vars(owner)[name] is found for (owner, name), found in zip(places, before, strict=True))
        client.post(f"{server.base_url}/chat/completions", json=BODY, headers=HEADERS)
    assert records(meter) == ONCE


def test_stream_that_is_read_across_uninstall_is_still_counted(server: DemoServer) -> None:
    """What was begun is counted to its end."""
    httpx = pytest.importorskip("httpx", reason="httpx is not installed: this is NOT tested")
    meter = metered(http=True)
    with (
        httpx.Client(verify=False) as client,
        client.stream("POST", f"{server.base_url}/chat/completions", json=STREAM, headers=HEADERS) as response,
    ):
        openai_meter.uninstall()
        response.read()
    assert records(meter) == ONCE


def test_connection_of_http_client_that_is_used_again_counts_each_answer(server: DemoServer) -> None:
    """Also one whose answer the program never requested."""
    meter = metered(http=True)
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    body, headers = json.dumps(BODY), {**HEADERS, "content-type": "application/json"}
    for _ in range(2):
        connection.request("POST", "/v1/chat/completions", body, headers)
        connection.getresponse().read()
    connection.request("POST", "/v1/chat/completions", body, headers)
    connection.close()
    del connection
    meter.settle()
    assert [call.status for call in meter.calls] == ["ok", "ok", "aborted"]
