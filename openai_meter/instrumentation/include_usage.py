"""Injects the option for the usage of chat streams, and removes the added part of the answer.

A chat stream reports its usage only where ``stream_options.include_usage`` was sent. Where the host is known to accept
that, the option is injected into the request. The chunk that answers it is hidden from the program by its shape (no
choices, but usage), and the ``"usage": null`` that the other chunks then carry is removed.

A host may refuse the option for some requests and accept it for others: Azure refuses it together with
``data_sources``. So a refusal is remembered with what was refused, a :class:`RequestShape`, and for ten minutes.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from openai_meter.core.bounded import Bounded
from openai_meter.errors import ConfigurationError
from openai_meter.instrumentation.sdk import RAW_HEADER
from openai_meter.usage.endpoints import Endpoint

__all__ = [
    "RequestShape", "StreamUsage", "UsageFilter", "check", "configure", "inject", "is_refusal", "remember", "shape_of",
    "should_inject", "strip_usage",
]  # fmt: skip

StreamUsage = Literal["auto", "always", "never"]
_KNOWN = ("openai", "azure")
_OPENAI = ".api.openai.com"
_WORDS = ("stream_options", "include_usage")
_REFUSALS = frozenset({400, 422})
_AGAIN = 600.0
"""Seconds after which something that was refused is tried again: hosts are updated."""
_SHAPES = 3
"""The number of refused shapes, and none accepted, after which the whole host counts as refusing."""


class RequestShape(NamedTuple):
    """The parts of a request that a host's acceptance of ``include_usage`` may depend on."""

    host: str
    endpoint: str
    keys: frozenset[str]
    """The names in the request's body, without ``stream_options``."""
    model: str | None


class _Policy:
    """The hosts where the option is injected. One for the process, as the patches are."""

    mode: str = "auto"
    hosts: frozenset[str] = frozenset()


class _Memory:
    """The answers of hosts to the option. Each method is one step; threads may meet in between, without harm."""

    def __init__(self) -> None:
        self.refused: Bounded[tuple[object, ...], float] = Bounded(1_000)
        """By shape, and by host: until when it is not injected."""
        self.refusals: Bounded[str, int] = Bounded(1_000)
        """By host without an acceptance: how many shapes it has refused."""
        self.accepted: Bounded[tuple[object, ...], bool] = Bounded(2_000)
        """Hosts, and shapes without their model, that have accepted it."""

    def clear(self) -> None:
        for part in (self.refused, self.refusals, self.accepted):
            part.clear()


_policy = _Policy()
_memory = _Memory()


def configure(stream_usage: str | Collection[str]) -> None:
    """Sets where to inject it: ``auto`` (OpenAI, Azure), ``always``, ``never``; or more hosts than those of ``auto``.

    Raises:
        ConfigurationError: it is neither; nothing is changed then.
    """
    if isinstance(stream_usage, str):
        check(stream_usage)
        _policy.mode, _policy.hosts = stream_usage, frozenset()
    elif isinstance(stream_usage, Collection) and all(isinstance(host, str) for host in stream_usage):
        _policy.mode, _policy.hosts = "auto", frozenset(stream_usage)
    else:
        raise ConfigurationError(
            f"stream_usage={stream_usage!r} is not a word and not a list of hosts; "
            "pass 'auto', 'always', 'never' or a list such as ['llm.example.com']"
        )
    _memory.clear()


def check(word: str) -> None:
    """Raises ConfigurationError where a word is not one of the three settings."""
    if word not in ("auto", "always", "never"):
        raise ConfigurationError(
            f"stream_usage={word!r} is not one of 'auto', 'always', 'never'; "
            "to name hosts that take stream_options, pass a list of them"
        )


def should_inject(row: Endpoint, body: Mapping[str, Any], headers: object, provider: str, host: str) -> bool:
    """Whether to inject the option into the request of a stream."""
    mode = _policy.mode
    if not row.opt_in or mode == "never":
        return False
    if mode != "always" and provider not in _KNOWN and host not in _policy.hosts:
        return False
    options = body.get("stream_options")
    if options is not None and not isinstance(options, Mapping):
        return False
    if options and "include_usage" in options and (options["include_usage"] or mode != "always"):
        return False  # the caller requests it already, or has switched it off
    if isinstance(headers, Mapping) and _is_read_as_bytes(headers):
        return False
    return not _is_refused(shape_of(row, body, host))


def _is_read_as_bytes(headers: Mapping[Any, Any]) -> bool:
    """Whether a request is of ``with_streaming_response``, whose readers would see the chunk among the bytes."""
    return any(str(name).lower() == RAW_HEADER and value != "true" for name, value in headers.items())


def shape_of(row: Endpoint, body: Mapping[str, Any], host: str) -> RequestShape:
    """The shape of a request, as a host sees it."""
    model = body.get("model")
    keys = frozenset(key for key in body if key != "stream_options")
    return RequestShape(host, row.name, keys, model if isinstance(model, str) else None)


def inject(options: Any) -> None:
    """Injects the option, in new dicts, on options of our own; the caller's values stay unchanged."""
    extra = options.extra_json
    place = "extra_json" if isinstance(extra, Mapping) and "stream_options" in extra else "json_data"
    body = getattr(options, place)
    given = body.get("stream_options") or {}
    setattr(options, place, {**body, "stream_options": {**given, "include_usage": True}})


# --- what hosts have refused ------------------------------------------------------------------------------------------


def _is_refused(shape: RequestShape) -> bool:
    """Whether a host has refused this shape, or all shapes so far, not long ago."""
    for key in (shape, (shape.host,)):
        until = _memory.refused.get(key)
        if until is not None and time.monotonic() < until:
            return True
    return False


def is_refusal(error: BaseException, shape: RequestShape) -> bool:
    """Whether a request may have failed because of the injected option; it is then sent again without it.

    Where the answer does not name the option, a shape that the host has accepted before is not sent again: the
    program's own mistake is not sent twice. OpenAI always names it.
    """
    if getattr(error, "status_code", None) not in _REFUSALS:
        return False
    if any(word in f"{error} {getattr(error, 'body', '')}" for word in _WORDS):
        _refuse(shape)
        return True
    return not f".{shape.host}".endswith(_OPENAI) and _memory.accepted.get(shape[:3]) is None


def remember(shape: RequestShape, *, injected: bool) -> None:
    """Remembers that a host has answered a request: as it was injected, or only without."""
    if injected:
        _memory.accepted.put(shape[:3], True)
        _memory.accepted.put((shape.host,), True)
        _memory.refused.pop(shape)
        _memory.refused.pop((shape.host,))
    else:
        _refuse(shape)


def _refuse(shape: RequestShape) -> None:
    until = time.monotonic() + _AGAIN
    known = _memory.refused.get(shape)
    _memory.refused.put(shape, until)
    if _memory.accepted.get((shape.host,)) is not None or (known is not None and time.monotonic() < known):
        return
    refusals = (_memory.refusals.get(shape.host) or 0) + 1
    _memory.refusals.put(shape.host, refusals)
    if refusals >= _SHAPES:
        _memory.refused.put((shape.host,), until)


# --- what the program does not see ------------------------------------------------------------------------------------


def strip_usage(chunk: Any) -> bool:
    """Whether a chunk is only the answer to the injected option; from other chunks ``usage: null`` is removed."""
    try:
        if chunk.__dict__["usage"] is None:  # as of almost every chunk
            chunk.__pydantic_fields_set__.discard("usage")
            return False
    except (AttributeError, KeyError):  # a dict, or a model of pydantic 1
        pass
    fields = chunk if type(chunk) is dict else getattr(chunk, "__dict__", None)
    if fields is None:
        return False
    if fields.get("usage") is not None:
        return fields.get("choices") == []
    if fields is chunk:
        fields.pop("usage", None)
    else:
        set_fields = getattr(chunk, "__pydantic_fields_set__", None) or getattr(chunk, "__fields_set__", None)
        if isinstance(set_fields, set):
            set_fields.discard("usage")
    return False


_next_event = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r)", re.DOTALL).finditer
_null_usage = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,\s*').finditer
_LONGEST = 1_000_000
"""Bytes of an event: in a longer one nothing is looked for, so that memory stays bounded."""


class UsageFilter:
    """Does for the bytes of an event stream what :func:`strip_usage` does for its chunks."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Takes bytes as they arrive; returns the bytes for the program, up to the last complete event."""
        held = self._held + data
        visible, end = [], 0
        for event in _next_event(held):
            visible.append(_strip_bytes(event[0]))
            end = event.end()
        self._held = held[end:]
        if len(self._held) > _LONGEST:
            visible.append(self.end())
        return b"".join(visible)

    def end(self) -> bytes:
        """The remaining bytes when the stream has ended."""
        held, self._held = self._held, b""
        return held


def _strip_bytes(event: bytes) -> bytes:
    """An event without the trace of the injected option; nothing, if it is the answer to it."""
    if b'"usage"' not in event:
        return event
    lines = (line.partition(b":")[2] for line in event.splitlines() if line.startswith(b"data:"))
    try:
        chunk = json.loads(b"\n".join(lines))
    except (ValueError, RecursionError):
        return event
    if type(chunk) is not dict or "usage" not in chunk:
        return event
    if chunk["usage"] is not None:
        return b"" if chunk.get("choices") == [] else event
    last = None
    for last in _null_usage(event):  # noqa: B007 - the last one is that of the chunk itself
        pass
    return event if last is None else event[: last.start()] + event[last.end() :]
