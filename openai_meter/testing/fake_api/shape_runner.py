"""Runs shapes of call with a client of each kind, and records what the program gets."""

import asyncio
import gc
import json
import re
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, NamedTuple, Self

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from openai_meter.testing.fake_api.handlers import json_answer
from openai_meter.testing.fake_api.loopback import Answer, Hangup, Request
from openai_meter.testing.fake_api.server import DemoServer
from openai_meter.testing.fake_api.steps import Steps

FAULT = "x-demo-fault"
"""The header of a request by which a shape requests a broken answer of :class:`FaultyServer`."""

_PATIENCE_S = 5.0
# Ids and times differ from server to server and from second to second; nothing else in an answer does.
_CHANGING = re.compile(r"[0-9a-f]{16}\d{8}|::\d{8}|\b1\d{9}\b")
_CHANGING_BYTES = re.compile(rb"[0-9a-f]{16}\d{8}|\b1\d{9}\b|--[0-9a-f]{32}")


class Shape(NamedTuple):
    """One way to call the API, written as a program would write it."""

    name: str
    """Its name, in reports too: it is never changed."""
    calls: Callable[["Caller"], Awaitable[None]]
    records: int = 1
    """The number of records that it leaves: one for each answer that costs money, none for what is free."""
    usage: str = "api"
    """Where the tokens come from: ``api``, ``estimate``, or ``none`` where they cannot be known."""
    needs: str = ""
    """The method of a client that it needs; older versions of the SDK lack some."""
    sync_only: bool = False


class FaultyServer(DemoServer):
    """The demo API, with broken answers where the header of a request asks for one."""

    def __init__(self) -> None:
        self.received: list[Request] = []
        """The requests since the list was last cleared."""
        super().__init__(self._disturbed)

    def _disturbed(self, request: Request) -> Answer | None:
        self.received.append(request)
        fault = request.headers.get(FAULT)
        if fault == "cut":
            answer = self.answer(request)
            return answer._replace(body=_cut(answer.body))
        if fault == "null":
            odd = {"id": "chatcmpl-odd", "object": "chat.completion", "choices": None, "usage": None}
            return json_answer(odd)
        if fault == "once" and len(self.received) == 1:
            error = {"error": {"message": "Try again.", "type": "server_error", "param": None, "code": None}}
            answer = json_answer(error, 500)
            return answer._replace(headers={**answer.headers, "retry-after-ms": "1"})
        return None


def _cut(body: bytes | Iterable[bytes]) -> Iterator[bytes]:
    for number, piece in enumerate([body] if isinstance(body, bytes) else body):
        if number == 4:
            raise Hangup
        yield piece


class Caller(Steps):
    """A client of one kind, and a log of what the program gets from it."""

    def __init__(self, server: FaultyServer, *, is_async: bool) -> None:
        self.server = server
        self.is_async = is_async
        self.log: list[Any] = []
        # The server is on this machine, so proxies of the environment must not be used.
        kind = openai.DefaultAsyncHttpxClient if is_async else openai.DefaultHttpxClient
        self._http: Any = kind(trust_env=False, timeout=_PATIENCE_S)
        self.client: Any = self.new()
        self.bound: Any = self.client.chat.completions.create

    def new(self, sync: type[Any] = OpenAI, asynchronous: type[Any] = AsyncOpenAI, **options: Any) -> Any:
        """A client of this kind; an option of ``None`` is left to the client."""
        given = {"base_url": self.server.base_url, "api_key": "demo", "max_retries": 0, **options}
        kind = asynchronous if self.is_async else sync
        return kind(http_client=self._http, **{name: value for name, value in given.items() if value is not None})

    def has(self, path: str) -> bool:
        """Whether this version of the SDK has a method."""
        found = self.client
        for name in path.split(".") if path else ():
            try:
                found = getattr(found, name, None)
            except Exception:
                return False
        return found is not None

    def see(self, value: Any) -> None:
        """Logs a value that the program gets."""
        self.log.append(shown(value))

    async def fail(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Calls something that raises, and logs the error."""
        try:
            await self.do(call(*args, **kwargs))
        except Exception as error:
            self.see(error)

    async def run(self, shape: Shape) -> None:
        """Makes the calls of a shape; raises errors that the shape does not expect."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # methods that openai has deprecated are counted too
            await shape.calls(self)

    async def collect(self) -> None:
        """Collects abandoned objects."""
        gc.collect()
        for _ in range(3 if self.is_async else 0):
            # An abandoned async generator is closed by a task of the loop, which is then the last to hold the stream.
            await asyncio.sleep(0)
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others, timeout=_PATIENCE_S)
            gc.collect()

    async def close(self) -> None:
        """Closes the connections."""
        await self.do(self._http.aclose() if self.is_async else self._http.close())


class ShapeResult(NamedTuple):
    """The result of the calls of a shape."""

    seen: list[Any]
    """The values that the program got."""
    sent: list[Any]
    """The requests that it made."""
    error: str | None
    """The exception that the shape did not expect."""


class ShapeRunner:
    """A sync and an async client of one server; shapes are run one after the other, in the calling thread."""

    def __init__(self) -> None:
        self._server = FaultyServer()
        self._runner = asyncio.Runner()
        self.callers = Caller(self._server, is_async=False), Caller(self._server, is_async=True)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for caller in self.callers:
            self._run(caller, caller.close())
        self._runner.close()
        self._server.close()

    def run(self, shape: Shape, caller: Caller) -> ShapeResult:
        """Runs a shape with one of the clients. Raises nothing."""
        caller.log = []
        self._server.received.clear()
        error = None
        try:
            self._run(caller, caller.run(shape))
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        return ShapeResult(caller.log, [sent(request) for request in self._server.received], error)

    def _run(self, caller: Caller, main: Coroutine[Any, Any, None]) -> None:
        if caller.is_async:
            self._runner.run(main)
            return
        try:
            main.send(None)  # nothing in it ever suspends
        except StopIteration:
            return
        finally:
            main.close()


def shown(value: Any) -> Any:
    """A value as it can be compared between two runs: its type and all that is in it, but no ids and times."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, BaseModel):
        return kind, _CHANGING.sub("#", repr(value)), sorted(value.model_fields_set)
    if isinstance(value, BaseException | str | int | float | dict | list | tuple | None):
        return kind, _CHANGING.sub("#", str(value))
    if isinstance(value, bytes):
        return kind, _CHANGING_BYTES.sub(b"#", value)
    return kind


def sent(request: Request) -> Any:
    """A request as it can be compared. Not compared is what openai_meter may add: ``stream_options``."""
    body: Any = _CHANGING_BYTES.sub(b"#", request.body)
    if b'"stream":true' in body.replace(b" ", b""):
        body = {name: value for name, value in json.loads(body).items() if name != "stream_options"}
    return request.method, _CHANGING.sub("#", request.path), request.query, body
