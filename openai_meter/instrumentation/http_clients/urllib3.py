"""Watches ``HTTPConnectionPool.urlopen`` of urllib3, for programs that use it without requests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http.client import HTTPResponse
from typing import Any

from openai_meter.core import faults
from openai_meter.instrumentation.http_clients.exchange import begin, provider_at, send
from openai_meter.instrumentation.http_clients.files import watch_file, watch_response
from openai_meter.metering.raw_call import AnswerReader, RawCall
from openai_meter.usage.providers import known_provider

__all__ = ["urlopen", "watch_raw"]


def urlopen(wrapped: Callable[..., Any], pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``HTTPConnectionPool.urlopen``."""
    call = _begin(pool, *args, **kwargs)
    if call is None:
        return wrapped(*args, **kwargs)
    decoded = kwargs.get("decode_content", True)
    on_answer = partial(_read, decoded=decoded) if kwargs.get("preload_content", True) else watch_raw
    return send(call, wrapped, args, kwargs, on_answer)


def _begin(
    pool: Any, method: Any = "", url: Any = "", body: Any = None, headers: Any = None, *_: Any, **__: Any
) -> RawCall | None:
    try:
        is_path = "://" not in url[:9]  # to a proxy, the whole URL is sent
        provider = known_provider(pool.host) if is_path else provider_at(url)
        if provider is None:
            return None
        found = pool.headers if headers is None else headers
        content_type = next((value for name, value in found.items() if str(name).lower() == "content-type"), "")
        host = pool.host if is_path else None
        return begin(method, url, provider, content_type=str(content_type), body=body, host=host)
    except Exception as error:
        faults.caught(error, "beginning a call of urllib3")
        return None


def _read(call: RawCall, response: Any, *, decoded: bool) -> None:
    """Reads a response whose body is in memory."""
    reader = _reader(call, response, decoded=decoded)
    reader.feed(response.data or b"")
    reader.end()


def watch_raw(call: RawCall, response: Any) -> None:
    """Reads a response of urllib3 as the program reads it."""
    source = response._fp  # noqa: SLF001 - the one place that every way of reading it passes
    if isinstance(source, HTTPResponse):
        watch_response(source, call)
        return
    reader = _reader(call, response, decoded=False)
    if hasattr(source, "read"):
        response._fp = watch_file(source, reader)  # noqa: SLF001
    else:  # a response that was made from bytes
        reader.feed(response.data or b"")
        reader.end()


def _reader(call: RawCall, response: Any, *, decoded: bool) -> AnswerReader:
    headers = response.headers
    call.answered(response.status, [(name.encode(), value.encode()) for name, value in headers.items()])
    encoding = "" if decoded else headers.get("content-encoding", "")
    return AnswerReader(call, headers.get("content-type", ""), encoding)
