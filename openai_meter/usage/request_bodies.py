"""Reads the body of a request that passes as bytes: JSON documents and multipart forms.

Only what a record needs is read, and nothing of the request is changed. What is read of a body is bounded: of a large
upload both ends, where the fields of a form are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["form_fields", "request_fields"]

_WHOLE = 32 * 1024 * 1024
"""Up to this many bytes, a JSON document is parsed as a whole."""
_END = 64 * 1024
"""Of a form, and of a larger document, this much is read of its beginning and of its end."""
_FIELD = 4 * 1024
"""A longer value of a form is skipped: it is a file."""
_NOTHING: Mapping[str, Any] = {}


def request_fields(content_type: str, body: object) -> Mapping[str, Any]:
    """The fields of a request's body; empty where it has none that can be read. Never raises for what it contains.

    Args:
        content_type: the value of the header.
        body: the body as bytes or text. Anything else, such as a file or a generator, is not read.
    """
    if isinstance(body, str):
        body = body.encode(errors="replace")
    if not isinstance(body, bytes | bytearray | memoryview) or not body:
        return _NOTHING
    if content_type.lstrip()[:10].lower() == "multipart/":
        return _multipart(content_type, body)
    return _document(bytes(body)) if len(body) <= _WHOLE else _document_ends(bytes(body[:_END]), bytes(body[-_END:]))


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _NOTHING
    return document if isinstance(document, dict) else _NOTHING


_MODEL = re.compile(rb'(?<!\\)"model"\s*:\s*"([^"\\]*)"')
_STREAM = re.compile(rb'(?<!\\)"stream"\s*:\s*true')


def _document_ends(head: bytes, tail: bytes) -> Mapping[str, Any]:
    """What can be known of a document that is too large to be parsed while the program waits."""
    fields: dict[str, Any] = {}
    for part in (head, tail):
        if "model" not in fields and (match := _MODEL.search(part)) is not None:
            fields["model"] = match[1].decode(errors="replace")
        if _STREAM.search(part) is not None:
            fields["stream"] = True
    return fields


_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_NAME = re.compile(rb'\bname="([^"]*)"', re.IGNORECASE)


def _multipart(content_type: str, body: bytes | bytearray | memoryview) -> Mapping[str, Any]:
    match = _BOUNDARY.search(content_type)
    if match is None:
        return _NOTHING
    mark = b"--" + match[1].strip().encode(errors="replace")
    ends = (body,) if len(body) <= 2 * _END else (body[:_END], body[-_END:])
    found: dict[str, Any] = {}
    for end in ends:
        # The first piece stands before a mark. The last is the end of the form, or a part that was cut.
        for part in bytes(end).split(mark)[1:-1]:
            headers, blank, value = part.partition(b"\r\n\r\n")
            name = _NAME.search(headers)
            if blank and name is not None and b"filename" not in headers and len(value) <= _FIELD:
                found[name[1].decode(errors="replace")] = value.removesuffix(b"\r\n").decode(errors="replace")
    return form_fields(found)


def form_fields(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a form, whose values are texts, as those of a JSON document; files are left out."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if isinstance(text, str) and len(text) <= _FIELD:
            found[name] = text == "true" if text in ("true", "false") else text
    return found
