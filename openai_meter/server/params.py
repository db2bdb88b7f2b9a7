"""The parameters of the routes: one row each says how it is read, and stands in the API's document."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args
from urllib.parse import parse_qsl

from openai_meter.core import dimensions
from openai_meter.core.call import Status, current_status
from openai_meter.core.locale import languages
from openai_meter.errors import ConfigurationError
from openai_meter.server.errors import RequestError
from openai_meter.server.recent_calls import Place
from openai_meter.server.time_windows import PERIODS, zone_named

__all__ = [
    "FILTERS", "GROUP", "LANG", "PERIOD", "STATUS", "ZONE", "Param", "choice", "cursor", "filters_of", "number", "read",
    "text", "written",
]  # fmt: skip

QUERY = 4_096
"""Bytes of a query string at most."""
_FIELDS = 64
_TEXT = 1_000
_NOBODY = frozenset({"", dimensions.UNATTRIBUTED, dimensions.UNKNOWN_MODEL, dimensions.NO_BLOCK})


class Param(NamedTuple):
    """One parameter of a query string."""

    name: str
    about: str
    schema: Mapping[str, Any]
    """What a single value may be, in JSON Schema."""
    read: Callable[[str], Any]
    """Reads one value; raises ``ValueError`` with what would do."""
    default: Any = None
    many: bool = False
    """Whether it may be given several times; what is read is a tuple then."""


def choice(name: str, about: str, values: tuple[str, ...], default: str | None, *, many: bool = False) -> Param:
    """A parameter that is one of some words."""

    def one(said: str) -> str:
        if said not in values:
            raise ValueError(f"use one of {', '.join(values)}")
        return said

    schema = {"type": "string", "enum": [*values]} | ({} if default is None else {"default": default})
    return Param(name, about, schema, one, () if many else default, many)


def number(name: str, about: str, least: int, most: int, default: int) -> Param:
    """A parameter that is a whole number."""

    def one(said: str) -> int:
        if not said.isascii() or not said.isdigit() or len(said) > 9 or not least <= int(said) <= most:
            raise ValueError(f"use a whole number from {least} to {most}")
        return int(said)

    return Param(name, about, {"type": "integer", "minimum": least, "maximum": most, "default": default}, one, default)


def text(
    name: str, about: str, default: str | None = None, *, many: bool = False, read: Callable[[str], Any] = str
) -> Param:
    """A parameter that is a text."""
    schema: dict[str, Any] = {"type": "string", "maxLength": _TEXT}
    if default is not None:
        schema["default"] = default
    return Param(name, about, schema, read, () if many else default, many)


# --- what several routes have in common -------------------------------------------------------------------------------


def _somebody(said: str) -> str | None:
    return None if said in _NOBODY else said


def _tag(said: str) -> tuple[str, str | None]:
    name, equals, value = said.partition("=")
    if not name or not equals:
        raise ValueError("write NAME=VALUE")
    return name, value or None


def _zone(said: str) -> Any:
    try:
        return zone_named(said)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


LANG = choice("lang", "The language of sentences; by default that of `Accept-Language`.", languages(), None)
GROUP = choice("group", "What to group by.", dimensions.DIMENSIONS, "model")
PERIOD = choice("period", "Which period, up to now.", tuple(PERIODS), "7d")
ZONE = text("timezone", "Whose days: a name such as `Europe/Paris`; UTC by default.", read=_zone)
FILTERS: tuple[Param, ...] = (
    *(
        text(name, f"Only calls of this {name}; several are alternatives, empty is nobody.", many=True, read=_somebody)
        for name in dimensions.DIMENSIONS
        if name != "tag"
    ),
    text("tag", "Only calls with this tag, as `NAME=VALUE`.", many=True, read=_tag),
)
_STATUSES = choice("status", "Only calls that ended so; several are alternatives.", get_args(Status), None, many=True)
STATUS = _STATUSES._replace(read=lambda status: _STATUSES.read(current_status(status)))


def filters_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The filters among what was read, as ``Ledger.report`` takes them."""
    found: dict[str, Any] = {one.name: values[one.name] for one in FILTERS if one.name != "tag" and values[one.name]}
    tags: dict[str, list[str | None]] = {}
    for name, value in values["tag"]:
        tags.setdefault(name, []).append(value)
    return found | ({"tag": tags} if tags else {})


# --- cursors ----------------------------------------------------------------------------------------------------------


def written(place: Place | None) -> str | None:
    """Where the next page begins, as a text to be sent back as it is."""
    if place is None:
        return None
    return base64.urlsafe_b64encode(json.dumps([*place]).encode()).decode().rstrip("=")


def cursor(said: str) -> Place:
    """The inverse of :func:`written`.

    Raises:
        ValueError: it is none.
    """
    try:
        at, call_id = json.loads(base64.b64decode(said + "=" * (-len(said) % 4), altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise ValueError("use the `next` of the page before, as it is") from None
    if type(at) is not int or not isinstance(call_id, str) or abs(at) >= 2**63 or "\0" in call_id:
        raise ValueError("use the `next` of the page before, as it is")
    try:
        call_id.encode()
    except UnicodeEncodeError:  # half a character
        raise ValueError("use the `next` of the page before, as it is") from None
    return Place(at, call_id)


# --- reading ----------------------------------------------------------------------------------------------------------


def read(query: bytes, params: tuple[Param, ...]) -> dict[str, Any]:
    """The values of a query string, those that are not given included.

    Raises:
        RequestError: it cannot be read, or has something that the route does not know.
    """
    if len(query) > QUERY:
        raise RequestError(400, f"the query string has {len(query)} bytes; {QUERY} are the most")
    try:
        said = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except ValueError:
        raise RequestError(400, "the query string is no text in UTF-8, or has too many parameters") from None
    known = {param.name: param for param in params}
    found: dict[str, list[Any]] = {}
    for name, value in said:
        param = known.get(name)
        if param is None:
            names = ", ".join(known) or "none"
            raise RequestError(400, f"there is no parameter {_shown(name)} here", f"There are: {names}.")
        if len(value) > _TEXT or "\0" in value:
            raise RequestError(400, f"{name} is too long, or has a NUL in it", f"{_TEXT} characters are the most.")
        try:
            found.setdefault(name, []).append(param.read(value))
        except ValueError as error:
            raise RequestError(400, f"{name}={_shown(value)} cannot be used: {error}") from None
        if len(found[name]) > 1 and not param.many:
            raise RequestError(400, f"{name} is given more than once")
    return {
        param.name: (
            tuple(found.get(param.name, param.default)) if param.many else found.get(param.name, [param.default])[0]
        )
        for param in params
    }


def _shown(value: str) -> str:
    return repr(value if len(value) <= 100 else f"{value[:99]}…")
