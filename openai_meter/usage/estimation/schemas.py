"""What structured output costs: the model gets the schema of the answer as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from openai_meter.usage.estimation.counter import Counter
from openai_meter.usage.estimation.request_values import compact, fields, plain, text_of
from openai_meter.usage.estimation.tools import CONSTRAINTS, comments

__all__ = ["Format", "read_format"]


class Format(NamedTuple):
    """A ``json_schema`` that an answer has to follow."""

    name: str
    text: str
    """The name, description and schema as the model gets them."""


def read_format(value: object, counter: Counter) -> Format | None:
    """Reads a chat completion's ``response_format`` or a response's ``text.format``; ``None`` if it has no schema.

    A pydantic class is what the SDK makes of it.
    """
    if isinstance(value, type):
        try:
            schema: Mapping[str, Any] = value.model_json_schema()  # type: ignore[attr-defined]
        except Exception:  # not a pydantic class, or one without a schema
            counter.unknown.add("schema")
            return None
        return _format(schema, value.__name__, "", counter)
    form = fields(value)
    if form.get("type") != "json_schema":
        return None
    inner = fields(form.get("json_schema")) or form
    return _format(inner.get("schema"), text_of(inner.get("name")), text_of(inner.get("description")), counter)


def _format(schema: object, name: str, description: str, counter: Counter) -> Format:
    copied, whole = plain(schema)
    if not whole:
        counter.unknown.add("schema")
    lines = ["# Response Formats", "", f"## {name}", "", *comments(description, strip=True)]
    return Format(name, "\n".join([*lines, compact(_shown(copied)) if copied else ""]))


_HIDDEN = frozenset({"required", "$schema", *CONSTRAINTS})
"""Keywords of a schema that are not billed. (In the schemas of function tools, constraints are.)"""


def _shown(schema: Any) -> Any:
    """A schema as it is billed: without ``additionalProperties: false`` and the keywords of :data:`_HIDDEN`."""
    if isinstance(schema, list):
        return [_shown(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        # Under "properties" are names of the caller: a field may be called "required".
        key: {name: _shown(inner) for name, inner in value.items()}
        if key == "properties" and isinstance(value, dict)
        else _shown(value)
        for key, value in schema.items()
        if key not in _HIDDEN and not (key == "additionalProperties" and value is False)
    }
