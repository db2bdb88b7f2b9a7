"""Watches ``HTTPConnection`` of the standard library's ``http.client``, which ``urllib.request`` uses too.

A request and its answer are two calls there. In between, the call in flight is held by the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from openai_meter.core import faults
from openai_meter.instrumentation.http_clients.exchange import begin, provider_at, send
from openai_meter.instrumentation.http_clients.files import watch_response
from openai_meter.metering.raw_call import RawCall
from openai_meter.usage.providers import known_provider

__all__ = ["getresponse", "request"]

_KEY = "_openai_meter"


class _Sent:
    """A request that was sent, and whose answer the program has not requested yet."""

    def __init__(self, call: RawCall) -> None:
        self._call: RawCall | None = call

    def take(self) -> RawCall | None:
        """The call, which another object ends from now on."""
        call, self._call = self._call, None
        return call

    def __del__(self) -> None:
        if self._call is not None:
            self._call.finish(whole=False)


def request(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``HTTPConnection.request``."""
    call = _begin(connection, *args, **kwargs)
    if call is None:
        return wrapped(*args, **kwargs)

    def hold(call: RawCall, _: object) -> None:
        connection.__dict__[_KEY] = _Sent(call)

    return send(call, wrapped, args, kwargs, hold)


def _begin(
    connection: Any, method: Any = "", url: Any = "", body: Any = None, headers: Any = None, **_: Any
) -> RawCall | None:
    try:
        # Through a proxy, the host is that of the tunnel, or stands in the URL.
        host = None if "://" in url[:9] else connection._tunnel_host or connection.host  # noqa: SLF001
        provider = provider_at(url) if host is None else known_provider(host)
        if provider is None:
            return None
        content_type = ""
        if isinstance(headers, Mapping):
            content_type = next((str(value) for name, value in headers.items() if str(name).lower() == _TYPE), "")
        return begin(method, url, provider, content_type=content_type, body=body, host=host)
    except Exception as error:
        faults.caught(error, "beginning a call of http.client")
        return None


_TYPE = "content-type"


def getresponse(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``HTTPConnection.getresponse``."""
    sent = connection.__dict__.pop(_KEY, None)
    call: RawCall | None = None if sent is None else sent.take()
    if call is None:
        return wrapped(*args, **kwargs)
    try:
        response = wrapped(*args, **kwargs)
    except BaseException as error:
        call.finish(error)
        raise
    try:
        watch_response(response, call)
    except Exception as error:
        faults.caught(error, "reading an answer of http.client")
        call.finish()
    return response
