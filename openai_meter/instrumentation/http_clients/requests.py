"""Watches ``Session.send`` of requests. Its redirects are sent by the same method, inside the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openai_meter.core import faults
from openai_meter.instrumentation.http_clients.exchange import begin, provider_at, send
from openai_meter.instrumentation.http_clients.urllib3 import watch_raw
from openai_meter.metering.raw_call import RawCall, read_whole

__all__ = ["session_send"]


def session_send(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``Session.send``."""
    call = _begin(args[0] if args else kwargs.get("request"))
    if call is None:
        return wrapped(*args, **kwargs)
    return send(call, wrapped, args, kwargs, _read)


def _begin(request: Any) -> RawCall | None:
    try:
        url = request.url
        provider = provider_at(url)
        if provider is None:
            return None
        content_type = request.headers.get("content-type", "")
        if isinstance(content_type, bytes):
            content_type = content_type.decode(errors="replace")
        return begin(request.method, url, provider, content_type=content_type, body=request.body)
    except Exception as error:
        faults.caught(error, "beginning a call of requests")
        return None


def _read(call: RawCall, response: Any) -> None:
    if response._content is False:  # noqa: SLF001 - ``content`` would read the body
        watch_raw(call, response.raw)
        return
    headers = response.headers
    call.answered(response.status_code, [(name.encode(), value.encode()) for name, value in headers.items()])
    read_whole(call, response.content or b"", headers.get("content-type", ""))
