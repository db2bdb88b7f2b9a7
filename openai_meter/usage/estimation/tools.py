"""Function tools as the text that the model gets: a list of type declarations, whose tokens they cost.

The server's own text is not public; this one has the same token counts in recorded traffic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from openai_meter.usage.estimation.request_values import Walk, compact, fields, listed, spread, text_of

__all__ = ["CONSTRAINTS", "Function", "comments", "functions_of", "render"]

_FIELDS = 20_000
"""Values that are read in the schemas of one call at most."""
_NODES = 4_000
"""Schema nodes that are rendered for one call at most: references may multiply them without end."""
_DEPTH = 40
CONSTRAINTS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minItems",
    "maxItems",
)
_TYPES = {"number": "number", "integer": "number", "string": "string", "boolean": "boolean", "null": "null"}


class Function(NamedTuple):
    """One function tool of a request, as plain JSON."""

    name: str
    description: str
    parameters: Mapping[str, Any]


def functions_of(tools: object, *, nested: bool) -> tuple[list[Function], bool, bool]:
    """The function tools of a request, whether there are tools of other kinds, and whether all could be read.

    ``nested``: the shape of chat completions, with the fields under ``function``. For a function in the shape of the
    other endpoint, the server knows neither name nor schema.
    """
    found: list[Function] = []
    others = False
    some, share = spread(listed(tools))
    walk = Walk(_FIELDS)
    walk.whole = share == 1
    for tool in some:
        tool_fields = _class_fields(tool) if isinstance(tool, type) else fields(tool)
        if tool_fields.get("type", "function") != "function":
            others = True
            continue
        inner = fields(tool_fields.get("function")) if nested and "function" in tool_fields else tool_fields
        parameters = walk.copy(inner.get("parameters"))
        walk.whole = walk.whole and bool(tool_fields)
        schema = parameters if isinstance(parameters, dict) else {}
        found.append(Function(text_of(inner.get("name")), text_of(inner.get("description")), schema))
    return found, others, walk.whole


def _class_fields(model: type) -> Mapping[str, Any]:
    """The tool that the SDK makes of a pydantic class."""
    try:
        schema = model.model_json_schema()  # type: ignore[attr-defined]
    except Exception:  # not a pydantic class, or one without a schema
        return {}
    return {"name": model.__name__, "description": schema.get("description", ""), "parameters": schema}


def render(functions: Sequence[Function], *, strip: bool, old: bool = False) -> str:
    """The text of some functions.

    ``strip``: lines of descriptions lose the blanks on both sides (models of family L). ``old``: titles and defaults
    are not shown (gpt-4-0613).
    """
    lines = ["# Tools", "", "## functions", "", "namespace functions {", ""]
    left = [_NODES]
    for function in functions:
        lines += [*_Types(function.parameters, left, strip=strip, old=old).function(function), ""]
    return "\n".join([*lines, "} // namespace functions"])


def comments(text: object, *, strip: bool) -> Iterator[str]:
    """The lines of a text as comments; blank ones are left out."""
    for line in text_of(text).splitlines():
        if line.strip():
            yield f"// {line.strip() if strip else line}"


class _Types:
    """Renders the schema of one function as types."""

    def __init__(self, schema: Mapping[str, Any], left: list[int], *, strip: bool, old: bool) -> None:
        self._root = schema
        self._left = left
        self._strip = strip
        self._old = old
        self._open: list[str] = []  # the references being inlined: a recursive one is not followed

    def function(self, function: Function) -> list[str]:
        lines = list(comments(function.description, strip=self._strip))
        schema = self._resolved(function.parameters)
        if not fields(schema.get("properties")):
            return [*lines, f"type {function.name} = () => any;"]
        about = [] if self._old else [*self._about(schema)]
        taken = "\n".join([*about, self._object(schema, 0)])
        return [*lines, f"type {function.name} = (_: {taken}) => any;"]

    def _about(self, schema: Mapping[str, Any]) -> Iterator[str]:
        if not self._old:
            yield from comments(schema.get("title"), strip=self._strip)
        yield from comments(schema.get("description"), strip=self._strip)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """A schema with its reference, or the only part of its ``allOf``, merged into it. Its own keys win."""
        for _ in range(_DEPTH):
            inner: Any = None
            if isinstance(reference := schema.get("$ref"), str):
                inner = self._find(reference)
            elif len(parts := listed(schema.get("allOf"))) == 1:
                inner = parts[0]
            if not isinstance(inner, dict):
                return schema
            rest = {key: value for key, value in schema.items() if key not in {"$ref", "allOf"}}
            schema = {**inner, **rest}
        return {}

    def _find(self, reference: str) -> object:
        found: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
            found = fields(found).get(part.replace("~1", "/").replace("~0", "~"))
        return found

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        properties = fields(schema.get("properties"))
        required = listed(schema.get("required"))
        rows: list[tuple[list[str], str, str]] = []
        for name, value in properties.items():
            inner = self._resolved(fields(value))
            mark = "" if name in required else "?"
            rows.append((self._notes(inner), f"{name}{mark}: {self._inside(value, depth + 1)}", self._default(inner)))
        more = schema.get("additionalProperties")
        if more is True or (isinstance(more, dict) and more):
            rows.append(([], f"[k: string]: {self._type(fields(more), depth + 1)}", ""))
        if not rows:
            return "object"
        if not any(notes or default or "\n" in text for notes, text, default in rows):
            return "{ " + ", ".join(text for _, text, _ in rows) + " }"
        lines = ["{"]
        for notes, text, default in rows:
            lines += [*notes, f"{text},{default}"]
        return "\n".join([*lines, "}"])

    def _notes(self, schema: Mapping[str, Any]) -> list[str]:
        constraints = (f"// {key}: {_literal(schema[key])}" for key in CONSTRAINTS if schema.get(key) is not None)
        return [*self._about(schema), *constraints]

    def _default(self, schema: Mapping[str, Any]) -> str:
        return "" if self._old or "default" not in schema else f" // default: {compact(schema['default'])}"

    def _inside(self, schema: object, depth: int) -> str:
        """The type of a schema that may be a reference; one inside itself is ``any``."""
        inner = fields(schema)
        reference = inner.get("$ref")
        if not isinstance(reference, str):
            return self._type(self._resolved(inner), depth)
        if reference in self._open:
            return "any"
        self._open.append(reference)
        try:
            return self._type(self._resolved(inner), depth)
        finally:
            self._open.pop()

    def _type(self, schema: Mapping[str, Any], depth: int) -> str:
        self._left[0] -= 1
        if self._left[0] < 0 or depth > _DEPTH:
            return "any"
        if values := listed(schema.get("enum")):
            return " | ".join(map(compact, values))
        if "const" in schema:
            return compact(schema["const"])
        for key in ("anyOf", "oneOf"):
            if choices := listed(schema.get(key)):
                return " | ".join(self._inside(choice, depth + 1) for choice in choices)
        kind = schema.get("type")
        if isinstance(kind, list):
            return " | ".join(self._type({**schema, "type": name}, depth + 1) for name in kind)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "object" or "properties" in schema:
            return self._object(schema, depth)
        return _TYPES.get(text_of(kind), "any")

    def _array(self, schema: Mapping[str, Any], depth: int) -> str:
        items = fields(schema.get("items"))
        resolved = self._resolved(items)
        inner = self._inside(items, depth + 1)
        if (about := [*self._about(resolved)]) or "\n" in inner:
            return "\n".join(["Array<", *about, inner, ">"])
        return f"({inner})[]" if " | " in inner and not inner.startswith("{") else f"{inner}[]"


def _literal(value: object) -> str:
    return value if isinstance(value, str) else compact(value)
