"""Watches ``Client.send`` and ``AsyncClient.send`` of httpx and httpx2, which have the same names for everything."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from openai_meter.core import faults
from openai_meter.instrumentation import streams
from openai_meter.instrumentation.http_clients.exchange import begin, send, send_async
from openai_meter.metering.raw_call import RawCall
from openai_meter.usage.providers import known_provider
from openai_meter.usage.request_bodies import form_fields

__all__ = ["async_send", "sync_send"]


def sync_send(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``Client.send``."""
    call = _begin(args[0] if args else kwargs.get("request"))
    if call is None:
        return wrapped(*args, **kwargs)
    return send(call, wrapped, args, kwargs, _read_sync)


def async_send(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``AsyncClient.send``. It returns a coroutine, that of ``send`` itself for other requests."""
    request = args[0] if args else kwargs.get("request")
    if _is_foreign(request):
        return wrapped(*args, **kwargs)
    return send_async(partial(_begin, request), wrapped, args, kwargs, _read_async)


def _is_foreign(request: Any) -> bool:
    """Whether a request goes to a host that is not known."""
    try:
        return known_provider(request.url.host) is None
    except Exception:  # not a request: the library raises what it raises
        return True


def _begin(request: Any) -> RawCall | None:
    try:
        host = request.url.host
        provider = known_provider(host)
        if provider is None:
            return None
        content_type = request.headers.get("content-type", "")
        path = request.url.raw_path.decode()
        return begin(request.method, path, provider, content_type=content_type, body=_body(request), host=host)
    except Exception as error:
        faults.caught(error, "beginning a call of httpx")
        return None


def _body(request: Any) -> object:
    """The body of a request, where it is in memory; the fields of a form, whose files may be on disk."""
    if hasattr(request, "_content"):
        return request.content
    fields = getattr(request.stream, "fields", None)
    if not isinstance(fields, list):
        return None
    return form_fields({field.name: field.value for field in fields if hasattr(field, "value")})


def _read_sync(call: RawCall, response: Any) -> None:
    _read(call, response, is_async=False)


def _read_async(call: RawCall, response: Any) -> None:
    _read(call, response, is_async=True)


def _read(call: RawCall, response: Any, *, is_async: bool) -> None:
    call.answered(response.status_code, response.headers.raw)
    if response.is_closed:
        streams.read_response(response, call)
        call.finish()
    else:
        streams.watch_body(response, call, is_async=is_async, injected=False)
