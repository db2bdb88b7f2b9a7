"""One request and its answer, on their way through the proxy: every byte as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from openai_meter.budgets.state import Budgeting
from openai_meter.core import faults
from openai_meter.instrumentation.seams import enter, leave
from openai_meter.metering.raw_call import AnswerReader, RawCall, begin_raw_call
from openai_meter.server.proxy.headers import Pairs, answer_headers, header
from openai_meter.server.proxy.messages import Client, Receive, error_answer
from openai_meter.server.proxy.upstream import Upstream
from openai_meter.usage.endpoints import find
from openai_meter.usage.request_bodies import request_fields

__all__ = ["Exchange"]

_DOCUMENT = 32 * 1024 * 1024
"""Bytes of a JSON request that are read before it is sent on: its fields are needed for the record."""
_UPLOAD = 256 * 1024
"""Bytes of another request that are read before: the rest of an upload is passed on as it comes."""
_END = 64 * 1024
"""Bytes at the end of an upload in which fields are looked for: some clients send them after the file."""


class BrokenAnswerError(Exception):
    """The answer of the API has broken off. The server then breaks off the client's connection too."""


class _ClientGoneError(Exception):
    """The client has closed its connection while it was sending."""


class _Request:
    """The body of a request: what was read of it before it was sent, and the rest as it comes."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self.start = b""
        self.end = b""
        """The last bytes of an upload."""
        self.complete = False

    async def read_start(self) -> None:
        """Reads the body, up to the limit."""
        pieces = []
        size = 0
        while size < self._limit and not self.complete:
            pieces.append(await self._next())
            size += len(pieces[-1])
        self.start = b"".join(pieces)

    async def stream(self) -> AsyncIterator[bytes]:
        """The whole body, the rest as the client sends it."""
        yield self.start
        while not self.complete:
            piece = await self._next()
            self.end = (self.end + piece)[-_END:]
            if piece:
                yield piece

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        self.complete = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body


class Exchange:
    """Passes one request on.

    Args:
        upstream: the API.
        method: the HTTP method.
        url: the URL of the API.
        headers: the headers to pass on.
        client: the connection of the client.
    """

    def __init__(self, upstream: Upstream, method: str, url: str, headers: Pairs, client: Client) -> None:
        self._upstream = upstream
        self._method = method
        self._url = url
        self._headers = headers
        self._receive, self._send = client
        self._call: RawCall | None = None
        self._left = False
        """Whether the client has closed its connection."""

    async def run(self) -> None:
        """Passes the request and the answer on. A client that leaves ends the request to the API too."""
        content_type = header(self._headers, b"content-type")
        is_form = content_type.lstrip()[:10].lower() == "multipart/"
        body = _Request(self._receive, _DOCUMENT if self._is_metered and not is_form else _UPLOAD)
        try:
            await body.read_start()
            self._call = self._begin(content_type, body.start)
            if await self._refuse():
                return
            await self._pass_on(body, content_type)
        except _ClientGoneError:
            self._abort()
        except asyncio.CancelledError:
            self._abort()
            task = asyncio.current_task()
            if not self._left or task is None:
                raise  # the server stops
            task.uncancel()

    @property
    def _is_metered(self) -> bool:
        return find(self._method, self._url) is not None

    def _begin(self, content_type: str, start: bytes) -> RawCall | None:
        try:
            call = begin_raw_call(
                self._method, self._url, content_type, start,
                listeners=(self._upstream.meter,), provider=self._upstream.provider, host=self._upstream.host,
            )  # fmt: skip
        except Exception as error:
            faults.caught(error, "beginning a call of the proxy")
            return None
        return call

    async def _refuse(self) -> bool:
        """Answers in place of the API where a budget does not admit the request."""
        call = self._call
        if call is None or call.request is None or not Budgeting.active:
            return False
        from openai_meter.instrumentation.budget_error import BudgetExceededError  # noqa: PLC0415 - with budgets only
        from openai_meter.instrumentation.budget_gate import admit_turn_async  # noqa: PLC0415

        try:
            await admit_turn_async(call, call.request)
        except BudgetExceededError as error:
            await error_answer(self._send, 429, error.message(), "budget_exceeded", "insufficient_quota")
            return True
        call.request = None
        return False

    async def _pass_on(self, body: _Request, content_type: str) -> None:
        content = body.start if body.complete else body.stream()
        watching = asyncio.current_task() if body.complete else None
        watcher = None if watching is None else asyncio.create_task(self._watch(watching))
        entered = enter()
        try:
            try:
                response = await self._upstream.send(self._method, self._url, self._headers, content)
            except self._upstream.library.HTTPError as error:
                self._finish(error)
                reason = str(error) or type(error).__name__
                await error_answer(self._send, 502, f"the API cannot be reached: {reason}", "upstream_unreachable")
                return
            finally:
                leave(entered)
            if not body.complete or body.end:
                self._complete_request(content_type, body)
            if watcher is None and (task := asyncio.current_task()) is not None and body.complete:
                watcher = asyncio.create_task(self._watch(task))
            try:
                await self._answer(response)
            finally:
                await response.aclose()
        finally:
            if watcher is not None:
                watcher.cancel()

    async def _watch(self, task: asyncio.Task[Any]) -> None:
        """Cancels the exchange when the client closes its connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        task.cancel()

    def _complete_request(self, content_type: str, body: _Request) -> None:
        """Reads the model of an upload that names it after its file."""
        call = self._call
        if call is not None and call.requested_model is None:
            model = request_fields(content_type, body.start + body.end).get("model")
            call.requested_model = model if isinstance(model, str) else None

    async def _answer(self, response: Any) -> None:
        raw = response.headers.raw
        reader = None
        if self._call is not None:
            self._call.open()
            self._call.answered(response.status_code, raw)
            reader = AnswerReader(self._call, header(raw, b"content-type"), header(raw, b"content-encoding"))
        start = {"type": "http.response.start", "status": response.status_code, "headers": answer_headers(raw)}
        await self._send(start)
        try:
            async for data in response.stream:
                if reader is not None:
                    reader.feed(data)
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except self._upstream.library.HTTPError as error:
            if reader is not None:
                reader.end(error)
            raise BrokenAnswerError(f"the answer of the API has broken off: {type(error).__name__}") from None
        except BaseException:
            if reader is not None:
                reader.closed()
            raise
        if reader is not None:
            reader.end()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _finish(self, error: BaseException) -> None:
        if self._call is not None:
            self._call.finish(error)

    def _abort(self) -> None:
        if self._call is not None:
            self._call.finish(whole=False)
