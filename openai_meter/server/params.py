"""The query parameters of the routes. Each is one value that parses it and describes it in the OpenAPI document."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args
from urllib.parse import parse_qsl

from openai_meter.core import dimensions
from openai_meter.core.calendar_windows import zone_of
from openai_meter.core.call import Status, current_status
from openai_meter.core.locale import languages
from openai_meter.errors import ConfigurationError
from openai_meter.server.errors import RequestError
from openai_meter.server.recent_calls import Cursor
from openai_meter.server.time_windows import PERIODS

__all__ = [
    "FILTERS", "FOLD_SNAPSHOTS", "GROUP", "LANG", "PERIOD", "STATUS", "ZONE", "Param", "choice", "decode_cursor",
    "encode_cursor",
    "filters_of", "number", "read_query", "text",
]  # fmt: skip

_MAX_QUERY = 4_096
"""Bytes of a query string."""
_MAX_FIELDS = 64
_MAX_TEXT = 1_000
"""Characters of one value."""
_WITHOUT_NAME = frozenset({"", dimensions.UNATTRIBUTED, dimensions.UNKNOWN_MODEL, dimensions.NO_BLOCK})


class Param(NamedTuple):
    """One parameter of a query string."""

    name: str
    about: str
    schema: Mapping[str, Any]
    """The JSON Schema of one value."""
    read: Callable[[str], Any]
    """Parses one value; raises ``ValueError`` with the values that are valid."""
    default: Any = None
    many: bool = False
    """Whether it may be given several times; the parsed value is then a tuple."""


def choice(name: str, about: str, values: tuple[str, ...], default: str | None, *, many: bool = False) -> Param:
    """A parameter with a fixed set of values."""

    def parse(value: str) -> str:
        if value not in values:
            raise ValueError(f"use one of {', '.join(values)}")
        return value

    schema = {"type": "string", "enum": [*values]} | ({} if default is None else {"default": default})
    return Param(name, about, schema, parse, () if many else default, many)


def number(name: str, about: str, least: int, most: int, default: int) -> Param:
    """A parameter that is a whole number."""

    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or len(value) > 9 or not least <= int(value) <= most:
            raise ValueError(f"use a whole number from {least} to {most}")
        return int(value)

    return Param(
        name, about, {"type": "integer", "minimum": least, "maximum": most, "default": default}, parse, default
    )


def text(
    name: str, about: str, default: str | None = None, *, many: bool = False, read: Callable[[str], Any] = str
) -> Param:
    """A parameter with any text."""
    schema: dict[str, Any] = {"type": "string", "maxLength": _MAX_TEXT}
    if default is not None:
        schema["default"] = default
    return Param(name, about, schema, read, () if many else default, many)


# --- parameters of several routes -------------------------------------------------------------------------------------


def _name_or_none(value: str) -> str | None:
    return None if value in _WITHOUT_NAME else value


def _tag(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError("write NAME=VALUE")
    return name, value or None


def _zone(name: str) -> Any:
    try:
        return zone_of(name)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


LANG = choice("lang", "The language of messages. Default: the one of `Accept-Language`.", languages(), None)
FOLD_SNAPSHOTS = choice(
    "fold_snapshots", "`true` adds the dated snapshots of a model to the row of the model.", ("true", "false"), "false"
)
GROUP = choice("group", "What to group by.", dimensions.DIMENSIONS, "model")
PERIOD = choice("period", "The period, which ends now.", tuple(PERIODS), "7d")
ZONE = text("timezone", "The timezone of days, such as `Europe/Paris`. Default: UTC.", read=_zone)
FILTERS: tuple[Param, ...] = (
    *(
        text(
            name,
            f"Only calls with this {name}. Several values are alternatives; an empty value selects calls without one.",
            many=True,
            read=_name_or_none,
        )
        for name in dimensions.DIMENSIONS
        if name != "tag"
    ),
    text("tag", "Only calls with this tag, written as `NAME=VALUE`.", many=True, read=_tag),
)
_STATUSES = choice(
    "status", "Only calls with this status. Several values are alternatives.", get_args(Status), None, many=True
)
STATUS = _STATUSES._replace(read=lambda status: _STATUSES.read(current_status(status)))


def filters_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The filters among the parsed values, in the form that ``Ledger.report`` takes."""
    filters: dict[str, Any] = {
        param.name: values[param.name] for param in FILTERS if param.name != "tag" and values[param.name]
    }
    tags: dict[str, list[str | None]] = {}
    for name, value in values["tag"]:
        tags.setdefault(name, []).append(value)
    return filters | ({"tag": tags} if tags else {})


# --- cursors ----------------------------------------------------------------------------------------------------------


def encode_cursor(cursor: Cursor | None) -> str | None:
    """A cursor as an opaque text; ``None`` if there is no next page."""
    if cursor is None:
        return None
    return base64.urlsafe_b64encode(json.dumps([*cursor]).encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """The inverse of :func:`encode_cursor`.

    Raises:
        ValueError: the text is not a cursor.
    """
    try:
        at, call_id = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise ValueError("pass the `next` of the previous page unchanged") from None
    if type(at) is not int or not isinstance(call_id, str) or abs(at) >= 2**63 or "\0" in call_id:
        raise ValueError("pass the `next` of the previous page unchanged")
    try:
        call_id.encode()
    except UnicodeEncodeError:  # a lone surrogate
        raise ValueError("pass the `next` of the previous page unchanged") from None
    return Cursor(at, call_id)


# --- parsing ----------------------------------------------------------------------------------------------------------


def read_query(query: bytes, params: tuple[Param, ...]) -> dict[str, Any]:
    """The values of a query string by the names of the parameters, with defaults for those that are not given.

    Raises:
        RequestError: the query string is not valid, or has a parameter that the route does not have.
    """
    if len(query) > _MAX_QUERY:
        raise RequestError(400, f"the query string has {len(query)} bytes; send at most {_MAX_QUERY}")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise RequestError(400, f"the query string is not UTF-8, or has more than {_MAX_FIELDS} parameters") from None
    known = {param.name: param for param in params}
    given: dict[str, list[Any]] = {}
    for name, value in pairs:
        param = known.get(name)
        if param is None:
            names = ", ".join(known) or "none"
            raise RequestError(400, f"this route has no parameter {_shown(name)}", f"Its parameters: {names}.")
        if len(value) > _MAX_TEXT or "\0" in value:
            raise RequestError(400, f"{name} is too long, or contains a NUL", f"Send at most {_MAX_TEXT} characters.")
        try:
            given.setdefault(name, []).append(param.read(value))
        except ValueError as error:
            raise RequestError(400, f"{name}={_shown(value)} is not valid: {error}") from None
        if len(given[name]) > 1 and not param.many:
            raise RequestError(400, f"{name} is given more than once; give it once")
    return {
        param.name: (
            tuple(given.get(param.name, param.default)) if param.many else given.get(param.name, [param.default])[0]
        )
        for param in params
    }


def _shown(value: str) -> str:
    return repr(value if len(value) <= 100 else f"{value[:99]}…")
