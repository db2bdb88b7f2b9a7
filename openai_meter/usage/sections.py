"""Reads the parts of a request for a ledger: lengths and hashes (``core/sections.py``), never text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from openai_meter.core import faults
from openai_meter.core.sections import MOST, pack_section
from openai_meter.core.usage import fields_of

__all__ = ["sections_of"]

_WHOLE = 65_536
"""Characters of a text that its hash covers from the beginning; of a longer one, also as many at its end."""
_SHAPED = 2_048
"""Characters of a text that its shape covers."""
_digits = re.compile(r"\d")
_FIRST = 8
"""Parts that are read from the beginning of a long request; the others are from its end."""


def sections_of(body: Mapping[str, Any], name: str) -> bytes:
    """The records of the parts of a request: its tools, its instructions, and the messages of its input. Never raises.

    Args:
        body: the request's JSON body; nothing of it is kept.
        name: the key of its input.
    """
    try:
        parts = [*_parts(body, name)]
        if len(parts) > MOST:
            parts = [*parts[:_FIRST], *parts[_FIRST - MOST :]]
        return b"".join(_record(kind, text) for kind, text in parts)
    except Exception as error:
        faults.caught(error, "reading the parts of a request")
        return b""


def _parts(body: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    tools = body.get("tools") or body.get("functions")
    if type(tools) is list:
        yield "tools", json.dumps(tools, default=_fields)
    if type(instructions := body.get("instructions")) is str:
        yield "instructions", instructions
    value = body.get(name)
    if type(value) is str:
        yield "user", value
    elif type(value) is list and value and type(value[0]) is not int:
        for item in value:
            if type(item) is str:
                yield "user", item
                continue
            fields = fields_of(item)
            role = fields.get("role")
            yield (role if type(role) is str else "other"), _text_of(fields)


def _text_of(fields: Mapping[str, Any]) -> str:
    content = fields.get("content")
    if type(content) is str and len(fields) == 2:
        return content
    return json.dumps(content if len(fields) == 2 else {**fields}, default=_fields, ensure_ascii=False)


def _fields(value: object) -> Any:
    """The JSON form of an object of the SDK; of anything else, the name of its type: it is not touched."""
    kind = type(value)
    if isinstance(value, Mapping | Sequence) or hasattr(kind, "model_fields") or hasattr(kind, "__fields__"):
        return dict(fields_of(value))
    return kind.__name__


def _record(kind: str, text: str) -> bytes:
    whole = text if len(text) <= 2 * _WHOLE else f"{len(text)}{text[:_WHOLE]}{text[-_WHOLE:]}"
    shape = " ".join(sorted(_digits.sub("0", text[:_SHAPED].lower()).split()))
    return pack_section(kind, len(text), _bytes(whole), _bytes(shape))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
