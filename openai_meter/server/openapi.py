"""The API's own description, in OpenAPI 3.1, made from the table of the routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from openai_meter.server.errors import CODES, json_response
from openai_meter.server.schemas import SCHEMAS

if TYPE_CHECKING:
    from openai_meter.server.params import Param
    from openai_meter.server.route import Endpoint

__all__ = ["document", "response"]

_ALWAYS = (400, 401, 403, 413, 421, 500, 503)
"""The errors that every route can answer with."""


def response(routes: Iterable[Endpoint], root: str, *, with_token: bool) -> Response:
    """The description as an answer."""
    return json_response(document(routes, root, with_token=with_token))


def document(routes: Iterable[Endpoint], root: str, *, with_token: bool) -> dict[str, Any]:
    """The description as JSON values.

    Args:
        routes: the rows of the table.
        root: what stands before the paths.
        with_token: whether a token is asked for.
    """
    from openai_meter.core.version import __version__  # noqa: PLC0415 - the root of the package imports everything

    paths: dict[str, Any] = {}
    for row in routes:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "openai_meter",
            "version": __version__,
            "description": "What the OpenAI calls of a program, or of a fleet, used and cost. Money is in US dollars; "
            "amounts of money are decimal strings unless a schema says otherwise. What is unknown is null, never 0.",
        },
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}] if with_token else [],
    }


def _operation(row: Endpoint) -> dict[str, Any]:
    name = row.path.strip("/").replace("/", "_").replace("{", "").replace("}", "").removeprefix("api_")
    parts = [one[1:-1] for one in row.path.split("/") if one.startswith("{")]
    operation: dict[str, Any] = {
        "operationId": f"{row.method.lower()}_{name}",
        "summary": row.about,
        "parameters": [*map(_part, parts), *map(_parameter, row.params)],
        "responses": {"200": _answer(row)}
        | {str(status): _error(status) for status in sorted({*_ALWAYS, *row.errors})},
    }
    if row.path == "/healthz":
        operation["security"] = []
    return operation


def _part(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": "The id of a call, as /api/calls gives it.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    }


def _parameter(param: Param) -> dict[str, Any]:
    schema = {"type": "array", "items": param.schema, "maxItems": 20} if param.many else param.schema
    return {"name": param.name, "in": "query", "description": param.about, "schema": schema} | (
        {"style": "form", "explode": True} if param.many else {}
    )


def _answer(row: Endpoint) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for kind in row.types:
        named = row.schema is not None and kind == "application/json"
        content[kind] = {"schema": {"$ref": f"#/components/schemas/{row.schema}"} if named else {"type": "string"}}
    return {"description": row.about, "content": content}


def _error(status: int) -> dict[str, Any]:
    code, about = CODES[status]
    return {
        "description": f"`{code}`: {about}",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
