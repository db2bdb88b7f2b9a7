"""Reads answers that pass as bytes: raw responses, bodies that the program reads piece by piece, event streams.

What is kept of a body is bounded, whatever its size: a usage object is near one of its ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from openai_meter.core.usage_objects import read_usage

if TYPE_CHECKING:
    from openai_meter.usage.endpoints import Endpoint
    from openai_meter.usage.responses import ResponseState

__all__ = ["Body", "body_reader", "read_text"]

_WHOLE = 256 * 1024
"""Up to this many bytes, a JSON document is kept and parsed as a whole."""
_END = 64 * 1024
"""Of a larger one, this much is kept of its beginning and of its end."""
_LINE = 16 * 1024 * 1024
"""An event larger than this is skipped."""
_BOM = b"\xef\xbb\xbf"


class AnsweredCall(Protocol):
    """The call that an answer belongs to."""

    row: Endpoint
    response: ResponseState

    @property
    def token_arrived(self) -> bool:
        """Whether the moment of the first token is known."""

    def read_response(self, answer: object) -> None:
        """Reads a whole answer."""

    def read_event(self, item: Any) -> None:
        """Reads one event of a stream."""


class Body(Protocol):
    """Takes the bytes of an answer as they pass."""

    def feed(self, data: bytes) -> None:
        """Takes the next bytes."""

    def end(self) -> None:
        """Reads the rest; called once, when the body is complete or has ended early."""


def body_reader(pending: AnsweredCall, content_type: str) -> Body | None:
    """The reader for a body of this type, or ``None`` if nothing can be read from it (audio, video, pictures)."""
    kind = content_type.partition(";")[0].strip().lower()
    return None if kind.startswith(("audio/", "video/", "image/")) else _Text(pending)


def read_text(pending: AnsweredCall, text: str) -> None:
    """Reads an answer that the SDK gave to the program as text, because its type was not what it expected."""
    reader = _Text(pending)
    reader.feed(text.encode())
    reader.end()


class _Text:
    """A body whose first bytes show its kind. Its header is not used: gateways mix up the headers."""

    def __init__(self, pending: AnsweredCall) -> None:
        self._pending = pending
        self._start = b""
        self._reader: Body | None = None
        self._unknown = False

    def feed(self, data: bytes) -> None:
        if self._reader is not None:
            self._reader.feed(data)
        elif not self._unknown:
            self._start = (self._start + data).removeprefix(_BOM).lstrip()
            if self._start[:1] == b"{":
                self._reader = _Document(self._pending)
            elif self._start.startswith((b"data:", b"event:", b"id:", b"retry:", b":")):
                self._reader = _Events(self._pending)
            elif len(self._start) > len(b"event:"):
                self._unknown = True
            if self._reader is not None:
                self._reader.feed(self._start)
                self._start = b""

    def end(self) -> None:
        if self._reader is not None:
            self._reader.end()


class _Gathered:
    """The bytes of one JSON document: all of a small one, both ends of a large one."""

    __slots__ = ("_head", "_tail")

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail: bytearray | None = None

    def feed(self, data: bytes) -> None:
        if self._tail is None:
            self._head += data
            if len(self._head) > _WHOLE:
                self._tail = self._head[-_END:]
                del self._head[_END:]
        else:
            self._tail += data
            if len(self._tail) > 4 * _END:
                del self._tail[:-_END]

    @property
    def truncated(self) -> bool:
        """Whether only the ends were kept."""
        return self._tail is not None

    def fields(self) -> Mapping[str, Any]:
        """The document's fields, as far as they can be known; empty if it is not a JSON object."""
        if self._tail is not None:
            return _fields_at_ends(bytes(self._head), bytes(self._tail))
        try:
            # What follows the document is ignored: some gateways send "data: [DONE]" there.
            document, _ = json.JSONDecoder().raw_decode(self._head.decode(errors="replace"))
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


_TEXTS = {
    name: re.compile(rb'"' + name.encode() + rb'"\s*:\s*"([^"\\]*)"')
    for name in ("id", "model", "service_tier", "status", "type")
}
# A quote inside a JSON string is escaped, so this cannot match in a prompt or an answer, only at a key.
_USAGE = re.compile(rb'(?<!\\)"usage"\s*:\s*(?=\{)')


def _fields_at_ends(head: bytes, tail: bytes) -> Mapping[str, Any]:
    fields: dict[str, Any] = {}
    for name, pattern in _TEXTS.items():
        if (match := pattern.search(head) or pattern.search(tail)) is not None:
            fields[name] = match[1].decode(errors="replace")
    for part in (tail, head):
        for match in reversed(list(_USAGE.finditer(part))):
            try:
                usage, _ = json.JSONDecoder().raw_decode(part[match.end() :].decode(errors="replace"))
            except ValueError:
                continue
            if read_usage(usage) is not None:
                return {**fields, "usage": usage}
    return fields


class _Document:
    """A body that is one JSON document."""

    def __init__(self, pending: AnsweredCall) -> None:
        self._pending = pending
        self._gathered = _Gathered()

    def feed(self, data: bytes) -> None:
        self._gathered.feed(data)

    def end(self) -> None:
        fields = self._gathered.fields()
        if fields or self._gathered.truncated:
            self._pending.read_response(fields)
        if self._gathered.truncated and "usage" not in fields:
            self._pending.response.unreadable = True


# Parsing every event of a stream that the program reads as bytes would cost more than reading it. Those that matter are
# the first ones up to the first token, those with a usage object or a finish reason, and those that end a response.
_MATTERS = re.compile(
    rb'"(?:usage|error)"\s*:\s*\{|"finish_reason"\s*:\s*"|"type"\s*:\s*"(?:error|response\.(?:created|completed|incomplete|failed|cancelled))"'
    rb'|"session"\s*:\s*\{'
)


class _Events:
    """A body that is a stream of server-sent events."""

    def __init__(self, pending: AnsweredCall) -> None:
        self._pending = pending
        self._partial = bytearray()
        self._skipping = False
        self._name = b""
        self._data: list[bytes] = []
        self._parsed = False

    def feed(self, data: bytes) -> None:
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._partial += data[start:end]
            if self._skipping:
                self._skipping = False
            else:
                self._line(bytes(self._partial).rstrip(b"\r"))
            self._partial.clear()
            start = end + 1
        if not self._skipping:
            self._partial += data[start:]
            if len(self._partial) > _LINE:
                self._partial.clear()
                self._skipping = True

    def end(self) -> None:
        if self._partial and not self._skipping:
            self._line(bytes(self._partial).rstrip(b"\r"))
        self._dispatch()  # some hosts leave out the last empty line

    def _line(self, line: bytes) -> None:
        if not line:
            self._dispatch()
        elif line.startswith(b"data:"):
            self._data.append(line[5:].lstrip(b" "))
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()

    def _dispatch(self) -> None:
        name, data = self._name, b"\n".join(self._data)
        self._name = b""
        self._data.clear()
        if not data or self._pending.row.fold is None:
            return
        waiting = not (self._parsed and self._pending.token_arrived)
        if not (waiting or name.startswith(b"thread.run") or _MATTERS.search(data)):
            if data[:1] == b"{":  # not [DONE]
                self._pending.response.transcript.add_event(data)
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):  # [DONE], or a line that is not JSON
            return
        if isinstance(event, dict):
            self._parsed = True
            # The events of assistants have their type outside the data; the SDK gives it to the program likewise.
            named = name.startswith(b"thread.")
            self._pending.read_event({"event": name.decode(errors="replace"), "data": event} if named else event)
