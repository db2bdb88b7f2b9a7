"""What a call that raised may have cost: whether its request was sent, and whether the API answered it.

========== ============================================================================ ==============
answered   the API refused the request with an error                                     free
unsent     the request had not left: no connection, a full pool, the program's own wait  free
unanswered the request was sent, and no usable answer came                               unknown
========== ============================================================================ ==============

This is read from the exception: its type, those of its causes, and the functions of the HTTP library in its traceback.
So it costs a successful call nothing. Sources: Azure OpenAI charges prompts that its content filter refuses with
400, and may charge 408 (Microsoft, "Plan to manage costs for Azure OpenAI").
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType
from typing import Any, Literal

__all__ = ["Outcome", "outcome_of"]

Outcome = Literal["answered", "unsent", "unanswered"]

_CAUSES = 20
_FRAMES = 500
_CORES = frozenset({"httpcore", "httpcore2"})
"""The libraries below httpx and httpx2. They pass a request on in functions of the same names."""
_RECEIVING = frozenset({"_receive_response_headers", "_receive_response", "_receive_response_body"})
"""Functions of those libraries that run when a request was sent as a whole."""
_TRANSPORT = frozenset({"handle_request", "handle_async_request"})
_ANSWERING = ("._transports.mock", "._transports.asgi", "._transports.wsgi")
"""Transports that call the function which answers: a request that has reached them was sent."""
_NOT_SENT = frozenset({"ConnectTimeout", "PoolTimeout", "WriteTimeout", "ConnectError", "WriteError", "ProxyError",
                       "UnsupportedProtocol", "LocalProtocolError", "InvalidURL"})  # fmt: skip
_SENT = frozenset({"ReadTimeout", "ReadError", "RemoteProtocolError"})
_TIMEOUTS = frozenset({408, 504})
"""HTTP statuses by which a server or gateway reports that no answer came in time."""


def outcome_of(error: BaseException) -> Outcome:
    """The outcome of a request that ended in an exception before there was an answer. Never raises."""
    try:
        return _by_answer(error) or _by_path(error)
    except Exception:
        return "unanswered"


def _by_answer(error: BaseException) -> Outcome | None:
    """The outcome where the API answered; ``None`` where the exception holds no answer."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        # A 2xx that the SDK cannot use was paid for.
        refused = status >= 400 and status not in _TIMEOUTS and not (status == 400 and _filtered(error))
        return "answered" if refused else "unanswered"
    return None if getattr(error, "body", None) is None else "answered"


def _filtered(error: BaseException) -> bool:
    """Whether a content filter has read the prompt and refused it."""
    return getattr(error, "code", None) == "content_filter"


def _by_path(error: BaseException) -> Outcome:
    """The outcome by where in the HTTP library the exception was raised."""
    in_core = received = False
    transport: FrameType | None = None
    for frame in _frames(error):
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if module.partition(".")[0] in _CORES:
            in_core = True
            if "_proxy" in module and not getattr(frame.f_locals.get("self"), "_connected", True):
                return "unsent"  # the request in progress is the CONNECT to the proxy
            received = received or function in _RECEIVING
        elif function in _TRANSPORT:
            transport = frame
        elif function in ("_process_response", "start") and module.startswith(("openai.", "aiohttp.")):
            return "unanswered"
        elif module == "http.client" and function in ("_tunnel", "begin"):  # below urllib3 and requests too
            return "unsent" if function == "_tunnel" else "unanswered"
    if in_core:
        return "unanswered" if received else "unsent"
    names = {type(cause).__name__ for cause in _chain(error)}
    if names & _SENT:
        return "unanswered"
    if names & _NOT_SENT or any(isinstance(cause, ConnectionRefusedError) for cause in _chain(error)):
        return "unsent"
    return "unsent" if transport is None or _waits_itself(transport) else "unanswered"


def _waits_itself(frame: FrameType) -> bool:
    """Whether a transport had not yet called its inner one, as with a rate limiter."""
    if frame.f_globals.get("__name__", "").endswith(_ANSWERING):
        return False
    transport: Any = frame.f_locals.get("self")
    if any("HTTPTransport" in kind.__name__ for kind in type(transport).__mro__[1:]):
        return True
    held = getattr(transport, "__dict__", {}).values()
    return any(hasattr(value, name) for value in held for name in _TRANSPORT)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was raised from or in the handling of."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _CAUSES:
        cause = waiting.pop()
        if id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [other for other in (cause.__cause__, cause.__context__) if other is not None]


def _frames(error: BaseException) -> Iterator[FrameType]:
    """The frames that the exception and its causes were raised through."""
    left = _FRAMES
    for cause in _chain(error):
        trace = cause.__traceback__
        while trace is not None and left:
            yield trace.tb_frame
            trace, left = trace.tb_next, left - 1
