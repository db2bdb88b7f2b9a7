"""Reads values of a request without trusting them: wrong types, SDK objects, cycles, endless values.

A request's body is what the caller gave: mostly plain JSON, but it may hold pydantic objects, iterators (which belong
to the caller and are never consumed), or itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from openai_meter.core.usage import fields_of

__all__ = ["Walk", "compact", "fields", "listed", "plain", "spread", "text_of"]

_NOTHING: Mapping[str, Any] = {}
_NODES = 8_000
_DEPTH = 48
_ITEMS = 4_000


def fields(value: object) -> Mapping[str, Any]:
    """The fields of a dict, of any other mapping, or of an SDK object; empty if it has none."""
    if type(value) is dict:
        return value
    if value is None or isinstance(value, str | int | float | bytes | list | tuple | type):
        return _NOTHING
    try:
        return dict(value) if isinstance(value, Mapping) else fields_of(value)
    except Exception:  # a mapping of the caller's that cannot be read
        return _NOTHING


def listed(value: object) -> Sequence[Any]:
    """A list or tuple as it is; empty for everything else, iterators included."""
    return value if isinstance(value, list | tuple) else ()


def spread(items: Sequence[Any]) -> tuple[Sequence[Any], float]:
    """At most some thousands of the items, evenly spread, and how many of all each of them stands for."""
    step = -(-len(items) // _ITEMS)
    return (items, 1) if step <= 1 else (items[::step], len(items) / len(items[::step]))


def text_of(value: object) -> str:
    """A string as it is (without what a subclass does to it); empty for everything else."""
    if type(value) is str:
        return value
    return str.__str__(value) if isinstance(value, str) else ""


def is_iterator(value: object) -> bool:
    """Whether a value may hold items that cannot be read without taking them from the caller."""
    return value is not None and not isinstance(value, str | bytes | int | float | Mapping | list | tuple)


class Walk:
    """Copies values as plain JSON, up to a number of nodes in all and a depth: so that cycles and huge values end."""

    def __init__(self, nodes: int = _NODES) -> None:
        self.left = nodes
        self.whole = True
        """Whether everything was copied."""

    def copy(self, value: object, depth: int = 0) -> Any:
        """A copy of the value; parts beyond the limits are ``None``."""
        self.left -= 1
        if self.left < 0 or depth > _DEPTH:
            self.whole = False
            return None
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return text_of(value)
        if isinstance(value, list | tuple):
            copied = []
            for item in value:
                copied.append(self.copy(item, depth + 1))
                if self.left < 0:
                    break
            return copied
        if not (found := fields(value)):
            self.whole = self.whole and isinstance(value, Mapping)
            return {}
        made = {}
        for key, inner in list(found.items()):
            made[str(key)] = self.copy(inner, depth + 1)
            if self.left < 0:
                break
        return made


def plain(value: object) -> tuple[Any, bool]:
    """A bounded copy of a value as plain JSON, and whether it is the whole of it."""
    walk = Walk()
    return walk.copy(value), walk.whole


def compact(value: object) -> str:
    """Plain JSON (see :func:`plain`) as text without spaces, in its own letters."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
