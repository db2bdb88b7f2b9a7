"""Instances of JSON schemas: the answers of a model when a schema is required."""

from typing import Any

from openai_meter.testing.fake_api.handlers import Json

_DEEP = 8
_TEXTS = {
    "date": "2026-05-04",
    "date-time": "2026-05-04T09:30:00Z",
    "time": "09:30:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com/plan",
    "uuid": "3f0c2a52-7a1e-4b7e-9d4c-0a6f5b1c2d3e",
    "ipv4": "192.0.2.7",
    "duration": "PT30M",
}
_WORDS = ("orders", "owner", "first draft", "pilot", "handbook", "weekly review", "shared inbox")


def instance_of(schema: Json, seed: int = 0) -> Any:
    """Returns a value that satisfies the schema: the same for the same seed.

    Understands what structured outputs allow: objects with all their properties, arrays, enums, constants,
    unions, `$ref` (recursive too), number limits, text formats and lengths. Patterns are not obeyed.
    """
    return _instance(schema, schema, seed, 0)


def _instance(schema: Any, root: Json, seed: int, depth: int) -> Any:
    if not isinstance(schema, dict):  # `true` allows everything
        return _WORDS[seed % len(_WORDS)]
    if "$ref" in schema:
        return _instance(_resolved(schema["$ref"], root), root, seed, depth + 1)
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if allowed:
        return allowed[seed % len(allowed)]
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return _instance(_chosen(schema[union], depth), root, seed, depth + 1)
    if schema.get("allOf"):
        merged = {key: value for part in schema["allOf"] for key, value in _plain(part, root).items()}
        return _instance({**merged, **{k: v for k, v in schema.items() if k != "allOf"}}, root, seed, depth + 1)
    return _typed(schema, root, seed, depth)


def _typed(schema: Json, root: Json, seed: int, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = "null" if "null" in kind and depth > _DEEP else next((k for k in kind if k != "null"), "null")
    if kind == "object" or "properties" in schema:
        properties: Json = schema.get("properties", {})
        needed = set(schema.get("required", ()) if depth > _DEEP else properties)
        return {
            name: _instance(part, root, seed + 3 * i + 1, depth + 1)
            for i, (name, part) in enumerate(properties.items())
            if name in needed
        }
    if kind == "array":
        return _array(schema, root, seed, depth)
    if kind in ("integer", "number"):
        return _number(schema, seed, whole=kind == "integer")
    if kind == "boolean":
        return seed % 2 == 0
    if kind == "null":
        return None
    text = _TEXTS.get(schema.get("format", ""), _WORDS[seed % len(_WORDS)])
    text = text.ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _array(schema: Json, root: Json, seed: int, depth: int) -> list[Any]:
    head = [_instance(part, root, seed + i, depth + 1) for i, part in enumerate(schema.get("prefixItems", []))]
    wanted = schema.get("minItems", 0 if depth > _DEEP else 2)
    wanted = min(wanted, schema.get("maxItems", wanted))
    items = schema.get("items", True)
    if items is False or (head and "items" not in schema):
        return head
    return head + [_instance(items, root, seed + i, depth + 1) for i in range(len(head), wanted)]


def _number(schema: Json, seed: int, *, whole: bool) -> int | float:
    step = schema.get("multipleOf", 1 if whole else 0.5)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = 0 if high is None or high > 0 else high - 10 * step
    value = -(-low // step) * step
    if value == schema.get("exclusiveMinimum"):
        value += step
    wished = value + (seed % 7) * step
    fits = high is None or wished < high or wished == schema.get("maximum")
    if not fits and high is not None and value > high:  # no multiple of our step lies between the limits
        value = (low + high) / 2
    result = wished if fits else value
    return int(result) if whole else float(result)


def _chosen(options: list[Any], depth: int) -> Any:
    nothing = [option for option in options if isinstance(option, dict) and option.get("type") == "null"]
    if depth > _DEEP and nothing:
        return nothing[0]
    return next((option for option in options if option not in nothing), options[0])


def _plain(schema: Json, root: Json) -> Json:
    return _resolved(schema["$ref"], root) if "$ref" in schema else schema


def _resolved(reference: str, root: Json) -> Json:
    target: Any = root
    for name in reference.removeprefix("#").strip("/").split("/"):
        if name:
            target = target[name.replace("~1", "/").replace("~0", "~")]
    return target if isinstance(target, dict) else {}
