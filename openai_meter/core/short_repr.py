"""``repr()`` of values with many fields: only the fields that differ from their default."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

__all__ = ["short_repr"]


def short_repr(value: Any) -> str:
    """The class of a dataclass, and the fields that differ from their default: ``Usage(input_tokens=3)``."""
    parts = []
    for field in fields(value):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if field.repr and (shown := getattr(value, field.name)) != default:
            parts.append(f"{field.name}={shown!r}")
    return f"{type(value).__name__}({', '.join(parts)})"
