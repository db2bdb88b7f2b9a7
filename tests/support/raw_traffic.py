"""Requests that the SDK makes, recorded with their answers, and played again over HTTP libraries without the SDK.

A shape of call is run once with the bare SDK, against the local stand-in, which keeps each request and the pieces of
its answer. From then on the same answers are given again, so that all that programs receive can be compared.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

import openai_meter
from openai_meter.testing.fake_api.loopback import Answer, Hangup, LoopbackServer, Request
from openai_meter.testing.fake_api.shape_runner import FaultyServer, Shape, ShapeRunner

_CONNECTION = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding"})
NO_TRIO = "trio is not installed: httpx on trio is NOT tested (eventlet cannot be imported beside it)"
_CUT = object()
"""A piece of an answer at which the server hangs up."""


class Exchange(NamedTuple):
    """A request, and what was answered."""

    request: Request
    answer: Answer
    pieces: list[Any]
    """The pieces of a streamed body; empty where the body was whole."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request that do not belong to its connection."""
        return {name: value for name, value in self.request.headers.items() if name not in _CONNECTION}

    @property
    def body(self) -> bytes:
        """All bytes of the answer."""
        whole = self.answer.body
        return whole if isinstance(whole, bytes) else b"".join(piece for piece in self.pieces if piece is not _CUT)

    @property
    def is_cut(self) -> bool:
        """Whether the connection breaks off in the answer."""
        return any(piece is _CUT for piece in self.pieces)

    def answer_again(self) -> Answer:
        """The same answer, for another request."""
        return self.answer._replace(body=_hanging_up(self.pieces)) if self.pieces else self.answer

    @property
    def url(self) -> str:
        """The path and the query of the request."""
        return self.request.path + (f"?{self.request.query}" if self.request.query else "")


class _Recording(FaultyServer):
    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[Exchange] = []
        self.again: list[Exchange] = []
        """What is answered again, before anything new is."""

    def _reply(self, request: Request) -> Answer:
        if self.again:
            return self.again.pop(0).answer_again()
        answer = super()._reply(request)
        pieces = [] if isinstance(answer.body, bytes) else list(_until_cut(answer.body))
        self.exchanges.append(Exchange(request, answer, pieces))
        return self.exchanges[-1].answer_again()


def _until_cut(body: Any) -> Iterator[Any]:
    try:
        yield from body
    except Hangup:
        yield _CUT


def _hanging_up(pieces: list[Any]) -> Iterator[bytes]:
    for piece in pieces:
        if piece is _CUT:
            raise Hangup
        yield piece


class Recorded(NamedTuple):
    """A shape as the SDK has sent it."""

    exchanges: tuple[Exchange, ...]
    calls: tuple[openai_meter.Call, ...]
    """The records of the SDK's calls, with the same answers."""


HOSTS = {"127.0.0.1": "openai"}


def metered(**settings: Any) -> openai_meter.Meter:
    """A meter that listens to the stand-in. It injects nothing into streams, as nothing can be into raw requests."""
    settings = {"hosts": HOSTS, "stream_usage": "never", "thresholds": False, **settings}
    return openai_meter.install(meter=openai_meter.Meter(), **settings)


@functools.lru_cache(maxsize=128)
def recorded(shape: Shape) -> Recorded:
    """What the SDK sends for a shape, what it is answered, and the records of that."""
    runner = ShapeRunner()
    server = _Recording()
    runner._server.close()
    runner._server = server
    for caller in runner.callers:
        caller.server = server
        caller.client = caller.new()
        caller.bound = caller.client.chat.completions.create
    with runner:
        caller = runner.callers[0]
        if not caller.has(shape.needs):
            pytest.skip(f"this version of openai has no {shape.needs}")
        runner.run(shape, caller)
        exchanges = tuple(server.exchanges)
        server.again = list(exchanges)
        meter = metered(http=False)
        runner.run(shape, caller)
        gc.collect()
        meter.settle()
        openai_meter.uninstall()
    return Recorded(exchanges, meter.calls)


class Tape(LoopbackServer):
    """A server that gives recorded answers again, each to the next request."""

    def __init__(self) -> None:
        super().__init__(self._next)
        self.answers: list[Exchange] = []
        self.received: list[Request] = []

    def _next(self, request: Request) -> Answer:
        self.received.append(request)
        return self.answers.pop(0).answer_again()


# --- the libraries ----------------------------------------------------------------------------------------------------


class Received(NamedTuple):
    """What a program was given by an HTTP library."""

    status: int
    body: bytes
    error: str | None = None
    """The type of the exception that ended the body."""


Player = Callable[[str, Exchange], Received]


def _reading(status: int, pieces: Any) -> Received:
    found = bytearray()
    try:
        for piece in pieces:
            found += piece
    except Exception as error:
        return Received(status, bytes(found), type(error).__name__)
    return Received(status, bytes(found))


async def _areading(status: int, pieces: Any) -> Received:
    found = bytearray()
    try:
        async for piece in pieces:
            found += piece
    except Exception as error:
        return Received(status, bytes(found), type(error).__name__)
    return Received(status, bytes(found))


def _httpx(library: str, *, streamed: bool) -> Player:
    def play(server: str, exchange: Exchange) -> Received:
        package = pytest.importorskip(library, reason=f"{library} is not installed: this is NOT tested")
        with package.Client(base_url=server, trust_env=False, verify=False) as client:
            given = {"content": exchange.request.body, "headers": exchange.headers}
            if streamed:
                with client.stream(exchange.request.method, exchange.url, **given) as response:
                    return _reading(response.status_code, response.iter_bytes())
            response = client.request(exchange.request.method, exchange.url, **given)
            return Received(response.status_code, response.content)

    return play


def _async_httpx(library: str, runner: str, *, streamed: bool) -> Player:
    def play(server: str, exchange: Exchange) -> Received:
        package = pytest.importorskip(library, reason=f"{library} is not installed: this is NOT tested")

        async def main() -> Received:
            async with package.AsyncClient(base_url=server, trust_env=False, verify=False) as client:
                given = {"content": exchange.request.body, "headers": exchange.headers}
                if streamed:
                    async with client.stream(exchange.request.method, exchange.url, **given) as response:
                        return await _areading(response.status_code, response.aiter_bytes())
                response = await client.request(exchange.request.method, exchange.url, **given)
                return Received(response.status_code, response.content)

        if runner == "trio":
            found: Received = pytest.importorskip("trio", reason=NO_TRIO).run(main)
            return found
        return asyncio.run(main())

    return play


def _aiohttp(*, streamed: bool) -> Player:
    def play(server: str, exchange: Exchange) -> Received:
        package = pytest.importorskip("aiohttp", reason="aiohttp is not installed: this is NOT tested")

        async def main() -> Received:
            async with (
                package.ClientSession() as session,
                session.request(
                    exchange.request.method, server + exchange.url, data=exchange.request.body, headers=exchange.headers
                ) as response,
            ):
                if streamed:
                    return await _areading(response.status, response.content.iter_any())
                return Received(response.status, await response.read())

        return asyncio.run(main())

    return play


def _requests(*, streamed: bool) -> Player:
    def play(server: str, exchange: Exchange) -> Received:
        package = pytest.importorskip("requests", reason="requests is not installed: this is NOT tested")
        with package.Session() as session:
            session.trust_env = False
            response = session.request(
                exchange.request.method, server + exchange.url, data=exchange.request.body, headers=exchange.headers,
                stream=streamed,
            )  # fmt: skip
            if streamed:
                return _reading(response.status_code, response.iter_content(None))
            return Received(response.status_code, response.content)

    return play


def _urllib3(*, streamed: bool) -> Player:
    def play(server: str, exchange: Exchange) -> Received:
        package = pytest.importorskip("urllib3", reason="urllib3 is not installed: this is NOT tested")
        with package.PoolManager(retries=False) as pool:
            response = pool.request(
                exchange.request.method, server + exchange.url, body=exchange.request.body, headers=exchange.headers,
                preload_content=not streamed,
            )  # fmt: skip
            if streamed:
                return _reading(response.status, response.stream())
            return Received(response.status, response.data)

    return play


def _http_client(server: str, exchange: Exchange) -> Received:
    connection = http.client.HTTPConnection(urlsplit(server).netloc)
    try:
        connection.request(exchange.request.method, exchange.url, exchange.request.body, exchange.headers)
        response = connection.getresponse()
        return _reading(response.status, iter(lambda: response.read(512), b""))
    finally:
        connection.close()


def _urllib(server: str, exchange: Exchange) -> Received:
    method, body = exchange.request.method, exchange.request.body
    request = urllib.request.Request(server + exchange.url, body or None, exchange.headers, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
            return _reading(response.status, response)
    except urllib.error.HTTPError as response:
        with response:
            return Received(response.code, response.read())


PLAYERS: Mapping[str, Player] = {
    "httpx": _httpx("httpx", streamed=False),
    "httpx, streamed": _httpx("httpx", streamed=True),
    "httpx2": _httpx("httpx2", streamed=False),
    "httpx2, streamed": _httpx("httpx2", streamed=True),
    "httpx, async": _async_httpx("httpx", "asyncio", streamed=False),
    "httpx, async, streamed": _async_httpx("httpx", "asyncio", streamed=True),
    "httpx2, async, streamed": _async_httpx("httpx2", "asyncio", streamed=True),
    "httpx, trio, streamed": _async_httpx("httpx", "trio", streamed=True),
    "aiohttp": _aiohttp(streamed=False),
    "aiohttp, streamed": _aiohttp(streamed=True),
    "requests": _requests(streamed=False),
    "requests, streamed": _requests(streamed=True),
    "urllib3": _urllib3(streamed=False),
    "urllib3, streamed": _urllib3(streamed=True),
    "http.client": _http_client,
    "urllib.request": _urllib,
}
"""Ways to send a request without the SDK. To add one, add a function that sends an exchange and returns what came."""

WHOLE_BODY = frozenset({"httpx", "httpx2", "httpx, async", "aiohttp", "requests", "urllib3"})
"""Those that read the body inside: where the connection breaks off, they raise."""
