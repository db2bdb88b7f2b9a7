"""Watches ``ClientSession._request`` of aiohttp, which all methods of a session end in.

aiohttp receives an answer into a ``StreamReader``, from which the program reads. What is received is read there, as it
arrives: aiohttp stops receiving where the program does not read. The class of that reader is replaced by one derived
from it, because it has no place for attributes of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any
from weakref import ReferenceType, ref

from openai_meter.core import faults
from openai_meter.instrumentation.http_clients.exchange import begin, provider_at, send_async
from openai_meter.metering.raw_call import AnswerReader, RawCall, read_whole
from openai_meter.usage.request_bodies import form_fields

__all__ = ["session_request"]


def session_request(wrapped: Callable[..., Any], session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``ClientSession._request``. It returns a coroutine, that of ``_request`` for other requests."""
    url = args[1] if len(args) > 1 else kwargs.get("str_or_url")
    if type(url) is str and "://" in url and provider_at(url) is None:
        return wrapped(*args, **kwargs)
    inflates = kwargs.get("auto_decompress")
    if inflates is None:
        inflates = getattr(session, "_auto_decompress", True)
    begin_call = partial(_begin, session, *args, **kwargs)
    return send_async(begin_call, wrapped, args, kwargs, partial(_read, inflates=inflates))


def _begin(session: Any, method: Any = "", str_or_url: Any = "", **kwargs: Any) -> RawCall | None:
    try:
        url = str(str_or_url)
        if "://" not in url and getattr(session, "_base_url", None) is not None:
            url = str(session._build_url(str_or_url))  # noqa: SLF001 - a path below the base URL of the session
        provider = provider_at(url)
        if provider is None:
            return None
        if kwargs.get("params"):
            url += f"?{_query(kwargs['params'])}"
        content_type = _content_type(kwargs.get("headers"))
        return begin(method, url, provider, content_type=content_type, body=_body(kwargs))
    except Exception as error:
        faults.caught(error, "beginning a call of aiohttp")
        return None


def _query(params: Any) -> str:
    if isinstance(params, str):
        return params
    return "&".join(f"{name}={value}" for name, value in dict(params).items())


def _content_type(headers: Any) -> str:
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return next((str(value) for name, value in pairs if str(name).lower() == "content-type"), "")


def _body(kwargs: dict[str, Any]) -> object:
    """The body of a request, or its fields, where they are in memory."""
    json = kwargs.get("json")
    if json is not None:
        return json
    data = kwargs.get("data")
    if isinstance(data, Mapping):
        return form_fields(data)
    fields = getattr(data, "_fields", None)  # of a FormData: for each field its name, headers and value
    if isinstance(fields, list):
        return form_fields({options["name"]: value for options, _, value in fields})
    return getattr(data, "_value", data)  # of a payload of bytes


def _read(call: RawCall, response: Any, *, inflates: bool) -> None:
    headers = response.headers
    call.answered(response.status, response.raw_headers)
    if response._body is not None:  # noqa: SLF001 - the session raises for statuses, or has a middleware
        read_whole(call, response._body, response.content_type)  # noqa: SLF001
        return
    encoding = "" if inflates else headers.get("content-encoding", "")
    reader = AnswerReader(call, headers.get("content-type", ""), encoding)
    content = response.content
    for data in getattr(content, "_buffer", ()):  # what has arrived with the headers
        reader.feed(bytes(data))
    if content.is_eof():
        reader.end()
        return
    call.open()
    _readers[id(content)] = reader, ref(response)
    kind: Any = type(content)
    content.__class__ = _watched_type(kind)


_readers: dict[int, tuple[AnswerReader, ReferenceType[Any]]] = {}
"""By the ``id()`` of a ``StreamReader``, until it has ended or is collected."""


@lru_cache(maxsize=8)
def _watched_type(kind: type[Any]) -> type[Any]:
    """A class of stream readers whose received bytes are read."""

    class Watched(kind):  # type: ignore[misc] # aiohttp's own class
        __slots__ = ()

        def feed_data(self, data: Any, *size: Any) -> Any:
            if (found := _readers.get(id(self))) is not None:
                found[0].feed(bytes(data))
            return super().feed_data(data, *size)

        def feed_eof(self) -> None:
            if (found := _readers.pop(id(self), None)) is not None:
                found[0].end()
            super().feed_eof()

        def set_exception(self, exc: BaseException, *cause: Any) -> None:
            if (found := _readers.pop(id(self), None)) is not None:
                reader, response = found
                # The program closed or dropped the response; otherwise it gets this error.
                left = response() is None or type(exc).__name__ == "ClientConnectionError"
                reader.closed() if left else reader.end(exc)
            super().set_exception(exc, *cause)

        def __del__(self) -> None:
            if (found := _readers.pop(id(self), None)) is not None:
                found[0].closed()

    Watched.__name__, Watched.__qualname__, Watched.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    return Watched
