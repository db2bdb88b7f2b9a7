"""The OpenAPI 3.1 document of the API, made from the table of routes."""

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
"""Statuses of errors that every route can have."""


def response(routes: Iterable[Endpoint], root: str, *, with_token: bool) -> Response:
    """The document as an answer."""
    return json_response(document(routes, root, with_token=with_token))


def document(routes: Iterable[Endpoint], root: str, *, with_token: bool) -> dict[str, Any]:
    """The document as JSON values.

    Args:
        routes: the rows of the table.
        root: the prefix of all paths.
        with_token: whether requests need a token.
    """
    from openai_meter.core.version import __version__  # noqa: PLC0415 - needed here only

    paths: dict[str, Any] = {}
    for row in routes:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "openai_meter",
            "version": __version__,
            "description": "What the OpenAI calls of one or many processes used and cost. Amounts of money are US "
            "dollars, as decimal strings unless a schema says otherwise. An unknown value is null, never 0.",
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
    variables = [part[1:-1] for part in row.path.split("/") if part.startswith("{")]
    operation: dict[str, Any] = {
        "operationId": f"{row.method.lower()}_{name}",
        "summary": row.about,
        "parameters": [*map(_path_variable, variables), *map(_parameter, row.params)],
        "responses": {"200": _answer(row)}
        | {str(status): _error(status) for status in sorted({*_ALWAYS, *row.errors})},
    }
    if row.path == "/healthz":
        operation["security"] = []
    return operation


def _path_variable(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": "The id of a call, from /api/calls.",
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
