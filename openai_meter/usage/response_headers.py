"""The headers of a response that a record or a price depends on. No other header is kept.

===================== =================================================================================================
``provider_cost``     US dollars that a proxy states, as LiteLLM does in ``x-litellm-response-cost``
``gateway_cache_hit`` ``True`` if a gateway has answered from a cache of its own, without asking the model: Cloudflare's
                      ``cf-aig-cache-status: HIT``, Helicone's ``helicone-cache: HIT``, Kong's ``x-cache-status: Hit``
===================== =================================================================================================

These two are facts of a price. :class:`ResponseHeaders` has what a record takes over: who is billed, the id of the
request, and what is left of the rate limit (OpenAI's API reference, "Debugging requests").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from openai_meter.core.money import stated_dollars

__all__ = [
    "NO_HEADERS", "RawHeaders", "ResponseHeaders", "header_facts", "name_in", "number_in", "raw_headers",
    "read_headers", "read_pairs",
]  # fmt: skip

_COST = b"-response-cost"
_is_cache = re.compile(rb"(?:[a-z0-9-]+-)?cache(?:-status|-hit)?").fullmatch
_LONGEST = 40
"""Characters of a number: a longer one is not a price."""
_LONGEST_NAME = 200
"""Characters of an organization, a project or a request id: a longer one is not kept."""
_LARGEST = 2**43
"""Of a number: what the column of a ledger holds."""


class ResponseHeaders(NamedTuple):
    """What a record takes over from the headers of a response; ``None`` where a header is missing or malformed."""

    organization: str | None = None
    project: str | None = None
    request_id: str | None = None
    processing_ms: int | None = None
    """Milliseconds that the API worked on the request, as it states itself."""
    remaining_requests: int | None = None
    """Requests that the rate limit still allowed, after this one."""
    remaining_tokens: int | None = None
    """Tokens that the rate limit still allowed, after this request."""


NO_HEADERS = ResponseHeaders()

RawHeaders = tuple[bytes | None, bytes | None, bytes | None, bytes | None, bytes | None, bytes | None]
"""The values of :class:`ResponseHeaders` in their order, as they came."""

_NAMES = (
    b"openai-organization", b"openai-project", b"x-request-id", b"openai-processing-ms",
    b"x-ratelimit-remaining-requests", b"x-ratelimit-remaining-tokens",
)  # fmt: skip
"""The names of the headers, in the order of :class:`ResponseHeaders`."""
_PLACES: Mapping[bytes, int] = {name: place for place, name in enumerate(_NAMES)}
_ORGANIZATION, _PROJECT, _REQUEST_ID, _PROCESSING_MS, _REMAINING_REQUESTS, _REMAINING_TOKENS = _NAMES
_orders: dict[int, tuple[int, ...]] = {}
"""Where the six headers were found last, by the number of all headers: a server sends them in the same order."""
_ORDERS = 64


def raw_headers(headers: Any) -> RawHeaders:
    """The values of six headers, as they came; nothing is checked.

    Args:
        headers: ``Headers`` of httpx or httpx2.
    """
    try:
        found: Sequence[tuple[bytes, bytes, bytes]] = headers._list  # noqa: SLF001 - the names in lower case
        order = _orders.get(len(found))
        if order is not None:
            (_, org, v0), (_, proj, v1), (_, req, v2), (_, ms, v3), (_, left, v4), (_, tokens, v5) = [
                found[place] for place in order
            ]
            if (
                req == _REQUEST_ID and org == _ORGANIZATION and proj == _PROJECT and ms == _PROCESSING_MS
                and left == _REMAINING_REQUESTS and tokens == _REMAINING_TOKENS
            ):  # fmt: skip
                return v0, v1, v2, v3, v4, v5
    except (AttributeError, TypeError, ValueError):  # another version of the library
        found = [(name, name.lower(), value) for name, value in headers.raw]
    values: list[bytes | None] = [None] * len(_NAMES)
    places = [-1] * len(_NAMES)
    for at, (_, name, value) in enumerate(found):
        if (place := _PLACES.get(name)) is not None:
            values[place], places[place] = value, at
    if -1 not in places:
        if len(_orders) >= _ORDERS:
            _orders.clear()
        _orders[len(found)] = tuple(places)
    return tuple(values)  # type: ignore[return-value]


def read_pairs(headers: Iterable[tuple[bytes, bytes]]) -> ResponseHeaders:
    """The checked values of headers that are pairs of a name and a value."""
    found = {name: value for raw, value in headers if (name := raw.lower()) in _PLACES}
    return read_headers(tuple([found.get(name) for name in _NAMES]))  # type: ignore[arg-type]


def read_headers(raw: RawHeaders) -> ResponseHeaders:
    """The checked values of headers."""
    organization, project, request_id, processing_ms, requests, tokens = raw
    return ResponseHeaders(
        name_in(organization), name_in(project), name_in(request_id), number_in(processing_ms), number_in(requests),
        number_in(tokens),
    )  # fmt: skip


def name_in(value: bytes | None) -> str | None:
    """The text of a header; ``None`` if it is empty, too long, or not printable ASCII."""
    if not value or len(value) > _LONGEST_NAME or not value.isascii():
        return None
    text = value.decode("ascii").strip()
    return text if text and text.isprintable() else None


def number_in(value: bytes | None) -> int | None:
    """The whole number in a header; ``None`` if it is not one, or below 0."""
    if value is None or len(value) > _LONGEST:
        return None
    digits = value.strip().partition(b".")[0]
    number = int(digits) if digits.isdigit() else None
    return number if number is not None and number <= _LARGEST else None


def header_facts(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    """The price facts in the headers of a response; raises nothing for values that are malformed."""
    facts: dict[str, Any] = {}
    for raw_name, value in headers:
        name = raw_name.lower()
        if name.endswith(_COST):
            if (cost := stated_dollars(value.decode("latin-1"))) is not None:
                facts["provider_cost"] = cost
        elif b"cache" in name and _is_cache(name) and b"prompt" not in name and _is_hit(name, value):
            facts["gateway_cache_hit"] = True
    return facts


def _is_hit(name: bytes, value: bytes) -> bool:
    words = value.strip().lower().split()
    return bool(words) and (words[0].rstrip(b",;") == b"hit" or (name.endswith(b"-hit") and words[0] == b"true"))
