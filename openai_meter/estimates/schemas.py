"""What structured output costs: the schema that the answer has to follow is shown to the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openai_meter.estimates.counter import Counter
from openai_meter.estimates.reading import compact, fields, plain, text_of

__all__ = ["schema_tokens"]


def schema_tokens(said: object, counter: Counter) -> int | None:
    """The tokens of a ``json_schema`` with its name and description, without its frame; ``None`` if there is none.

    ``said`` is a chat completion's ``response_format`` or the ``text.format`` of a response.
    """
    if isinstance(said, type):
        return _of_class(said, counter)
    form = fields(said)
    if form.get("type") != "json_schema":
        return None
    inner = fields(form.get("json_schema")) or form
    return _count(inner.get("schema"), inner.get("name"), inner.get("description"), counter)


def _count(schema: object, name: object, description: object, counter: Counter) -> int:
    copied, whole = plain(schema)
    if not whole:
        counter.unknown.add("schema")
    text = compact(_shown(copied)) if copied else ""
    return counter.tok(text) + counter.tok(text_of(name)) + counter.tok(text_of(description))


def _of_class(model: type, counter: Counter) -> int | None:
    try:
        schema: Mapping[str, Any] = model.model_json_schema()  # type: ignore[attr-defined]
    except Exception:  # no pydantic class, or one without a schema
        counter.unknown.add("schema")
        return None
    return _count(schema, model.__name__, None, counter)


def _shown(schema: Any) -> Any:
    """A schema as the model sees it: without ``required``, ``$schema`` and ``additionalProperties: false``."""
    if isinstance(schema, list):
        return [_shown(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        # Under "properties" stand names of the caller's: one may be called "required".
        key: {name: _shown(one) for name, one in value.items()}
        if key == "properties" and isinstance(value, dict)
        else _shown(value)
        for key, value in schema.items()
        if key not in {"required", "$schema"} and not (key == "additionalProperties" and value is False)
    }
