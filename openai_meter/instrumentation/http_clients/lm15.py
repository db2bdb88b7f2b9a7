"""Watches the transports of lm15, the HTTP client of dspy's default engine. It has its own HTTP/1.1 over sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from openai_meter.core import faults
from openai_meter.instrumentation.http_clients.exchange import begin, provider_at, send, send_async
from openai_meter.metering.raw_call import AnswerReader, RawCall

__all__ = ["async_stream", "sync_stream"]


def sync_stream(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``StdlibTransport.stream``."""
    call = _begin(args[0] if args else kwargs.get("request"))
    if call is None:
        return wrapped(*args, **kwargs)
    return send(call, wrapped, args, kwargs, _watch_sync)


def async_stream(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``StdlibAsyncTransport._do_stream``."""
    request = args[0] if args else kwargs.get("request")
    return send_async(lambda: _begin(request), wrapped, args, kwargs, _watch_async)


def _begin(request: Any) -> RawCall | None:
    try:
        provider = provider_at(request.url)
        if provider is None:
            return None
        content_type = _header(request, "content-type")
        return begin(request.method, request.url, provider, content_type=content_type, body=request.body)
    except Exception as error:
        faults.caught(error, "beginning a call of lm15")
        return None


def _header(message: Any, name: str) -> str:
    return next((value for key, value in message.headers if key.lower() == name), "")


def _reader(call: RawCall, response: Any) -> AnswerReader:
    call.answered(response.status, [(name.encode(), value.encode()) for name, value in response.headers])
    call.open()
    return AnswerReader(call, _header(response, "content-type"), _header(response, "content-encoding"))


class _Chunks:
    """The chunks of an answer, and their reader."""

    def __init__(self, chunks: Any, reader: AnswerReader) -> None:
        self._chunks = chunks
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        if name == "_chunks":  # while a copy is being made
            raise AttributeError(name)
        return getattr(self._chunks, name)

    def __del__(self) -> None:
        reader = self.__dict__.get("_reader")
        if reader is not None:
            reader.closed()


class _SyncChunks(_Chunks):
    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            data: bytes = next(self._chunks)
        except StopIteration:
            self._reader.end()
            raise
        except BaseException as error:
            self._reader.end(error)
            raise
        self._reader.feed(data)
        return data


class _AsyncChunks(_Chunks):
    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            data: bytes = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._reader.end()
            raise
        except BaseException as error:
            self._reader.end(error)
            raise
        self._reader.feed(data)
        return data


def _watch_sync(call: RawCall, response: Any) -> None:
    reader = _reader(call, response)
    release = response._release  # noqa: SLF001

    def released(*args: Any, **kwargs: Any) -> Any:
        reader.closed()
        return release(*args, **kwargs)

    response._release = released  # noqa: SLF001
    response._chunks = _SyncChunks(response._chunks, reader)  # noqa: SLF001


def _watch_async(call: RawCall, response: Any) -> None:
    reader = _reader(call, response)
    release = response._release  # noqa: SLF001

    async def released(*args: Any, **kwargs: Any) -> Any:
        reader.closed()
        return await release(*args, **kwargs)

    response._release = released  # noqa: SLF001
    response._chunks = _AsyncChunks(response._chunks, reader)  # noqa: SLF001
