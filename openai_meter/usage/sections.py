"""Reads the parts of a request for a ledger: lengths and hashes (``core/sections.py``), never text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from openai_meter.core import faults
from openai_meter.core.sections import MOST, pack_section
from openai_meter.core.usage import fields_of

__all__ = ["sections_of"]

_WHOLE = 65_536
"""Characters of a text that its hash covers from the beginning; of a longer one, also as many at its end."""
_SHAPED = 2_048
"""Characters of a text that its shape covers."""
_VALUES, _DEPTH = 4_000, 32
"""Values of a part that are read, and how deep they may lie."""
_NUMBERS = frozenset({int, float, bool})
_digits = re.compile(r"\d")
_FIRST = 8
"""Parts that are read from the beginning of a long request; the others are from its end."""


def sections_of(body: Mapping[str, Any], name: str) -> bytes:
    """The records of the parts of a request: its tools, its instructions, and the messages of its input. Never raises.

    What cannot be read (iterators, which belong to the program, or unknown objects) is not touched. The work is
    bounded: of a long history the beginning and the end are read, and likewise of a long text.

    Args:
        body: the request's JSON body; nothing of it is kept.
        name: the key of its input.
    """
    try:
        parts = _parts(body, name)
        if len(parts) > MOST:
            parts = [*parts[:_FIRST], *parts[_FIRST - MOST :]]
        return b"".join(_record(*_text_of(kind, value)) for kind, value in parts)
    except Exception as error:
        faults.caught(error, "reading the parts of a request")
        return b""


def _parts(body: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    parts: list[tuple[str, Any]] = []
    tools = body.get("tools") or body.get("functions")
    if type(tools) is list:
        parts.append(("tools", tools))
    if type(instructions := body.get("instructions")) is str:
        parts.append(("instructions", instructions))
    value = body.get(name)
    if type(value) is str:
        parts.append(("user", value))
    elif type(value) is list and value and type(value[0]) is not int:
        parts += [("user" if type(item) is str else "other", item) for item in value]
    return parts


def _text_of(kind: str, value: Any) -> tuple[str, str]:
    """The kind and the text of a part: of a message its role, and its content where there is nothing else."""
    if type(value) is str:
        return kind, value
    if type(value) is list:
        return kind, _json(value)
    fields = _fields(value)
    if fields is None:
        return kind, type(value).__name__
    role, content = fields.get("role"), fields.get("content")
    if len(fields) != 2:
        content = fields
    return role if type(role) is str else kind, content if type(content) is str else _json(content)


def _fields(value: object) -> Mapping[str, Any] | None:
    """The fields of a dict or of an object of the SDK; ``None`` for anything else."""
    kind = type(value)
    if kind is dict or hasattr(kind, "model_fields") or hasattr(kind, "__fields__"):
        return fields_of(value)
    return None


def _json(value: object) -> str:
    return json.dumps(_Plain().of(value), ensure_ascii=False)


class _Plain:
    """Makes plain JSON values of a part, at most :data:`_VALUES` of them: so a part that contains itself ends."""

    def __init__(self) -> None:
        self._left = _VALUES

    def of(self, value: object, depth: int = 0) -> Any:
        """The JSON form of a value. Of an unknown object it is the name of its type."""
        self._left -= 1
        kind = type(value)
        if kind is str:
            return _bounded(value)  # type: ignore[arg-type] # mypy does not narrow by type()
        if value is None or kind in _NUMBERS:
            return value
        if self._left < 0 or depth > _DEPTH:
            return "..."
        if kind is list or kind is tuple:
            return [self.of(item, depth + 1) for item in islice(value, max(self._left, 0))]  # type: ignore[call-overload]
        if (fields := _fields(value)) is not None:
            pairs = islice(fields.items(), max(self._left, 0))
            return {name: self.of(item, depth + 1) for name, item in pairs if type(name) is str}
        return kind.__name__


def _bounded(text: str) -> str:
    """A text, or of a long one its length and both ends."""
    return text if len(text) <= 2 * _WHOLE else f"{len(text)}{text[:_WHOLE]}{text[-_WHOLE:]}"


def _record(kind: str, text: str) -> bytes:
    whole = _bounded(text)
    shape = " ".join(sorted(_digits.sub("0", text[:_SHAPED].lower()).split()))
    return pack_section(kind, len(text), _bytes(whole), _bytes(shape))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
